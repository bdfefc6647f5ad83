"""The arguments of arq's `Worker` about single jobs: limits, results, health, codec."""

from __future__ import annotations

import asyncio
import logging
import pickle
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from arq.connections import RedisSettings
from arq.jobs import JobStatus

from jobs import Client, JobFailed, Retry, create_pool, cron
from jobs.keys import queue_keys
from tests.helpers.arq_app import (
    Ctx,
    add,
    burst,
    enqueued,
    named,
    running,
    until,
    waits,
)
from tests.helpers.waiting import wait_until

HEALTH_KEY = "arq:queue:health-check"


async def retries(ctx: Ctx) -> None:
    raise Retry(defer=0)


async def echo(ctx: Ctx, value: Any) -> Any:
    return value


# -- max_jobs, job_timeout, max_tries, retry_jobs ----------------------------------------------


async def test_max_jobs_is_the_most_that_run_at_once(
    pool: Client, redis_settings: RedisSettings
) -> None:
    now: list[str] = []
    most: list[int] = []

    async def counts(ctx: Ctx) -> None:
        now.append(ctx["job_id"])
        most.append(len(now))
        await asyncio.sleep(0.01)
        now.remove(ctx["job_id"])

    for _ in range(12):
        await pool.enqueue_job("counts")
    await burst([named(counts)], redis_settings, max_jobs=3)
    assert max(most) == 3


@pytest.mark.parametrize("limit", [0.05, timedelta(milliseconds=50)], ids=["seconds", "timedelta"])
async def test_job_timeout_ends_an_attempt(
    pool: Client, redis_settings: RedisSettings, limit: float | timedelta
) -> None:
    job = await enqueued(pool, "waits")
    worker = await burst([waits], redis_settings, job_timeout=limit, max_tries=1)
    with pytest.raises(JobFailed, match=r"longer than its timeout of 0\.05 s"):
        await job.result()
    assert worker.jobs_failed == 1


async def test_max_tries_is_the_number_of_runs(pool: Client, redis_settings: RedisSettings) -> None:
    job = await enqueued(pool, "retries")
    worker = await burst([retries], redis_settings, max_tries=4)
    info = await job.result_info()
    assert info is not None
    assert (info.success, info.job_try) == (False, 4)
    assert (worker.jobs_failed, worker.jobs_retried) == (1, 3)


async def test_retry_jobs_false_makes_retry_final(
    pool: Client, redis_settings: RedisSettings
) -> None:
    job = await enqueued(pool, "retries")
    worker = await burst([retries], redis_settings, retry_jobs=False)
    info = await job.result_info()
    assert info is not None
    assert (info.success, info.job_try) == (False, 1)
    assert (worker.jobs_failed, worker.jobs_retried) == (1, 0)


async def test_retry_jobs_false_makes_a_shutdown_final_too(
    pool: Client, redis_settings: RedisSettings
) -> None:
    """arq's promise of this setting: a job that began does not begin again."""
    job = await enqueued(pool, "waits")
    async with running([waits], redis_settings, retry_jobs=False) as worker:
        await until(job, JobStatus.in_progress)
    info = await job.result_info()
    assert info is not None
    assert info.success is False
    assert (worker.jobs_failed, worker.jobs_retried) == (1, 0)


# -- keep_result, keep_result_forever ----------------------------------------------------------


@pytest.mark.parametrize("keep", [100, timedelta(seconds=100)], ids=["seconds", "timedelta"])
async def test_keep_result_is_how_long_a_result_is_kept(
    pool: Client, redis_settings: RedisSettings, keep: float | timedelta
) -> None:
    job = await enqueued(pool, "add")
    await burst([add], redis_settings, keep_result=keep)
    info = await job.result_info()
    assert info is not None
    until_ms = await pool.zscore(queue_keys("default").expiry, job.job_id)
    assert until_ms == pytest.approx(info.finish_time.timestamp() * 1000 + 100_000, abs=1)


async def test_a_result_is_gone_after_its_time(pool: Client, redis_settings: RedisSettings) -> None:
    job = await enqueued(pool, "add")
    await burst([add], redis_settings, keep_result=0.02)
    await asyncio.sleep(0.03)

    async def gone() -> bool:
        return await job.status() is JobStatus.not_found

    async with running([add], redis_settings):  # a worker prunes when it starts
        await wait_until(gone, description="the result is pruned")
    assert await pool.all_job_results() == []


async def test_keep_result_zero_keeps_nothing(pool: Client, redis_settings: RedisSettings) -> None:
    gate = asyncio.Event()

    async def gated(ctx: Ctx) -> int:
        await gate.wait()
        return 1

    job = await enqueued(pool, "gated")
    async with running([named(gated)], redis_settings, keep_result=0):
        waiting = asyncio.create_task(job.result(timeout=10))
        await wait_until(
            lambda: pool.exists(queue_keys("default").waiters), description="the wait is noted"
        )
        gate.set()
        assert await waiting == 1, "who waits hears of it all the same"
    assert await job.status() is JobStatus.not_found


async def test_keep_result_forever_wins_over_keep_result(
    pool: Client, redis_settings: RedisSettings
) -> None:
    job = await enqueued(pool, "add")
    await burst([add], redis_settings, keep_result=0, keep_result_forever=True)
    assert await job.result() == 1
    assert await pool.zcard(queue_keys("default").expiry) == 0


