"""Claims ahead of need: what stands in line, how long, and what becomes of it."""

from __future__ import annotations

import asyncio
from typing import Any

from jobs import Client, Queue, State, Worker
from jobs.handle import Job, JobInfo
from tests.helpers.acting import act
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running, stage_of


async def rush(client: Client, then: int) -> list[Job[Any]]:
    """Many jobs that end at once, so that the worker claims ahead; then some that stay."""
    await client.enqueue_many([act.request("ok") for _ in range(1_000)])
    return await client.enqueue_many([act.request("gate") for _ in range(then)])


def stuck(worker: Worker, number: int) -> bool:
    """Whether all that is left are `number` jobs at the gate."""
    return worker.jobs_complete == 1_000 and stage_of(worker).running == number


async def counts(client: Client) -> dict[State, int]:
    return await client.queue().counts()


async def test_what_stands_in_line_too_long_goes_back_to_its_place(
    client: Client, redis_url: str
) -> None:
    staying = await rush(client, 60)
    async with running(redis_url, max_jobs=5) as worker:
        await wait_until(lambda: stuck(worker, 5), description="the slots are taken")

        async def given_back() -> JobInfo | None:
            """The counts alone are the same before the worker claims ahead."""
            info, found = await staying[5].details(), await counts(client)
            back = (info.state, found[State.active], found[State.waiting])
            return info if back == (State.waiting, 5, 55) else None

        info: JobInfo = await wait_until(given_back, description="nobody stands in line")
        assert (info.failures, info.interruptions) == (0, 0)
        assert info.history == []
        stage_of(worker).gate.set()
        for job in staying:
            await job.result(timeout=10)
        began = stage_of(worker).order[1_000:]
    assert began == [job.id for job in staying], "in the order in which they were enqueued"


async def test_other_workers_get_what_one_cannot_begin(client: Client, redis_url: str) -> None:
    staying = await rush(client, 40)
    async with running(redis_url, max_jobs=5) as busy:
        await wait_until(lambda: stuck(busy, 5), description="the slots are taken")
        async with running(redis_url, max_jobs=50) as other:
            await wait_until(
                lambda: stage_of(other).running == 35, description="the other runs the rest"
            )
            stage_of(other).gate.set()
            stage_of(busy).gate.set()
            for job in staying:
                await job.result(timeout=10)
    assert (await counts(client))[State.completed] == 1_040


async def test_a_stopping_worker_gives_its_line_back_at_once(
    client: Client, redis_url: str
) -> None:
    """Nothing of it is an interruption: it had not begun."""
    staying = await rush(client, 60)
    async with running(redis_url, max_jobs=5, job_completion_wait=60) as worker:
        await wait_until(lambda: stuck(worker, 5), description="the slots are taken")
        worker.stop()

        async def given_back() -> bool:
            return (await counts(client))[State.waiting] == 55

        await wait_until(given_back, description="the line is back")
        stage_of(worker).gate.set()
    assert (await counts(client))[State.completed] == 1_005
    assert {(await job.details()).interruptions for job in staying} == {0}


async def test_more_slots_than_one_step_fills(client: Client, redis_url: str) -> None:
    """A step claims a hundred; the next one follows although none of them has ended."""
    await client.enqueue_many([act.request("gate") for _ in range(300)])
    async with running(redis_url, max_jobs=250) as worker:
        await wait_until(lambda: stage_of(worker).running == 250, description="all slots are taken")
        stage_of(worker).gate.set()
        await wait_until(lambda: worker.jobs_complete == 300, description="all have run")


async def test_no_more_run_at_once_than_there_are_slots(client: Client, redis_url: str) -> None:
    await client.enqueue_many([act.request("sleep", 0.001) for _ in range(500)])
    async with running(redis_url, max_jobs=7) as worker:
        await wait_until(lambda: worker.jobs_complete == 500, description="all have run")
        assert stage_of(worker).most == 7


async def test_a_rate_is_kept_to_the_job(client: Client, redis_url: str) -> None:
    """Claims count against a rate, so that none is made ahead of need."""
    await client.enqueue_many([act.request("gate") for _ in range(20)])
    queue = Queue("default", concurrency=3, rate="5/min")
    async with running(redis_url, queues=[queue]) as worker:
        await wait_until(lambda: stage_of(worker).running == 3, description="the slots are taken")
        await asyncio.sleep(0)
        found = await counts(client)
        assert (found[State.active], found[State.waiting]) == (3, 17)
        stage_of(worker).gate.set()
        await wait_until(lambda: worker.jobs_complete == 5, description="the rate is used up")


async def test_a_cancelled_job_in_line_does_not_begin(client: Client, redis_url: str) -> None:
    staying = await rush(client, 30)
    async with running(redis_url, max_jobs=5) as worker:
        await wait_until(lambda: stuck(worker, 5), description="the slots are taken")
        for job in staying[5:]:
            await job.cancel("not wanted")
        stage_of(worker).gate.set()
        for job in staying[:5]:
            await job.result(timeout=10)

        async def over() -> bool:
            return (await counts(client))[State.cancelled] == 25

        await wait_until(over, description="the others are cancelled")
        assert len(stage_of(worker).order) == 1_005
