"""Readers of events over broken connections, silence, and a server that dies and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from jobs import Client, Context, EventReader, QueueEvent, job
from tests.helpers.proxy import Proxy
from tests.helpers.servers import MakeServer, Server
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running

JOBS = 60


@job("note")
async def note(ctx: Context, n: int) -> int:
    """A short job that tells something."""
    ctx.progress(n)
    return n


@pytest.fixture
def proxy(server: Server, redis_url: str) -> Iterator[Proxy]:
    with Proxy(server.port) as made:
        yield made


@asynccontextmanager
async def hearing(reader: EventReader) -> AsyncIterator[list[QueueEvent]]:
    """Everything that a reader hears during the block."""
    heard: list[QueueEvent] = []

    async def listen() -> None:
        async for event in reader:
            heard.append(event)  # noqa: PERF401 -- seen from outside while it goes on

    await reader.start()
    task = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled(), "the reader never gives up"


def ended(heard: list[QueueEvent]) -> int:
    return sum(event.name == "completed" for event in heard)


def assert_whole(heard: list[QueueEvent]) -> None:
    """Nothing is missing and nothing was told twice: the numbers follow each other."""
    numbers = [int(event.id) for event in heard]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert all(event.name != "gap" for event in heard)


async def test_a_reader_resumes_over_cut_connections(redis_url: str, proxy: Proxy) -> None:
    """B165: resets at any moment, also between the server's answer and its arrival."""
    random = Random(7)
    async with Client.connect(redis_url) as client, Client.connect(proxy.url) as remote:
        proxy.cuts = lambda request: b"XREAD" in request and random.random() < 1 / 3
        async with running(redis_url, [note]), hearing(remote.events("default")) as heard:
            for n in range(JOBS):
                queued = await client.enqueue("note", {"n": n})
                await queued.result(timeout=10)
                if n % 10 == 0:
                    proxy.reset_all()
            await wait_until(lambda: ended(heard) == JOBS, description="all is heard", timeout=20)
        assert proxy.cut > 0
    assert_whole(heard)


async def test_a_silent_connection_is_replaced(
    redis_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the reader waits for does not arrive, without any reset."""
    monkeypatch.setattr("jobs.event_reader.BLOCK_MS", 200)
    monkeypatch.setattr("jobs.event_reader._ANSWER_MARGIN_S", 0.3)
    async with (
        Client.connect(redis_url) as client,
        Client.connect(proxy.url) as remote,
        running(redis_url, [note]),
        hearing(remote.events("default")) as heard,
    ):
        proxy.silent = lambda request: b"XREAD" in request
        queued = await client.enqueue("note", {"n": 1})
        await queued.result(timeout=10)
        await wait_until(lambda: proxy.held >= 2, description="it tries again", timeout=10)
        proxy.silent = lambda _: False
        await wait_until(lambda: ended(heard) == 1, description="it is heard", timeout=10)
    assert_whole(heard)


async def test_a_reader_resumes_over_a_restart_of_the_server(
    make_server: MakeServer, tmp_path: Path
) -> None:
    """B165: the server is killed and comes back with what was synced to its disk."""
    config = {"appendonly": "yes", "appendfsync": "always"}
    server = make_server(tmp_path, persistent=True, config=config)
    async with (
        Client.connect(server.url) as client,
        running(server.url, [note]),
        hearing(client.events("default")) as heard,
    ):
        for number in (10, 20, 30):
            for n in range(10):
                queued = await client.enqueue("note", {"n": n})
                await queued.result(timeout=20)
            with server.away():
                pass
            await client.aclose()
            await wait_until(
                lambda number=number: ended(heard) >= number,  # type: ignore[misc]  # mypy infers no type for the default
                description="the reader hears what came before the end",
                timeout=20,
            )
    assert ended(heard) == 30
    assert_whole(heard)


async def test_a_server_that_lost_its_memory_leaves_a_gap(make_server: MakeServer) -> None:
    """It comes back empty: the reader says so, and goes on with what is new."""
    server = make_server()
    async with Client.connect(server.url) as client, hearing(client.events("default")) as heard:
        await client.enqueue("note", {"n": 1}, id="before")
        await wait_until(lambda: len(heard) == 2, description="it hears")
        with server.away():
            pass
        await client.aclose()
        await wait_until(
            lambda: any(event.name == "gap" for event in heard) or _add(client),
            description="it says that something is missing",
            timeout=20,
            poll=0.1,
        )
        await client.enqueue("note", {"n": 2}, id="after")
        await wait_until(lambda: heard[-1].job_id == "after", description="it goes on")
    assert [event.name for event in heard[:3]] == ["added", "waiting", "gap"]


async def _add(client: Client) -> bool:
    """A gap is told with the event that comes behind it."""
    await client.enqueue("note", {"n": 3})
    return False


async def test_notes_survive_cut_connections(redis_url: str, proxy: Proxy) -> None:
    """What jobs tell arrives once, though answers to the notes themselves are lost."""
    random = Random(3)

    @job("steps")
    async def steps(ctx: Context, n: int) -> int:
        for step in range(5):
            ctx.progress(step)
            ctx.log(f"{n}.{step}")
            await asyncio.sleep(0.02)
        return n

    proxy.cuts = lambda request: b":progress" in request and random.random() < 1 / 3
    async with Client.connect(redis_url) as client:
        async with running(proxy.url, [steps], max_jobs=20):
            jobs = await client.enqueue_many([steps.request(n) for n in range(40)])
            for n, queued in enumerate(jobs):
                assert await queued.result(timeout=30) == n
        for n, queued in enumerate(jobs):
            assert await queued.progress() == 4
            log = await queued.logs()
            assert [line.text for line in log] == [f"{n}.{step}" for step in range(5)]
    assert proxy.cut > 0
