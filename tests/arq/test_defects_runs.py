"""arq-A7 to A17: jobs that were dropped, refused, marked wrongly, or out of order."""

# ruff: noqa: N802 -- tests are named after the defects of arq

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from arq.connections import RedisSettings
from arq.jobs import JobStatus

from jobs import Client, JobFailed, Retry, State, fixed, func, job
from jobs.keys import queue_keys
from jobs.store import queue as store
from tests.helpers.arq_app import (
    Ctx,
    add,
    burst,
    enqueued,
    named,
    running,
    until,
)
from tests.helpers.servers import ttls_of

KEYS = queue_keys("default")


# -- A7, A8: nothing is dropped ----------------------------------------------------------------


async def test_arq_A7_an_expired_retry_keeps_its_name_and_arguments(
    pool: Client, redis_settings: RedisSettings
) -> None:
    runs: list[int] = []

    async def later(ctx: Ctx, word: str) -> None:
        runs.append(ctx["job_try"])
        raise Retry(defer=1.05)

    job = await enqueued(pool, "later", "hello", _expires=1)
    await burst([named(later)], redis_settings)
    assert runs == [1]
    assert await job.state() is State.expired
    info = await job.info()
    assert info is not None
    assert (info.function, info.args) == ("later", ("hello",))
    assert (await pool.queue().retry([job.id])) == [State.expired]


