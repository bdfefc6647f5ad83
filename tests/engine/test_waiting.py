"""Waiting for the end of a job, and stopping one: by push, with the reason, in every state."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs import Client, JobStatus, State, fixed
from jobs.errors import JobCancelled, JobNotFound, ResultTimeout
from jobs.handle import Job
from jobs.keys import queue_keys
from tests.helpers.acting import act, act_in_thread
from tests.helpers.keyspace import untyped
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running, stage_of


async def until(job: Job[Any], state: State) -> None:
    async def reached() -> bool:
        return await job.state() is state

    await wait_until(reached, description=f"the job is {state}")


async def awaited(client: Client, number: int = 1) -> None:
    """Until so many jobs of the queue are waited for."""

    async def noted() -> bool:
        return bool(await untyped(client).hlen(queue_keys("default").waiters) == number)

    await wait_until(noted, description=f"{number} jobs are waited for")


# -- push ----------------------------------------------------------------------------------


async def test_a_wait_asks_once_and_is_told(client: Client, redis_url: str) -> None:
    """Nothing is polled: no command of the client runs while it waits."""
    async with Redis.from_url(redis_url) as admin:
        job = await act.options(client=client).enqueue("gate")
        waits = [asyncio.create_task(job.result(timeout=30)) for _ in range(20)]
        await awaited(client)
        async with running(redis_url) as worker:
            await until(job, State.active)
            await admin.config_resetstat()
            stage_of(worker).gate.set()
            assert await asyncio.gather(*waits) == ["woke"] * 20
            calls: Any = await admin.info("commandstats")
    asked = {name: stat["calls"] for name, stat in calls.items() if "hmget" not in name}
    assert asked.get("cmdstat_hgetall", 0) <= 1, "the heartbeat's own"
    assert asked.get("cmdstat_eval", 0) == 0
    assert asked["cmdstat_publish"] == 1, "one message for one inbox, whatever the number of waits"
    assert asked.get("cmdstat_evalsha", 0) <= 10, f"beside the worker's own steps: {asked}"


async def test_many_ends_go_to_their_own_waits(client: Client, redis_url: str) -> None:
    jobs = await client.enqueue_many([act.request("ok", n) for n in range(200)])
    waits = [asyncio.create_task(job.result(timeout=30)) for job in jobs]
    await awaited(client, 200)
    async with running(redis_url, max_jobs=50):
        assert await asyncio.gather(*waits) == list(range(200))
    assert await untyped(client).hlen(queue_keys("default").waiters) == 0


async def test_a_wait_has_its_time(client: Client) -> None:
    job = await act.options(client=client).enqueue()
    with pytest.raises(ResultTimeout, match=r"did not end within 0.05 s; is a worker serving"):
        await job.result(timeout=0.05)
    with pytest.raises(TimeoutError):
        await job.result(timeout=0)


async def test_a_wait_for_nothing_says_so(client: Client) -> None:
    with pytest.raises(JobNotFound, match="holds no job 'nobody'"):
        await client.job("nobody").result(timeout=20)
    assert await client.job("nobody").status() is JobStatus.not_found
    assert await client.job("nobody").cancel() is None
    assert await client.job("nobody").abort(timeout=1) is False


async def test_a_cancelled_wait_leaves_nothing_and_harms_no_other(
    client: Client, redis_url: str
) -> None:
    job = await act.options(client=client).enqueue("ok", 1)
    waits = [asyncio.create_task(job.result(timeout=30)) for _ in range(2)]
    await awaited(client)
    waits[0].cancel()
    await asyncio.gather(waits[0], return_exceptions=True)
    async with running(redis_url):
        assert await waits[1] == 1
    assert client._inbox()._waits == {}


async def test_a_wait_survives_its_lost_connection(client: Client, redis_url: str) -> None:
    """The end that comes before the subscription is back is looked up, not waited for."""
    async with Redis.from_url(redis_url) as admin, running(redis_url) as worker:
        job = await act.options(client=client).enqueue("gate")
        wait = asyncio.create_task(job.result(timeout=20))
        await awaited(client)
        await admin.client_kill_filter(_type="pubsub")
        await until(job, State.active)
        stage_of(worker).gate.set()
        async with asyncio.timeout(20):
            assert await wait == "woke"


# -- cancel --------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.waiting, State.delayed, State.active, State.parked])
async def test_a_job_is_cancelled_wherever_it_is(
    client: Client, redis_url: str, state: State
) -> None:
    delay: Any = {"delay": "1h"} if state is State.delayed else {}
    job = await act.options(client=client, **delay).enqueue("sleep", 60)
    functions = [act_in_thread] if state is State.parked else [act]
    if state in (State.waiting, State.delayed):
        await cancelled(job, state)
        return
    async with running(redis_url, functions) as worker:
        await until(job, state)
        await cancelled(job, state)
        assert stage_of(worker).cancelled == [job.id] * (state is State.active)


async def cancelled(job: Job[Any], state: State) -> None:
    """Cancel it, and see the reason come back as a typed error."""
    wait = asyncio.create_task(job.result(timeout=10))
    assert await job.cancel("no longer needed") is state
    with pytest.raises(JobCancelled) as caught:
        await wait
    assert caught.value.message == "no longer needed"
    info = await job.details()
    assert (info.state, info.failures) == (State.cancelled, 0)
    assert info.history[-1]["reason"] == "no longer needed"


async def test_a_cancel_that_the_worker_missed_comes_with_the_next_renewal(
    client: Client, redis_url: str
) -> None:
    """Its subscription was away; the flag in the record tells the lease thread."""
    async with running(redis_url) as worker:
        job = await act.options(client=client).enqueue("sleep", 60)
        await until(job, State.active)
        assert worker._session is not None
        await worker._session._control._pubsub.unsubscribe()  # type: ignore[union-attr]
        await job.cancel("quietly")
        with pytest.raises(JobCancelled):
            await job.result(timeout=10)


async def test_a_cancel_outlives_the_worker_that_should_have_heard_it(
    client: Client, redis_url: str
) -> None:
    """The job was asked to stop, its worker stopped first: the next one does not start it."""
    job = await act.options(client=client).enqueue("sleep", 60)
    async with running(redis_url, lease=30) as worker:
        await until(job, State.active)
        assert worker._session is not None
        await worker._session._control._pubsub.unsubscribe()  # type: ignore[union-attr]
        await job.cancel("for good")
    assert await job.state() is State.waiting
    async with running(redis_url) as worker:
        with pytest.raises(JobCancelled):
            await job.result(timeout=10)
        assert stage_of(worker).starts == []


async def test_a_cancel_between_attempts_holds(client: Client, redis_url: str) -> None:
    async with running(redis_url) as worker:
        job = await act.options(client=client, backoff=fixed("1h")).enqueue("error", "x")
        await until(job, State.delayed)
        assert await job.abort(timeout=20) is True
        assert stage_of(worker).attempts(job.id) == [1]


async def test_an_ended_job_is_not_cancelled(client: Client, redis_url: str) -> None:
    async with running(redis_url):
        job = await act.options(client=client).enqueue("ok", 1)
        await job.result(timeout=10)
        assert await job.cancel() is State.completed
        assert await job.result(timeout=10) == 1
        assert await job.abort(timeout=20) is False
