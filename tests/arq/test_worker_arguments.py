"""Every argument of arq's `Worker`: what it does here, or that it does no harm."""

from __future__ import annotations

import asyncio
import inspect
import logging
import pickle
import signal
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import arq
import arq.worker
import pytest
from arq.connections import RedisSettings
from arq.jobs import JobStatus

from jobs import Client, Job, JobFailed, Retry, Worker, create_pool, cron, job
from jobs.keys import queue_keys
from tests.helpers.arq_app import Ctx, burst, make_worker, named, running
from tests.helpers.waiting import wait_until

HEALTH_KEY = "arq:queue:health-check"


async def add(ctx: Ctx, a: int = 0, b: int = 1) -> int:
    return a + b


async def waits(ctx: Ctx) -> None:
    await asyncio.sleep(60)


async def retries(ctx: Ctx) -> None:
    raise Retry(defer=0)


async def echo(ctx: Ctx, value: Any) -> Any:
    return value


async def enqueued(pool: Client, *args: Any, **kwargs: Any) -> Job[Any]:
    made = await pool.enqueue_job(*args, **kwargs)
    assert made is not None
    return made


async def until(job: Job[Any], status: JobStatus) -> None:
    async def reached() -> bool:
        return await job.status() is status

    await wait_until(reached, description=f"the job is {status}")


def test_every_argument_of_arqs_worker_is_taken_in_the_same_way() -> None:
    theirs = inspect.signature(arq.worker.Worker).parameters
    ours = inspect.signature(Worker).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    assert {name: p.kind for name, p in theirs.items()} == {n: ours[n].kind for n in theirs}
    changed = {n for n in theirs if ours[n].default != theirs[n].default}
    assert changed == {"job_completion_wait", "health_check_interval"}


# -- functions, queue_name, cron_jobs ----------------------------------------------------------


async def test_functions_are_taken_in_every_form(
    pool: Client, redis_settings: RedisSettings
) -> None:
    @job("typed", queue="typed-ones")
    async def typed(ctx: Ctx, n: int) -> int:
        return n

    forms = [add, arq.func(echo, name="arq-func"), "asyncio.sleep", typed]
    jobs = [
        await enqueued(pool, "add"),
        await enqueued(pool, "arq-func", 2),
        await typed.options(client=pool).enqueue(3),
    ]
    worker = await burst(forms, redis_settings)
    assert [await made.result(timeout=5) for made in jobs] == [1, 2, 3]
    assert "asyncio.sleep" in worker.functions


async def test_a_worker_without_anything_to_run_is_refused(redis_settings: RedisSettings) -> None:
    with pytest.raises(RuntimeError, match="at least one function or cron_job"):
        make_worker([], redis_settings)


async def test_queue_name_is_the_queue_that_is_served(
    pool: Client, redis_settings: RedisSettings
) -> None:
    here, there = await enqueued(pool, "add", _queue_name="here"), await enqueued(pool, "add")
    await burst([add], redis_settings, queue_name="here")
    assert [await here.status(), await there.status()] == [JobStatus.complete, JobStatus.queued]


async def test_queue_name_none_takes_that_of_the_pool(redis_settings: RedisSettings) -> None:
    pool = await create_pool(redis_settings, default_queue_name="pools")
    job = await enqueued(pool, "add")
    await burst([add], None, redis_pool=pool, queue_name=None)
    assert await job.result() == 1
    await pool.aclose()
    with pytest.raises(ValueError, match="redis_pool must be present"):
        make_worker([add], redis_settings, queue_name=None)


async def test_cron_jobs_are_run(pool: Client, redis_settings: RedisSettings) -> None:
    ran = asyncio.Event()

    async def tick(ctx: Ctx) -> None:
        ran.set()

    async with running([], redis_settings, cron_jobs=[cron(tick, run_at_startup=True, month=1)]):
        await asyncio.wait_for(ran.wait(), 5)
    with pytest.raises(RuntimeError, match="instances of CronJob"):
        make_worker([], redis_settings, cron_jobs=[tick])


# -- redis_settings, redis_pool ----------------------------------------------------------------


async def test_redis_pool_is_used_and_left_open(pool: Client) -> None:
    job = await enqueued(pool, "add", 1)
    worker = await burst([add], None, redis_pool=pool)
    assert worker.ctx["redis"] is pool
    assert await job.result() == 2
    assert await pool.ping()


