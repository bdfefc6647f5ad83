"""arq's `Job`: status through all states, info, result_info, result and abort."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import arq.jobs
import pytest
from arq.connections import RedisSettings
from arq.jobs import JobDef, JobResult, JobStatus

from jobs import Client, Job, JobFailed, Retry
from jobs.errors import JobCancelled, JobNotFound, ResultTimeout
from tests.helpers.arq_app import Ctx, add, burst, enqueued, fails, named, running, until

LONG = timedelta(hours=1)


async def waits(ctx: Ctx) -> str:
    await asyncio.sleep(60)
    return "never"


async def again(ctx: Ctx) -> int:
    if ctx["job_try"] == 1:
        raise Retry(defer=LONG)
    return int(ctx["job_try"])


# -- status ------------------------------------------------------------------------------------


async def test_status_through_every_state(pool: Client, redis_settings: RedisSettings) -> None:
    gate = asyncio.Event()

    async def gated(ctx: Ctx) -> None:
        await gate.wait()

    assert await Job("nobody", pool).status() is JobStatus.not_found
    job = await enqueued(pool, "gated", _defer_by=0.2)
    assert await job.status() is JobStatus.deferred
    other = await enqueued(pool, "gated", _queue_name="nobody serves it")
    assert await other.status() is JobStatus.queued
    async with running([named(gated)], redis_settings):
        await until(job, JobStatus.in_progress)
        gate.set()
        await until(job, JobStatus.complete)


async def test_a_failed_job_and_a_cancelled_one_are_complete_in_arqs_words(
    pool: Client, redis_settings: RedisSettings
) -> None:
    failed, cancelled = await enqueued(pool, "fails"), await enqueued(pool, "fails", _defer_by=60)
    assert await cancelled.abort(timeout=20) is True
    await burst([fails], redis_settings)
    assert [await failed.status(), await cancelled.status()] == [JobStatus.complete] * 2


async def test_a_job_between_two_tries_is_deferred(
    pool: Client, redis_settings: RedisSettings
) -> None:
    job = await enqueued(pool, "again")
    async with running([again], redis_settings):
        await until(job, JobStatus.deferred)
        info = await job.info()
    assert info is not None
    assert info.score is not None
    assert info.score / 1000 - datetime.now(UTC).timestamp() > 3500


# -- info --------------------------------------------------------------------------------------


async def test_info_of_a_job_that_waits(pool: Client) -> None:
    job = await enqueued(pool, "add", 1, b=2, _job_id="x")
    info = await job.info()
    assert info == JobDef(
        function="add",
        args=(1,),
        kwargs={"b": 2},
        job_try=None,  # type: ignore[arg-type]  # as in arq, whose annotation leaves it out
        enqueue_time=info.enqueue_time if info else datetime.now(UTC),
        score=info.score if info else 0,
        job_id="x",
    )
    assert info.enqueue_time.tzinfo is not None
    assert abs(info.enqueue_time.timestamp() - datetime.now(UTC).timestamp()) < 30
    assert info.score == round(info.enqueue_time.timestamp() * 1000)


async def test_info_and_result_info_of_a_job_that_ended(
    pool: Client, redis_settings: RedisSettings
) -> None:
    job = await enqueued(pool, "add", 1, b=2)
    assert await job.result_info() is None
    await burst([add], redis_settings)
    info = await job.result_info()
    assert isinstance(info, JobResult)
    assert await job.info() == info
    assert (info.function, info.args, info.kwargs, info.job_try) == ("add", (1,), {"b": 2}, 1)
    assert (info.success, info.result, info.queue_name) == (True, 3, "default")
    assert (info.score, info.job_id) == (None, job.job_id)
    assert info.enqueue_time <= info.finish_time
    assert info.start_time <= info.finish_time


async def test_result_info_never_raises_the_error_of_the_job(
    pool: Client, redis_settings: RedisSettings
) -> None:
    job = await enqueued(pool, "fails")
    await burst([fails], redis_settings)
    info = await job.result_info()
    assert info is not None
    assert info.success is False
    assert isinstance(info.result, JobFailed)
    assert (info.result.kind, info.result.message) == ("ValueError", "no")


async def test_an_unknown_job_has_no_info(pool: Client) -> None:
    job: Job[Any] = Job("nobody", pool)
    assert (await job.info(), await job.result_info()) == (None, None)


async def test_a_handle_is_arqs_job(pool: Client) -> None:
    job = await enqueued(pool, "add", 1, _job_id="x")
    assert isinstance(job, arq.jobs.Job)
    assert "x" in repr(job)


# -- result ------------------------------------------------------------------------------------


async def test_result_waits_for_the_end(pool: Client, redis_settings: RedisSettings) -> None:
    job = await enqueued(pool, "add", 1)
    waiting = asyncio.create_task(job.result(timeout=5, poll_delay=0.01))
    await asyncio.sleep(0)
    await burst([add], redis_settings)
    assert await waiting == 2


async def test_result_raises_the_error_of_the_job_by_name_text_and_traceback(
    pool: Client, redis_settings: RedisSettings
) -> None:
    job = await enqueued(pool, "fails")
    await burst([fails], redis_settings)
    with pytest.raises(JobFailed) as caught:
        await job.result()
    assert (caught.value.kind, caught.value.message) == ("ValueError", "no")


async def test_result_of_an_unknown_job_is_not_waited_for(pool: Client) -> None:
    with pytest.raises(JobNotFound):
        await Job("nobody", pool).result(timeout=20)


async def test_result_times_out_as_a_timeout_error(pool: Client) -> None:
    job = await enqueued(pool, "add", 1)
    with pytest.raises(ResultTimeout):
        await job.result(timeout=0.05)
    assert issubclass(ResultTimeout, asyncio.TimeoutError)


# -- abort -------------------------------------------------------------------------------------


async def test_abort_of_a_waiting_job(pool: Client, redis_settings: RedisSettings) -> None:
    job = await enqueued(pool, "add", 1)
    assert await job.abort() is True
    assert (await burst([add], redis_settings)).jobs_complete == 0
    with pytest.raises(JobCancelled, match="aborted"):
        await job.result()


async def test_abort_of_a_running_job(pool: Client, redis_settings: RedisSettings) -> None:
    job = await enqueued(pool, "waits")
    async with running([waits], redis_settings, lease=30):
        await until(job, JobStatus.in_progress)
        assert await job.abort(timeout=20) is True
    info = await job.result_info()
    assert info is not None
    assert isinstance(info.result, JobCancelled)


async def test_abort_of_an_ended_job(pool: Client, redis_settings: RedisSettings) -> None:
    job = await enqueued(pool, "add", 1)
    await burst([add], redis_settings)
    assert await job.abort() is False
    assert await job.result() == 2


async def test_abort_that_the_job_does_not_obey_in_time(
    pool: Client, redis_settings: RedisSettings
) -> None:
    free = asyncio.Event()

    async def stubborn(ctx: Ctx) -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await free.wait()
        return "done all the same"

    job = await enqueued(pool, "stubborn")
    async with running([named(stubborn)], redis_settings, lease=30):
        await until(job, JobStatus.in_progress)
        with pytest.raises(ResultTimeout):
            await job.abort(timeout=0.1)
        free.set()
        assert await job.result(timeout=20) == "done all the same"
