"""Chapter 6: results arrive by push, are typed, and are kept for a while."""

from __future__ import annotations

import asyncio

import pytest

from jobs import Client, Context, JobFailed, JobStatus, State, job
from jobs.errors import JobNotFound, ResultTimeout
from tests.fundamentals.conftest import Work


@pytest.fixture(autouse=True)
def double() -> object:
    """The function of this chapter."""

    @job("double", attempts=1)
    async def double(ctx: Context, n: int) -> int:
        if n < 0:
            raise ValueError("expected a number from 0")
        return 2 * n

    return double


async def test_many_may_wait_for_one_job(client: Client, work: Work, double: object) -> None:
    queued = await client.enqueue("double", {"n": 21})
    waiting = [asyncio.create_task(queued.result(timeout=20)) for _ in range(10)]
    await work(double)
    assert await asyncio.gather(*waiting) == [42] * 10


async def test_a_result_can_be_read_again_and_elsewhere(
    client: Client, work: Work, double: object, redis_url: str
) -> None:
    await work(double)
    queued = await client.enqueue("double", {"n": 1})
    assert [await queued.result(timeout=20) for _ in range(2)] == [2, 2]
    async with Client.connect(redis_url) as other:
        assert await other.job(queued.id).result(timeout=20) == 2


async def test_who_waits_too_short_is_told_so_and_may_wait_again(
    client: Client, work: Work, double: object
) -> None:
    queued = await client.enqueue("double", {"n": 4})
    with pytest.raises(ResultTimeout, match=r"did not end within 0\.01 s; is a worker serving"):
        await queued.result(timeout=0.01)
    await work(double)
    assert await queued.result(timeout=20) == 8


async def test_a_failure_is_raised_with_its_type_message_and_traceback(
    client: Client, work: Work, double: object
) -> None:
    await work(double)
    queued = await client.enqueue("double", {"n": -1})
    with pytest.raises(JobFailed) as raised:
        await queued.result(timeout=20)
    error = raised.value
    assert (error.kind, error.message) == ("ValueError", "expected a number from 0")
    assert error.traceback is not None
    assert "raise ValueError" in error.traceback


async def test_an_unknown_job_is_named(client: Client) -> None:
    with pytest.raises(JobNotFound, match="queue 'default' holds no job 'nothing'"):
        await client.job("nothing").result(timeout=1)


async def test_details_tell_everything(client: Client, work: Work, double: object) -> None:
    await work(double)
    queued = await client.enqueue("double", {"n": 5})
    await queued.result(timeout=20)
    info = await queued.details()
    assert (info.id, info.queue, info.function) == (queued.id, "default", "double")
    assert (info.state, info.result, info.error) == (State.completed, 10, None)
    assert (info.attempt, info.failures, info.losses, info.interruptions) == (1, 0, 0, 0)
    assert info.finished_at is not None
    assert info.finished_at >= info.enqueued_at
    assert info.history[0]["worker"].startswith("worker-")


async def test_arqs_questions_get_arqs_answers(client: Client, work: Work, double: object) -> None:
    queued = await client.enqueue_job("double", 5)
    assert queued is not None
    assert await queued.status() is JobStatus.queued
    definition = await queued.info()
    assert definition is not None
    assert definition.args == (5,)
    await work(double)
    assert await queued.result(timeout=20) == 10
    assert await queued.status() is JobStatus.complete
    result = await queued.result_info()
    assert result is not None
    assert (result.success, result.result) == (True, 10)


async def test_a_result_that_is_no_json_is_left_out_and_the_job_is_completed(
    client: Client, work: Work
) -> None:
    @job("odd")
    async def odd(ctx: Context) -> object:
        return object()

    await work(odd)
    queued = await client.enqueue("odd")
    assert await queued.result(timeout=20) is None
    info = await queued.details()
    assert info.state is State.completed
    assert "unstored" in info.history[-1]
