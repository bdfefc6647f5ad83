"""`workers`, `queues`, `explain`, `health`: who works, and why a job does not run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from threading import Event, Thread
from typing import Self

import pytest

from jobs import Client, Context, func
from tests.cli.conftest import Cli
from tests.helpers.waiting import wait_until, wait_until_sync
from tests.helpers.worker import make_worker, running


async def hold(ctx: Context, seconds: float = 0.0) -> None:
    await asyncio.sleep(seconds)


class Beside:
    """A worker in a thread of its own, so that commands can run their own loops."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ready, self._over = Event(), Event()
        self._thread = Thread(target=lambda: asyncio.run(self._work()), name="beside")
        self.worker_id = ""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10), "the worker is registered"
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)

    async def _work(self) -> None:
        async with running(self._url, [func(hold, name="hold")], max_jobs=2) as worker:
            self.worker_id = worker.id
            async with Client.connect(self._url) as client:

                async def registered() -> bool:
                    return bool(await client.queue().workers())

                await wait_until(registered, description="it is registered")
            self._ready.set()
            await asyncio.to_thread(self._over.wait)


@pytest.fixture
def beside(redis_url: str) -> Iterator[Beside]:
    with Beside(redis_url) as made:
        yield made


def add(url: str, function: str = "hold", **options: str | float) -> str:
    """Enqueue one job; its id."""

    async def work() -> str:
        async with Client.connect(url) as client:
            payload = {"seconds": options.pop("seconds", 0.0)}
            return (await client.enqueue(function, payload, **options)).id

    return asyncio.run(work())


def test_nobody_works(cli: Cli, redis_url: str) -> None:
    done = cli("workers", "list")
    assert (done.code, done.out) == (0, "")
    assert "no worker is alive" in done.err
    assert cli("workers", "list", "--json").json["workers"] == []
    lost = cli("workers", "show", "nobody")
    assert lost.code == 4
    assert "no live worker is called 'nobody'" in lost.err


def test_the_list_and_one_worker(cli: Cli, beside: Beside) -> None:
    header, row = cli("workers", "list").out.splitlines()
    assert header.split()[:4] == ["ID", "HOST", "PID", "STATE"]
    assert row.split()[0] == beside.worker_id
    (document,) = cli("workers", "list", "--json").json["workers"]
    assert (document["id"], document["slots"]) == (beside.worker_id, 2)
    assert cli("workers", "list", "-q").out.split() == [beside.worker_id]
    shown = cli("workers", "show", beside.worker_id[-8:]).out
    assert "functions  hold" in shown
    assert "queues     default 0/2" in shown
    document = cli("workers", "show", beside.worker_id, "--json").json["worker"]
    assert document["versions"]["python"]


def test_steering(cli: Cli, beside: Beside, redis_url: str) -> None:
    end = beside.worker_id[-8:]
    assert cli("workers", "quiet", end).err == f"{beside.worker_id}: quiet\n"
    assert cli("workers", "show", end, "--json").json["worker"]["state"] == "quiet"
    waits = add(redis_url)
    assert "every live worker of the queue default is quiet" in cli("explain", waits).out
    assert cli("workers", "resume", end).code == 0
    assert cli("wait", waits, "--timeout", "10s").code == 0
    done = cli("workers", "concurrency", end, "5", "--json").json
    assert done["done"] is True
    (worker,) = cli("workers", "list", "--json").json["workers"]
    assert worker["queues"] == {"default": {"running": 0, "concurrency": 5}}
    refused = cli("workers", "concurrency", end, "5", "--queue", "defualt")
    assert refused.code == 2
    assert "did you mean 'default'" in refused.err
    assert cli("workers", "concurrency", end, "0").code == 2


def test_stopping_a_worker(cli: Cli, redis_url: str) -> None:
    async def run() -> None:
        worker = make_worker(redis_url, [func(hold, name="hold")])
        await worker.async_run()
        await worker.close()

    thread = Thread(target=lambda: asyncio.run(run()))
    thread.start()
    worker_id = wait_until_sync(
        lambda: str(cli("workers", "list", "-q").out.strip()), description="it is there", timeout=10
    )
    assert cli("workers", "stop", worker_id, "--grace", "1s").code == 0
    thread.join(10)
    assert not thread.is_alive()
    assert cli("workers", "list", "--json").json["workers"] == []


def test_the_queues(cli: Cli, beside: Beside, redis_url: str) -> None:
    held = add(redis_url, seconds=30.0)
    add(redis_url, queue="alone", priority=1)
    done = cli("queues", "list")
    rows = {line.split()[0]: line.split() for line in done.out.splitlines()}
    assert rows["QUEUE"][:4] == ["QUEUE", "WAITING", "ACTIVE", "DELAYED"]
    assert rows["alone"][1:4] == ["1", "0", "0"]
    assert "alone: 1 job and no live worker" in done.err
    found = {queue["queue"]: queue for queue in cli("queues", "list", "--json").json["queues"]}
    assert found["alone"]["scale"]["desired_workers"] == 1
    assert found["default"]["scale"]["slots"] == 2
    shown = cli("queues", "show", "alone")
    assert "priorities   1: 1" in shown.out
    document = cli("queues", "show", "alone", "--json").json["queue"]
    assert document["memory"] > 100
    assert len(document["history"]) == 90
    assert cli("queues", "show", "aloen").code == 4
    assert cli("cancel", held).code == 0


def test_explaining(cli: Cli, redis_url: str) -> None:
    job_id = add(redis_url)
    done = cli("explain", job_id)
    assert done.out.splitlines() == [
        f"hold {job_id} in default is waiting",
        "  - no live worker serves the queue default",
        "it starts when this has changed",
    ]
    document = cli("explain", job_id, "--json").json["explanation"]
    assert (document["state"], document["ahead"], document["starts_at"]) == ("waiting", 0, None)
    assert document["reasons"][0]["code"] == "no_worker"
    lost = cli("explain", "nobody")
    assert lost.code == 4


def test_health_for_probes(cli: Cli, redis_url: str) -> None:
    assert cli("health").code == 0
    add(redis_url)
    sick = cli("health")
    assert (sick.code, sick.out) == (
        1,
        "1 waiting job in default and no live worker that takes it\n",
    )
    assert cli("health", "--json").json["healthy"] is False
    assert cli("health", "--queue", "email").code == 0
    here = cli("health", "--here", "--queue", "default")
    assert here.code == 1
    assert "serves default" in here.out
    with Beside(redis_url):
        assert cli("health", "--here", "--queue", "default").out == "healthy\n"