# -- health_check_interval, health_check_key ---------------------------------------------------


async def test_health_check_key_holds_arqs_figures_for_a_little_over_the_interval(
    pool: Client, redis_settings: RedisSettings
) -> None:
    await enqueued(pool, "add", _defer_by=60)
    async with running([add], redis_settings, health_check_interval=50):
        text = await wait_until(lambda: pool.get(HEALTH_KEY), description="the key is written")
        left_ms = await pool.pttl(HEALTH_KEY)
    assert b" j_complete=0 j_failed=0 j_retried=0 j_ongoing=0 queued=1" in text
    assert 50_000 < left_ms <= 61_000
    assert await pool.exists(HEALTH_KEY) == 0, "the last worker takes it along"


async def test_health_check_key_can_be_named(pool: Client, redis_settings: RedisSettings) -> None:
    async with running([add], redis_settings, health_check_key="alive"):
        await wait_until(lambda: pool.get("alive"), description="the key is written")
        assert await pool.exists(HEALTH_KEY) == 0


async def test_health_check_interval_renews_the_figures(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async with running([add], redis_settings, health_check_interval=0.05):
        await pool.enqueue_job("add")

        async def counted() -> bool:
            return b"j_complete=1" in (await pool.get(HEALTH_KEY) or b"")

        await wait_until(counted, description="the key tells of the job")


# -- ctx ---------------------------------------------------------------------------------------


async def test_ctx_reaches_the_jobs_and_is_the_workers_own(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async def reads(ctx: Ctx) -> str:
        return str(ctx["shared"])

    mine = {"shared": "yes"}
    job = await enqueued(pool, "reads")
    worker = await burst([named(reads)], redis_settings, ctx=mine)
    assert worker.ctx is mine
    assert await job.result() == "yes"


# -- job_serializer, job_deserializer ----------------------------------------------------------


async def test_pickle_given_by_name_serves_payloads_and_results(
    redis_settings: RedisSettings,
) -> None:
    codec: dict[str, Any] = {"job_serializer": pickle.dumps, "job_deserializer": pickle.loads}
    pool = await create_pool(redis_settings, **codec)
    value = {"when": timedelta(days=2), "some": {1, 2, 3}, "z": 1 + 2j}
    job = await enqueued(pool, "echo", value)
    await burst([echo], redis_settings, **codec)
    assert await job.result() == value
    info = await job.result_info()
    assert info is not None
    assert (info.args, info.result) == ((value,), value)
    await pool.aclose()


async def test_a_worker_without_the_deserializer_keeps_such_a_job(
    redis_settings: RedisSettings,
) -> None:
    pool = await create_pool(
        redis_settings, job_serializer=pickle.dumps, job_deserializer=pickle.loads
    )
    job = await enqueued(pool, "add", 4)
    assert (await burst([add], redis_settings)).jobs_complete == 0
    assert await job.status() is JobStatus.queued
    options = {"job_serializer": pickle.dumps, "job_deserializer": pickle.loads}
    async with running([add], redis_settings, **options):
        assert await job.result(timeout=20) == 5
    await pool.aclose()


# -- accepted, and harmless --------------------------------------------------------------------


async def test_poll_delay_and_queue_read_limit_slow_nothing_down(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async with running([add], redis_settings, poll_delay=60, queue_read_limit=1):
        jobs = [await enqueued(pool, "add", n) for n in range(5)]
        assert [await job.result(timeout=20) for job in jobs] == [1, 2, 3, 4, 5]


async def test_expires_extra_ms_expires_nothing(redis_settings: RedisSettings) -> None:
    pool = await create_pool(redis_settings, expires_extra_ms=1)
    job = await enqueued(pool, "add", _defer_by=0.05)
    async with running([add], redis_settings, expires_extra_ms=1):
        assert await job.result(timeout=20) == 1
    await pool.aclose()


async def test_allow_abort_jobs_is_always_so(pool: Client, redis_settings: RedisSettings) -> None:
    job = await enqueued(pool, "waits")
    async with running([waits], redis_settings, allow_abort_jobs=False):
        await until(job, JobStatus.in_progress)
        assert await job.abort(timeout=20) is True


@pytest.mark.parametrize("log_results", [True, False])
async def test_log_results_logs_none_either_way(
    pool: Client,
    redis_settings: RedisSettings,
    caplog: pytest.LogCaptureFixture,
    log_results: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    job = await enqueued(pool, "echo", "a-secret")
    await burst([echo], redis_settings, log_results=log_results)
    assert await job.result() == "a-secret"
    assert "echo completed" in caplog.text
    assert "a-secret" not in caplog.text


# -- timezone ----------------------------------------------------------------------------------


async def test_timezone_is_that_of_cron_jobs(redis_settings: RedisSettings) -> None:
    zone = ZoneInfo("Asia/Kathmandu")
    noon = cron(add, hour=12, minute=30)
    async with running([], redis_settings, cron_jobs=[noon], timezone=zone):
        due = await wait_until(lambda: noon.next_run, description="the ticker looked")
    local = due.astimezone(zone)
    assert (local.hour, local.minute) == (12, 30)
