"""The arguments of arq's `func()` and `cron()`."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import arq
import pytest
from arq.connections import RedisSettings
from arq.cron import CronJob
from arq.jobs import JobStatus

import jobs
from jobs import Client, Job, JobFailed, Retry, cron, fixed, func
from jobs.keys import queue_keys
from tests.helpers.arq_app import Ctx, add, burst, enqueued, named, running, waits
from tests.helpers.waiting import wait_until


async def retries(ctx: Ctx) -> None:
    raise Retry(defer=0)


async def fails_once(ctx: Ctx) -> int:
    if ctx["job_try"] == 1:
        raise ValueError("no")
    return int(ctx["job_try"])


def plain(ctx: Ctx) -> None:
    """No coroutine function."""


# -- func --------------------------------------------------------------------------------------


def test_cron_and_retry_are_arqs_own_and_func_has_two_more_arguments() -> None:
    assert jobs.cron is arq.cron
    assert jobs.Retry is arq.Retry
    assert isinstance(func(add), type(arq.func(add)))


@pytest.mark.parametrize("make", [func, arq.func], ids=["jobs.func", "arq.func"])
async def test_func_name(pool: Client, redis_settings: RedisSettings, make: Any) -> None:
    job = await enqueued(pool, "plus", 1)
    await burst([make(add, name="plus")], redis_settings)
    assert await job.result() == 2


def test_func_takes_a_dotted_path_and_its_own_result_and_refuses_the_rest() -> None:
    assert func("asyncio.sleep").name == "asyncio.sleep"
    made = func(add)
    assert made.name == "add"
    assert func(made, name="ignored, as in arq") is made
    with pytest.raises(RuntimeError, match="not a coroutine function"):
        func(plain)


@pytest.mark.parametrize("make", [func, arq.func], ids=["jobs.func", "arq.func"])
@pytest.mark.parametrize("limit", [0.05, timedelta(milliseconds=50)], ids=["seconds", "timedelta"])
async def test_func_timeout(
    pool: Client, redis_settings: RedisSettings, make: Any, limit: float | timedelta
) -> None:
    job = await enqueued(pool, "waits")
    await burst([make(waits, timeout=limit, max_tries=1)], redis_settings)
    with pytest.raises(JobFailed, match=r"timeout of 0\.05 s"):
        await job.result()


async def test_func_max_tries(pool: Client, redis_settings: RedisSettings) -> None:
    job = await enqueued(pool, "retries")
    await burst([func(retries, max_tries=2)], redis_settings, max_tries=5)
    info = await job.result_info()
    assert info is not None
    assert info.job_try == 2


async def test_func_keep_result_and_keep_result_forever(
    pool: Client, redis_settings: RedisSettings
) -> None:
    functions = [
        func(add, name="short", keep_result=10),
        func(add, name="not", keep_result=timedelta(0)),
        func(add, name="ever", keep_result_forever=True),
        func(add, name="never", keep_result_forever=False, keep_result=0),
    ]
    found = {f.name: await enqueued(pool, f.name) for f in functions}
    await burst(functions, redis_settings, keep_result_forever=False, keep_result=500)
    kept = {name for name, job in found.items() if await job.result_info() is not None}
    assert kept == {"short", "ever"}
    expiry = await pool.zrange(queue_keys("default").expiry, 0, -1)
    assert expiry == [found["short"].job_id.encode()]


async def test_func_backoff_makes_ordinary_errors_retryable(
    pool: Client, redis_settings: RedisSettings
) -> None:
    job = await enqueued(pool, "fails_once")
    await burst([func(fails_once, backoff=fixed("5ms"))], redis_settings)
    assert await job.result() == 2


# -- cron --------------------------------------------------------------------------------------


async def run_cron(
    settings: RedisSettings, pool: Client, job: CronJob, *, until: str = "complete"
) -> Job[Any]:
    """Run a cron job that starts with the worker; the job that it made."""
    async with running([], settings, cron_jobs=[job], keep_result=60):

        async def made() -> Any:
            results = await pool.all_job_results()
            return results[0] if results else None

        result = await wait_until(made, description="the cron job has run")
    return Job(result.job_id, pool)


async def test_cron_name_is_arqs_and_can_be_given() -> None:
    assert cron(add).name == "cron:add"
    assert cron("asyncio.sleep").name == "cron:asyncio.sleep"
    assert cron(add, name="mine").name == "mine"


async def test_cron_run_at_startup_and_keep_result(
    pool: Client, redis_settings: RedisSettings
) -> None:
    tick = cron(add, month=1, run_at_startup=True, keep_result=100)
    info = await (await run_cron(redis_settings, pool, tick)).result_info()
    assert info is not None
    assert (info.function, info.success, info.result) == ("cron:add", True, 1)


async def test_cron_keeps_no_result_by_default(pool: Client, redis_settings: RedisSettings) -> None:
    ran = asyncio.Event()

    async def tick(ctx: Ctx) -> None:
        ran.set()

    job = cron(tick, month=1, run_at_startup=True)
    async with running([], redis_settings, cron_jobs=[job]):
        await asyncio.wait_for(ran.wait(), 20)
    assert await pool.all_job_results() == []


async def test_cron_job_id(pool: Client, redis_settings: RedisSettings) -> None:
    tick = cron(add, month=1, run_at_startup=True, keep_result_forever=True, job_id="mine")
    assert (await run_cron(redis_settings, pool, tick)).job_id == "mine"


async def test_cron_timeout_and_max_tries(pool: Client, redis_settings: RedisSettings) -> None:
    tick = cron(waits, month=1, run_at_startup=True, timeout=0.05)
    job = await run_cron(redis_settings, pool, tick)
    info = await job.result_info()
    assert info is not None
    assert (info.success, info.job_try) == (False, 1)
    with pytest.raises(JobFailed, match=r"timeout of 0\.05 s"):
        await job.result()


async def test_cron_max_tries_can_be_raised(pool: Client, redis_settings: RedisSettings) -> None:
    tick = cron(retries, month=1, run_at_startup=True, max_tries=3)
    info = await (await run_cron(redis_settings, pool, tick)).result_info()
    assert info is not None
    assert info.job_try == 3


@pytest.mark.parametrize(("unique", "runs"), [(True, 1), (False, 2)])
async def test_cron_unique_runs_an_instant_once_over_all_workers(
    pool: Client, redis_settings: RedisSettings, unique: bool, runs: int
) -> None:
    ran: list[str] = []

    async def tick(ctx: Ctx) -> None:
        ran.append(ctx["job_id"])

    def job() -> CronJob:
        return cron(tick, name="tick", month=1, run_at_startup=True, unique=unique)

    async with (
        running([], redis_settings, cron_jobs=[job()]) as one,
        running([], redis_settings, cron_jobs=[job()]) as other,
    ):

        async def all_done() -> bool:
            counts = await pool.queue("default").counts()
            return len(ran) >= runs and not any(counts.values())

        await wait_until(
            lambda: one.cron_jobs[0].next_run and other.cron_jobs[0].next_run,
            description="both tickers have looked",
        )
        await wait_until(all_done, description="the queue is empty")
    assert len(ran) == runs


async def test_cron_fires_by_its_fields(pool: Client, redis_settings: RedisSettings) -> None:
    ran = asyncio.Event()

    async def tick(ctx: Ctx) -> None:
        ran.set()

    every_second = cron(tick, second=set(range(60)), microsecond=0)
    async with running([], redis_settings, cron_jobs=[every_second]):
        await asyncio.wait_for(ran.wait(), 20)


async def test_a_burst_runs_what_is_due_at_startup(
    pool: Client, redis_settings: RedisSettings
) -> None:
    ran: list[str] = []

    async def tick(ctx: Ctx) -> None:
        ran.append(ctx["job_id"])

    worker = await burst(
        [named(add)], redis_settings, cron_jobs=[cron(tick, month=1, run_at_startup=True)]
    )
    assert (len(ran), worker.jobs_complete) == (1, 1)
    assert await Job(ran[0], pool).status() is JobStatus.not_found, "cron keeps no result"


async def test_cron_jobs_go_where_the_given_pool_keeps_its_jobs(redis_url: str) -> None:
    ran = asyncio.Event()

    async def tick(ctx: Ctx) -> None:
        ran.set()

    mine = Client.connect(redis_url, prefix="mine")
    job = cron(tick, month=1, run_at_startup=True)
    async with running([], None, redis_pool=mine, cron_jobs=[job]):
        await asyncio.wait_for(ran.wait(), 20)
    await mine.aclose()