async def test_a_pool_that_arq_itself_made_serves_as_well(
    pool: Client, redis_settings: RedisSettings
) -> None:
    theirs = await arq.create_pool(redis_settings)
    job = await enqueued(pool, "add", 1)
    worker = await burst([add], None, redis_pool=theirs)
    assert isinstance(worker.ctx["redis"], Client)
    assert await job.result() == 2
    assert await theirs.ping()
    await theirs.aclose()


# -- burst, max_burst_jobs ---------------------------------------------------------------------


async def test_burst_ends_when_the_queue_is_empty(
    pool: Client, redis_settings: RedisSettings
) -> None:
    for _ in range(25):
        await pool.enqueue_job("add")
    worker = await burst([add], redis_settings, max_jobs=3)
    assert worker.jobs_complete == 25


async def test_max_burst_jobs_limits_a_burst(pool: Client, redis_settings: RedisSettings) -> None:
    for _ in range(5):
        await pool.enqueue_job("add")
    assert (await burst([add], redis_settings, max_burst_jobs=2)).jobs_complete == 2
    assert len(await pool.queued_jobs()) == 3
    assert (await burst([add], redis_settings, max_burst_jobs=0)).jobs_complete == 0
    assert (await burst([add], redis_settings, max_burst_jobs=-1)).jobs_complete == 3


# -- handle_signals, job_completion_wait -------------------------------------------------------


@pytest.mark.parametrize("handled", [True, False])
async def test_handle_signals_catches_them_while_the_worker_runs(
    redis_settings: RedisSettings, handled: bool
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    async with running([add], redis_settings, handle_signals=handled):
        await wait_until(
            lambda: (signal.getsignal(signal.SIGTERM) != before) is handled, description="caught"
        )
    assert signal.getsignal(signal.SIGTERM) == before


async def test_a_signal_stops_the_worker_and_on_stop_hears_of_it(
    redis_settings: RedisSettings,
) -> None:
    heard: list[signal.Signals] = []
    worker = make_worker([add], redis_settings, handle_signals=True)
    worker.on_stop = heard.append
    task = asyncio.create_task(worker.async_run())
    before = signal.getsignal(signal.SIGTERM)
    await wait_until(lambda: signal.getsignal(signal.SIGTERM) != before, description="caught")
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(task, 5)
    await worker.close()
    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize("wait", [0, 5])
async def test_job_completion_wait_is_the_time_that_running_jobs_get(
    pool: Client, redis_settings: RedisSettings, wait: float
) -> None:
    started, gate = asyncio.Event(), asyncio.Event()

    async def gated(ctx: Ctx) -> str:
        started.set()
        await gate.wait()
        return "finished"

    job = await enqueued(pool, "gated")
    async with running([named(gated)], redis_settings, job_completion_wait=wait) as worker:
        await started.wait()
        worker.stop()
        if wait:
            gate.set()
    expected = JobStatus.complete if wait else JobStatus.queued
    assert await job.status() is expected
    assert (worker.jobs_complete, worker.jobs_retried) == ((1, 0) if wait else (0, 1))


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
    job = await enqueued(pool, "add")
    async with running([add], redis_settings, keep_result=0):
        assert await job.result(timeout=5) == 1, "who waits hears of it all the same"
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
    async with running([add], redis_settings, health_check_interval=50):
        text = await wait_until(lambda: pool.get(HEALTH_KEY), description="the key is written")
        left_ms = await pool.pttl(HEALTH_KEY)
    assert b" j_complete=0 j_failed=0 j_retried=0 j_ongoing=0" in text
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
        assert await job.result(timeout=5) == 5
    await pool.aclose()


# -- accepted, and harmless --------------------------------------------------------------------


async def test_poll_delay_and_queue_read_limit_slow_nothing_down(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async with running([add], redis_settings, poll_delay=60, queue_read_limit=1):
        jobs = [await enqueued(pool, "add", n) for n in range(5)]
        assert [await job.result(timeout=5) for job in jobs] == [1, 2, 3, 4, 5]


async def test_expires_extra_ms_expires_nothing(redis_settings: RedisSettings) -> None:
    pool = await create_pool(redis_settings, expires_extra_ms=1)
    job = await enqueued(pool, "add", _defer_by=0.05)
    async with running([add], redis_settings, expires_extra_ms=1):
        assert await job.result(timeout=5) == 1
    await pool.aclose()


async def test_allow_abort_jobs_is_always_so(pool: Client, redis_settings: RedisSettings) -> None:
    job = await enqueued(pool, "waits")
    async with running([waits], redis_settings, allow_abort_jobs=False):
        await until(job, JobStatus.in_progress)
        assert await job.abort(timeout=5) is True


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