async def test_arq_A7_a_job_deferred_beyond_a_day_is_kept_without_expiry(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async def tomorrow(ctx: Ctx) -> None:
        raise Retry(defer=timedelta(hours=25))

    job = await enqueued(pool, "tomorrow")
    async with running([named(tomorrow)], redis_settings):
        await until(job, JobStatus.deferred)
    expiring = {key: ttl for key, ttl in (await ttls_of(pool)).items() if ttl >= 0}
    assert expiring == {}


async def test_arq_A8_a_job_that_this_worker_does_not_know_is_kept_for_one_that_does(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async def newfn(ctx: Ctx, word: str) -> str:
        return word

    job = await enqueued(pool, "newfn", "kept")
    old = await burst([add], redis_settings)
    assert (old.jobs_complete, old.jobs_failed) == (0, 0)
    assert await job.state() is State.parked
    async with running([named(newfn)], redis_settings):
        assert await job.result(timeout=20) == "kept"


# -- A9, A10, A11: what runs again -------------------------------------------------------------


async def test_arq_A9_ordinary_errors_are_retried_where_it_was_asked_for(
    pool: Client, redis_settings: RedisSettings
) -> None:
    """Plain functions keep arq's rule; `func(retries=…)`, a backoff, or `@job` change it."""
    runs: list[str] = []

    @job("ours", attempts=3)
    async def ours(ctx: Ctx) -> None:
        runs.append("ours")
        raise ValueError("no")

    def failing(name: str) -> Callable[[Ctx], Any]:
        async def run(ctx: Ctx) -> None:
            runs.append(name)
            raise ValueError("no")

        return run

    functions = [
        func(failing("plain"), name="plain"),
        func(failing("asked"), name="asked", retries=True, backoff=fixed(0), max_tries=2),
        ours,
    ]
    for name in ("plain", "asked"):
        await pool.enqueue_job(name)
    await ours.options(client=pool, backoff=fixed(0)).enqueue()
    await burst(functions, redis_settings, max_tries=5)
    assert {name: runs.count(name) for name in set(runs)} == {"plain": 1, "asked": 2, "ours": 3}


async def test_arq_A10_timeouts_are_retried(pool: Client, redis_settings: RedisSettings) -> None:
    async def slow_once(ctx: Ctx) -> int:
        if ctx["job_try"] == 1:
            await asyncio.sleep(60)
        return int(ctx["job_try"])

    job = await enqueued(pool, "slow_once")
    await burst(
        [named(slow_once, backoff=fixed(0), retries=False)], redis_settings, job_timeout=0.05
    )
    assert await job.result() == 2


async def test_arq_A11_deploys_use_up_no_try(pool: Client, redis_settings: RedisSettings) -> None:
    tries: list[int] = []
    started = asyncio.Event()

    async def long(ctx: Ctx) -> str:
        tries.append(ctx["job_try"])
        started.set()
        if len(tries) < 5:
            await asyncio.sleep(60)
        return "done"

    job = await enqueued(pool, "long")
    for _ in range(4):
        started.clear()
        async with running([named(long)], redis_settings, max_tries=2):
            await asyncio.wait_for(started.wait(), 20)
    async with running([named(long)], redis_settings, max_tries=2):
        assert await job.result(timeout=20) == "done"
    assert tries == [1] * 5


# -- A12, A13: ids -----------------------------------------------------------------------------


async def test_arq_A12_a_kept_result_does_not_hold_the_id(
    pool: Client, redis_settings: RedisSettings
) -> None:
    await enqueued(pool, "add", 1, _job_id="same")
    await burst([add], redis_settings, keep_result=3600)
    again = await pool.enqueue_job("add", 2, _job_id="same")
    assert again is not None
    await burst([add], redis_settings)
    assert await again.result() == 3


async def test_arq_A13_ids_belong_to_a_queue(pool: Client, redis_settings: RedisSettings) -> None:
    jobs = [await enqueued(pool, "add", n, _job_id="q", _queue_name=f"q{n}") for n in range(2)]
    for n in range(2):
        await burst([add], redis_settings, queue_name=f"q{n}")
    assert [await job.result() for job in jobs] == [1, 2]


# -- A14, A15: results -------------------------------------------------------------------------


async def test_arq_A14_a_success_whose_result_cannot_be_stored_is_a_success(
    pool: Client, redis_settings: RedisSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async def returns_code(ctx: Ctx) -> Any:
        return lambda: 1

    job = await enqueued(pool, "returns_code")
    worker = await burst([named(returns_code)], redis_settings)
    assert worker.jobs_complete == 1
    info = await job.result_info()
    assert info is not None
    assert (info.success, info.result) == (True, None)
    assert "is not stored" in caplog.text


class Unreadable(Exception):
    """Pickles, but does not unpickle."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


async def test_arq_A15_every_error_can_be_read_back(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async def raises(ctx: Ctx) -> None:
        raise Unreadable("two", "arguments")

    job = await enqueued(pool, "raises")
    await burst([named(raises)], redis_settings)
    with pytest.raises(JobFailed) as caught:
        await job.result()
    assert (caught.value.kind, caught.value.message) == ("Unreadable", "two arguments")
    assert [result.success for result in await pool.all_job_results()] == [False]


# -- A16, A17: order and clocks ----------------------------------------------------------------


async def test_arq_A16_first_in_first_out_also_within_a_millisecond(
    pool: Client, redis_settings: RedisSettings
) -> None:
    order: list[int] = []

    async def notes(ctx: Ctx, n: int) -> None:
        order.append(n)

    for n in range(200):
        await pool.enqueue_job("notes", n)
    await burst([named(notes)], redis_settings, max_jobs=1)
    assert order == list(range(200))


async def test_arq_A17_a_producer_whose_clock_is_ahead_delays_nothing(
    pool: Client, redis_settings: RedisSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, real_ns = time.time, time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + 3600)
        patch.setattr(time, "time_ns", lambda: real_ns() + 3600 * 10**9)
        now = await enqueued(pool, "add", 1)
        soon = await enqueued(pool, "add", 2, _defer_by=0.05)
    async with running([add], redis_settings):
        assert [await job.result(timeout=20) for job in (now, soon)] == [2, 3]


async def test_arq_A11_a_claim_under_way_when_the_worker_stops_is_given_back(
    pool: Client, redis_settings: RedisSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has leased the job, and the worker stops before it reads the answer."""
    claimed, runs = asyncio.Event(), []
    step = store.step

    async def slow_answer(*args: Any, **kwargs: Any) -> store.Answer:
        answer = await step(*args, **kwargs)
        if answer.jobs and not claimed.is_set():
            claimed.set()
            await asyncio.sleep(60)
        return answer

    async def notes(ctx: Ctx) -> None:
        runs.append(ctx["job_id"])

    monkeypatch.setattr(store, "step", slow_answer)
    job = await enqueued(pool, "notes")
    async with running([named(notes)], redis_settings, lease=30):
        await asyncio.wait_for(claimed.wait(), 20)
    assert (runs, await job.status()) == ([], JobStatus.queued)
    assert (await job.details()).interruptions == 0, "it had not begun"
