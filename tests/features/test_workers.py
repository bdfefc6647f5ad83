"""Workers: leases and rescue, the registry, what blocks a loop, and steering from outside."""

from __future__ import annotations

import asyncio
import inspect
import os
import platform
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from jobs import Client, Context, Fleet, State, Worker, func, job
from jobs.durations import format_ms
from jobs.handle import Job
from jobs.keys import queue_keys
from jobs.operations.fleet import WorkerStatus
from jobs.store.commands import Wish
from tests.helpers.acting import act
from tests.helpers.keyspace import untyped
from tests.helpers.waiting import wait_until
from tests.helpers.worker import make_worker, running, stage_of

KEYS = queue_keys("default")


async def until(queued: Job[Any], state: State) -> None:
    async def reached() -> bool:
        return await queued.state() is state

    await wait_until(reached, description=f"the job is {state}", timeout=10)


async def only_worker(client: Client) -> WorkerStatus:
    (found,) = await Fleet(client).workers()
    return found


async def beats(client: Client, worker: Worker, **expected: Any) -> WorkerStatus:
    """The entry of the worker, as soon as it shows these values."""

    async def shows() -> WorkerStatus | None:
        for found in await Fleet(client).workers():
            if found.id == worker.id and all(
                getattr(found, name) == value for name, value in expected.items()
            ):
                return found
        return None

    status = await wait_until(shows, description=f"the registry shows {expected}", timeout=10)
    assert isinstance(status, WorkerStatus)
    return status


# -- the registry --------------------------------------------------------------------------


async def test_b4_worker_heartbeat_registry(client: Client, redis_url: str) -> None:
    """Who lives, where, with which versions, functions and queues, and what runs since when."""
    begun = time.time()
    held = await act.options(client=client).enqueue("gate")
    async with running(redis_url, max_jobs=7) as worker:
        await until(held, State.active)
        status = await beats(client, worker, running=1)
        assert (status.host, status.pid) == (socket.gethostname(), os.getpid())
        assert status.state == "taking"
        assert status.functions == ["act", "act_in_thread"]
        assert {name: at.concurrency for name, at in status.queues.items()} == {"default": 7}
        assert (status.slots, status.running) == (7, 1)
        assert status.versions["python"] == platform.python_version()
        assert status.versions["server"].split()[0] in {"Redis", "Valkey"}
        assert status.versions["jobs"]
        (shown,) = status.jobs
        assert (shown.id, shown.function, shown.queue, shown.attempt) == (
            held.id, "act", "default", 1,
        )  # fmt: skip
        assert begun - 1 <= shown.since.timestamp() <= time.time() + 1
        assert status.rss > 5_000_000
        assert 0 <= status.lag_ms < 5_000
        stage_of(worker).gate.set()
        await held.result(timeout=10)
    assert await Fleet(client).workers() == [], "a worker that ends leaves the registry"


async def test_a_dead_worker_is_not_shown_as_live(client: Client, redis_url: str) -> None:
    """Also when no other worker is there to remove it."""
    async with running(redis_url) as worker:
        await beats(client, worker)
        raw = await untyped(client).hget(KEYS.workers, worker.id)
        assert raw is not None
    await untyped(client).hset(KEYS.workers, "worker-dead", b"\0" * 8 + raw[8:])
    assert await untyped(client).hlen(KEYS.workers) == 1
    assert await Fleet(client).workers() == []
    assert await client.queue().workers() == []


async def test_at_most_twenty_running_jobs_are_named(client: Client, redis_url: str) -> None:
    await client.enqueue_many([act.request("gate") for _ in range(25)])
    async with running(redis_url, max_jobs=30) as worker:
        status = await beats(client, worker, running=25)
        assert len(status.jobs) == 20
        stage_of(worker).gate.set()


# -- a blocked loop ------------------------------------------------------------------------


