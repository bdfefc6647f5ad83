"""arq-C: abort."""

# ruff: noqa: N802 -- tests are named after the defects of arq

from __future__ import annotations

import asyncio

from arq.connections import RedisSettings
from arq.jobs import JobStatus

from jobs import Client, Job
from tests.helpers.arq_app import Ctx, add, burst, enqueued, named, running, until, waits
from tests.helpers.waiting import wait_until


async def test_arq_C1_abort_of_a_deferred_job_does_not_run_it(
    pool: Client, redis_settings: RedisSettings
) -> None:
    job = await enqueued(pool, "add", _defer_by=3600)
    async with running([add], redis_settings) as worker:
        assert await job.abort(timeout=20) is True
        after = await enqueued(pool, "add")
        assert await after.result(timeout=20) == 1
    assert await job.status() is JobStatus.complete
    assert worker.jobs_complete == 1


async def test_arq_C2_abort_of_an_unknown_id_answers_and_harms_no_later_job(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async with running([add], redis_settings):
        assert await asyncio.wait_for(Job("g", pool).abort(), 20) is False
        job = await enqueued(pool, "add", 1, _job_id="g")
        assert await job.result(timeout=20) == 2


async def test_arq_C3_a_job_that_catches_its_abort_leaves_nothing_behind(
    pool: Client, redis_settings: RedisSettings
) -> None:
    runs: list[str] = []

    async def catches(ctx: Ctx) -> str:
        runs.append("run")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if len(runs) > 1:
                raise
        return "caught"

    job = await enqueued(pool, "catches", _job_id="sw")
    async with running([named(catches)], redis_settings):
        await until(job, JobStatus.in_progress)
        assert await job.abort(timeout=20) is False
        assert await job.result() == "caught"
        again = await enqueued(pool, "catches", _job_id="sw")
        await wait_until(lambda: len(runs) == 2, description="the second job of this id runs")
    assert await again.status() is JobStatus.queued, "stopped by the shutdown, not by the abort"


async def test_arq_C4_abort_always_answers_also_from_a_default_worker(
    pool: Client, redis_settings: RedisSettings
) -> None:

    job = await enqueued(pool, "waits")
    async with running([waits], redis_settings):
        await until(job, JobStatus.in_progress)
        assert await asyncio.wait_for(job.abort(), 20) is True


async def test_an_aborted_job_may_clean_up_for_longer_than_its_lease_is_renewed(
    pool: Client, redis_settings: RedisSettings
) -> None:
    """It is asked to stop once, however often the renewal of its lease repeats the wish."""
    notes: list[str] = []

    async def cleans_up(ctx: Ctx) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.5)
            notes.append("cleaned up")
            raise

    job = await enqueued(pool, "cleans_up")
    async with running([named(cleans_up)], redis_settings, lease=0.3):
        await until(job, JobStatus.in_progress)
        assert await job.abort(timeout=20) is True
    assert notes == ["cleaned up"]


async def test_an_abort_that_no_worker_hears_is_read_from_the_record(
    pool: Client, redis_settings: RedisSettings
) -> None:
    """Pub/sub may lose the message; the renewal of the lease brings the wish."""
    job = await enqueued(pool, "waits")
    async with running([waits], redis_settings, lease=0.3) as worker:
        await until(job, JobStatus.in_progress)
        assert worker._session is not None
        await worker._session._control.aclose()
        assert await job.abort(timeout=20) is True


async def test_a_burst_counts_an_aborted_job_as_failed(
    pool: Client, redis_settings: RedisSettings
) -> None:

    job = await enqueued(pool, "waits")
    bursting = asyncio.create_task(burst([waits], redis_settings))
    await until(job, JobStatus.in_progress)
    assert await job.abort(timeout=20) is True
    worker = await bursting
    assert (worker.jobs_complete, worker.jobs_failed) == (0, 1)
