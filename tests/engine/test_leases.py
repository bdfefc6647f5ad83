"""Leases: kept while the worker lives, lost for good when they are lost."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest

from jobs import Client, State, func
from jobs.handle import Job
from jobs.keys import queue_keys
from jobs.store import queue as store
from tests.helpers.acting import act
from tests.helpers.keyspace import untyped
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running, stage_of

KEYS = queue_keys("default")


async def until(job: Job[Any], state: State) -> None:
    async def reached() -> bool:
        return await job.state() is state

    await wait_until(reached, description=f"the job is {state}", timeout=10)


async def test_a_stopping_worker_releases_its_jobs_at_no_cost(
    client: Client, redis_url: str
) -> None:
    """arq-A11: a deploy uses no attempt, also of a job that has only one."""
    job = await act.options(client=client, attempts=1).enqueue("gate")
    for number in range(1, 4):
        async with running(redis_url):
            await until(job, State.active)
        info = await job.details()
        assert (info.state, info.interruptions, info.failures) == (State.waiting, number, 0)
    async with running(redis_url) as worker:
        await until(job, State.active)
        stage_of(worker).gate.set()
        assert await job.result(timeout=10) == "woke"
        assert stage_of(worker).attempts(job.id) == [1]


async def test_a_stopping_worker_lets_jobs_finish_for_the_grace(
    client: Client, redis_url: str
) -> None:
    job = await act.options(client=client).enqueue("gate")
    async with running(redis_url, job_completion_wait=10) as worker:
        await until(job, State.active)
        asyncio.get_running_loop().call_later(0.05, stage_of(worker).gate.set)
    assert await job.state() is State.completed


async def test_a_lease_is_renewed_as_long_as_the_job_runs(client: Client, redis_url: str) -> None:
    async with running(redis_url, lease=0.3) as worker, running(redis_url, lease=0.3) as other:
        job = await act.options(client=client).enqueue("sleep", 1.5)
        await job.result(timeout=10)
        info = await job.details()
        assert (info.losses, len(info.history)) == (0, 1)
        assert len(stage_of(worker).starts) + len(stage_of(other).starts) == 1


@pytest.mark.parametrize("how", ["taken", "deleted"])
async def test_a_lost_lease_cancels_the_task_and_voids_its_result(
    client: Client, redis_url: str, how: str
) -> None:
    """S05: somebody else owns the job now; what the first one does counts no more."""
    async with running(redis_url, lease=0.3) as worker:
        job = await act.options(client=client).enqueue("sleep", 60)
        await until(job, State.active)
        if how == "deleted":
            await client.zrem(KEYS.leases, job.id)
        else:
            await retoken(client, job.id)
        await wait_until(lambda: stage_of(worker).cancelled, description="the task is cancelled")
        assert stage_of(worker).cancelled == [job.id]
        if how == "taken":
            assert await job.state() is State.active
            await client.zrem(KEYS.leases, job.id)
        await client.zadd(KEYS.cancelled, {job.id: 1})
        await untyped(client).hset(KEYS.config, "bytes:cancelled", await kept_bytes(client, job.id))
        assert worker.jobs_complete == worker.jobs_failed == worker.jobs_retried == 0


async def test_a_result_after_the_lease_was_lost_is_refused(
    client: Client, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(redis_url, lease=30) as worker:
        job = await act.options(client=client).enqueue("gate")
        await until(job, State.active)
        await retoken(client, job.id)
        stage_of(worker).gate.set()
        await wait_until(lambda: "its result is void" in caplog.text, description="it is refused")
        assert await job.state() is State.active
        assert worker.jobs_complete == 0
        assert await store.rescue(
            client, KEYS, (await store.oldest_leases(client, KEYS)).items(), most_losses=3,
            keep=(-1, -1, -1), line=b"{}",
        ) == {job.id: "waiting"}  # fmt: skip
        assert await job.result(timeout=10) == "woke"


async def retoken(client: Client, job_id: str) -> None:
    """The job as if another worker had claimed it."""
    packed: Any = await untyped(client).hget(KEYS.record, job_id)
    token = int(await untyped(client).hincrby(KEYS.config, "token", 1))
    await untyped(client).hset(
        KEYS.record, job_id, packed[:2] + struct.pack(">d", token) + packed[10:]
    )


async def kept_bytes(client: Client, job_id: str) -> int:
    sizes = [await untyped(client).hstrlen(key, job_id) for key in (KEYS.body, KEYS.result)]
    return int(sum(sizes))


async def test_a_job_that_blocks_the_loop_keeps_its_lease(client: Client, redis_url: str) -> None:
    """S06: the lease thread has its own connection. Another worker watches in another loop."""
    job = await act.options(client=client).enqueue("block", 1.5)
    result = await waiting_for(client, job)
    async with running(redis_url, lease=0.4):
        others = asyncio.create_task(asyncio.to_thread(watch_in_thread, redis_url))
        assert await result == "woke"
        await others
    info = await job.details()
    assert (info.losses, len(info.history)) == (0, 1)


async def waiting_for(client: Client, job: Job[Any]) -> asyncio.Task[Any]:
    """The wait for a job's end, begun: a connection cannot be opened in a loop that is blocked."""
    waiting = asyncio.create_task(job.result(timeout=20))

    async def noted() -> bool:
        return bool(await untyped(client).hexists(KEYS.waiters, job.id))

    await wait_until(noted, description="the job is waited for")
    return waiting


def watch_in_thread(url: str) -> None:
    """A second worker with a loop of its own, whose rescuer would take what looks dead."""

    async def watch() -> None:
        async with running(url, lease=0.4):
            await asyncio.sleep(1.2)

    asyncio.run(watch())


async def test_a_loop_that_is_stuck_beyond_the_timeout_loses_the_job(
    client: Client, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """S06, the other half: exactly one redelivery, the stale end refused, the stall said once."""
    job = await act.options(client=client, timeout=0.1, attempts=1).enqueue("block", 3.5)
    result = await waiting_for(client, job)
    other = asyncio.create_task(
        asyncio.to_thread(lambda: asyncio.run(take_over(redis_url, job.id)))
    )
    async with running(redis_url, lease=0.4, max_jobs=1) as worker:
        assert await result == "taken over"
        await wait_until(lambda: "its result is void" in caplog.text, description="it is refused")
        assert worker.jobs_complete == 0
    await other
    info = await job.details()
    assert (info.losses, info.failures, len(info.history)) == (1, 0, 2)
    assert caplog.text.count("the event loop has not run for") == 1


async def take_over(url: str, job_id: str) -> None:
    """A worker in another loop, which starts when the first one is stuck in the job."""

    async def quick(ctx: Any, how: str, value: float) -> str:
        return "taken over"

    async with Client.connect(url) as client:
        await until(client.job(job_id), State.active)
        async with running(url, [func(quick, name="act")], queue_name="default", lease=0.4):
            assert await client.job(job_id).result(timeout=20) == "taken over"