async def block(ctx: Context, seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 -- the fault that is looked for


BLOCKING_LINE = inspect.getsourcelines(block)[1] + 1


async def test_a_job_that_blocks_the_loop_is_named_with_its_line(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once in the log, and in the registry while it lasts, although the loop does not run."""
    place = f"{Path(__file__)}:{BLOCKING_LINE} in block"

    def look() -> tuple[WorkerStatus, list[str]]:
        """From another loop: the one of the test is blocked."""

        async def ask() -> tuple[WorkerStatus, list[str]]:
            async with Client.connect(redis_url) as other:

                async def stuck() -> bool:
                    return any(one.stuck for one in await Fleet(other).workers())

                await wait_until(stuck, description="the registry says it", timeout=10)
                status = await only_worker(other)
                return status, (await Fleet(other).health(["default"])).reasons

        return asyncio.run(ask())

    async with (
        Client.connect(redis_url) as client,
        running(redis_url, [func(block)], lease=30) as worker,
    ):
        await beats(client, worker)
        looking = asyncio.create_task(asyncio.to_thread(look))
        await asyncio.sleep(0)
        queued = await client.enqueue("block", {"seconds": 2.0})
        status, reasons = await looking
        await queued.result(timeout=10)
        assert status.blocked is not None
        assert (status.blocked["where"], status.blocked["job"]) == (place, queued.id)
        assert status.blocked["function"] == "block"
        assert reasons == [
            f"{status.id} is blocked by job {queued.id} (block) at {place}, "
            + reasons[0].rpartition(", ")[2]
        ]
        await Fleet(client).steer(status, Wish.quiet)  # makes it beat
        after = await only_worker(client)
        assert after.blocked is not None
        assert after.blocked["lasted_ms"] == pytest.approx(2000, abs=600)
        assert not after.stuck
    lines = [r for r in caplog.records if "blocks the event loop" in r.getMessage()]
    (line,) = lines
    assert f"default:{queued.id}:block blocks the event loop" in line.getMessage()
    assert place in line.getMessage()
    assert line.__dict__["job_id"] == queued.id


async def test_b182_loop_lag_gauge_and_health_with_reasons(client: Client, redis_url: str) -> None:
    fleet = Fleet(client)
    assert (await fleet.health(["default"])).healthy, "an empty queue needs nobody"
    await act.options(client=client).enqueue("ok")
    sick = await fleet.health(["default"])
    assert sick.reasons == ["1 waiting job in default and no live worker that takes it"]
    here = await fleet.health(["default"], host="nowhere")
    assert here.reasons == ["no live worker on nowhere serves default"]
    async with running(redis_url) as worker:
        status = await beats(client, worker)
        assert (await fleet.health(["default"], host=status.host)).healthy
        late = await fleet.health(["default"], max_lag_ms=-1)
        lag = format_ms(round(status.lag_ms))
        assert late.reasons == [f"the event loop of {worker.id} answered {lag} late"]


async def test_b184_no_worker_warning(client: Client, redis_url: str) -> None:
    """A queue with jobs and nobody to run them is told, one with a quiet worker too."""
    fleet = Fleet(client)
    async with running(redis_url) as worker:
        await fleet.steer(await beats(client, worker), Wish.quiet)
        waiting = await act.options(client=client).enqueue("ok")
        sick = await fleet.health(["default"])
        assert sick.reasons == ["1 waiting job in default and no live worker that takes it"]
        await fleet.steer(await beats(client, worker), Wish.resume)
        await waiting.result(timeout=10)
        assert (await fleet.health(["default"])).healthy


async def test_b183_autoscale_signal(client: Client, redis_url: str) -> None:
    fleet = Fleet(client)
    await client.enqueue_many([act.request("ok") for _ in range(25)])
    alone = await fleet.scale("default")
    assert (alone.backlog, alone.workers, alone.desired_workers) == (25, 0, 3)
    assert (await fleet.scale("default", slots_each=5)).desired_workers == 5
    async with running(redis_url, max_jobs=4, autorun=False) as worker:
        await beats(client, worker)
        scale = await fleet.scale("default")
        assert (scale.workers, scale.slots, scale.slots_each, scale.desired_workers) == (1, 4, 4, 7)


# -- steering ------------------------------------------------------------------------------


async def test_b21_quiet_mode(client: Client, redis_url: str) -> None:
    """A quiet worker claims nothing, goes on with what it runs, and can be woken again."""
    held = await act.options(client=client).enqueue("gate")
    async with running(redis_url) as worker:
        await until(held, State.active)
        assert await Fleet(client).steer(await beats(client, worker), Wish.quiet)
        waiting = await act.options(client=client).enqueue("ok")
        stage_of(worker).gate.set()
        assert await held.result(timeout=10) == "woke"
        status = await beats(client, worker)
        assert (status.state, await waiting.state()) == ("quiet", State.waiting)
        assert await Fleet(client).steer(status, Wish.resume)
        await waiting.result(timeout=10)
        await beats(client, worker, state="taking")


async def test_b24_change_concurrency_at_run_time(client: Client, redis_url: str) -> None:
    jobs = await client.enqueue_many([act.request("gate") for _ in range(10)])
    async with running(redis_url, max_jobs=2) as worker:
        await wait_until(lambda: stage_of(worker).running == 2, description="two run")
        assert await Fleet(client).steer(await beats(client, worker), Wish.concurrency, limit=6)
        await wait_until(lambda: stage_of(worker).running == 6, description="six run")
        worker.set_concurrency(3)
        stage_of(worker).gate.set()
        for one in jobs:
            await one.result(timeout=10)
        stage_of(worker).gate.clear()
        stage_of(worker).most = 0
        again = await client.enqueue_many([act.request("gate") for _ in range(8)])
        await wait_until(lambda: stage_of(worker).running == 3, description="three run")
        assert {
            name: at.concurrency for name, at in (await only_worker(client)).queues.items()
        } == {"default": 3}
        stage_of(worker).gate.set()
        for one in again:
            await one.result(timeout=10)
        assert stage_of(worker).most == 3


async def test_b24_holds_for_functions_in_threads(client: Client, redis_url: str) -> None:
    """There are threads for more slots than there were at the start."""
    gate, inside = threading.Event(), threading.Semaphore(0)

    def wait(ctx: Context) -> None:
        inside.release()
        assert gate.wait(20)

    async with running(redis_url, [job("wait")(wait)], max_jobs=1) as worker:
        jobs = [await client.enqueue("wait") for _ in range(4)]
        worker.set_concurrency(4)
        for _ in jobs:
            assert await asyncio.to_thread(inside.acquire, timeout=10), "all four run"
        gate.set()
        for one in jobs:
            await one.result(timeout=10)


async def test_b28_local_pause_and_autorun(client: Client, redis_url: str) -> None:
    """One worker is held; another goes on with the same queue."""
    async with running(redis_url, autorun=False) as held, running(redis_url) as other:
        await beats(client, held, state="quiet")
        jobs = await client.enqueue_many([act.request("ok") for _ in range(20)])
        for one in jobs:
            await one.result(timeout=10)
        assert (held.jobs_complete, other.jobs_complete) == (0, 20)
        held.resume()
        other.quiet()
        more = await client.enqueue_many([act.request("ok") for _ in range(20)])
        for one in more:
            await one.result(timeout=10)
        assert (held.jobs_complete, other.jobs_complete) == (20, 20)


async def test_a_worker_is_stopped_from_outside(client: Client, redis_url: str) -> None:
    """It ends as after SIGTERM: what runs gets the grace that was asked for."""
    held = await act.options(client=client).enqueue("gate")
    worker = make_worker(redis_url)
    ending = asyncio.create_task(worker.async_run())
    await until(held, State.active)
    asyncio.get_running_loop().call_later(0.2, stage_of(worker).gate.set)
    assert await Fleet(client).steer(await beats(client, worker), Wish.stop, grace_s=10)
    assert await held.result(timeout=10) == "woke"
    await asyncio.wait_for(ending, 10)
    await worker.close()
    assert await Fleet(client).workers() == []
