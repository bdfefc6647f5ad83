"""Every argument of arq's `Worker`: that it is taken; what is served, from where, how long."""

from __future__ import annotations

import asyncio
import inspect
import signal
from typing import Any

import arq
import arq.worker
import pytest
from arq.connections import RedisSettings
from arq.jobs import JobStatus

from jobs import Client, Retry, Worker, create_pool, cron, job
from tests.helpers.arq_app import (
    Ctx,
    add,
    burst,
    enqueued,
    make_worker,
    named,
    running,
)
from tests.helpers.waiting import wait_until

HEALTH_KEY = "arq:queue:health-check"


async def retries(ctx: Ctx) -> None:
    raise Retry(defer=0)


async def echo(ctx: Ctx, value: Any) -> Any:
    return value


def test_every_argument_of_arqs_worker_is_taken_in_the_same_way() -> None:
    original = next(c for c in Worker.__mro__ if c.__module__ == arq.worker.__name__)
    theirs = inspect.signature(original).parameters  # the name itself may be rebound by now
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
    assert [await made.result(timeout=20) for made in jobs] == [1, 2, 3]
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
        await asyncio.wait_for(ran.wait(), 20)
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
    await asyncio.wait_for(task, 20)
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
