"""arq-A: jobs that ran twice, were lost, or were marked wrongly."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from arq.connections import RedisSettings
from arq.jobs import JobStatus

from jobs import Client, Job, JobFailed, Retry, State, func, job
from jobs.keys import queue_keys
from jobs.store import queue as store
from tests.helpers.arq_app import ArqCommand, Ctx, burst, in_thread, make_worker, named, running
from tests.helpers.servers import ttls_of
from tests.helpers.waiting import wait_until

KEYS = queue_keys("default")


async def add(ctx: Ctx, a: int = 0, b: int = 1) -> int:
    return a + b


async def fails(ctx: Ctx) -> None:
    raise ValueError("no")


async def enqueued(pool: Client, *args: Any, **kwargs: Any) -> Job[Any]:
    made = await pool.enqueue_job(*args, **kwargs)
    assert made is not None
    return made


async def until(job: Job[Any], status: JobStatus, timeout: float = 5) -> None:
    async def reached() -> bool:
        return await job.status() is status

    await wait_until(reached, description=f"the job is {status}", timeout=timeout)


async def lose_the_lease(pool: Client, job_id: str) -> None:
    """What rescue does with a lease that it saw lapse."""
    deadline = await pool.zscore(KEYS.leases, job_id)
    assert deadline is not None
    taken = await store.rescue(
        pool, KEYS, [(job_id, int(deadline))], most_losses=9, keep=(-1, -1, -1), line=b"{}"
    )
    assert taken == {job_id: "waiting"}


# -- A1 to A6: claims --------------------------------------------------------------------------


async def test_arq_A1_a_job_that_blocks_its_loop_past_the_lease_runs_once(
    pool: Client, redis_settings: RedisSettings
) -> None:
    starts: list[str] = []

    async def blocks(ctx: Ctx) -> str:
        starts.append(ctx["job_id"])
        time.sleep(1.5)  # noqa: ASYNC251 -- the scenario: a job that never yields
        return "done"

    job = await enqueued(pool, "blocks")
    with in_thread(lambda: make_worker([named(blocks)], redis_settings, lease=0.3)):
        await wait_until(lambda: starts, description="the job has started")
        async with running([named(blocks)], redis_settings, lease=0.3):
            assert await job.result(timeout=10) == "done"
    assert len(starts) == 1


async def test_arq_A1_a_timed_out_job_that_cleans_up_past_the_lease_runs_once(
    pool: Client, redis_settings: RedisSettings
) -> None:
    notes: list[str] = []

    async def cleans_up(ctx: Ctx) -> None:
        notes.append("start")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.8)
            notes.append("cleaned up")
            raise

    job = await enqueued(pool, "cleans_up")
    options: dict[str, Any] = {"lease": 0.2, "job_timeout": 0.1, "max_tries": 1}
    async with (
        running([named(cleans_up)], redis_settings, **options),
        running([named(cleans_up)], redis_settings, **options),
    ):
        with pytest.raises(JobFailed, match="longer than its timeout"):
            await job.result(timeout=10)
    assert notes == ["start", "cleaned up"]


async def test_arq_A2_no_timeout_means_no_limit_and_one_run(
    pool: Client, redis_settings: RedisSettings
) -> None:
    starts: list[str] = []

    async def long(ctx: Ctx) -> str:
        starts.append(ctx["job_id"])
        await asyncio.sleep(0.8)
        return "done"

    job = await enqueued(pool, "long")
    functions = [named(long), func(add, timeout=5)]
    async with (
        running(functions, redis_settings, lease=0.2, job_timeout=None),
        running(functions, redis_settings, lease=0.2, job_timeout=None),
    ):
        assert await job.result(timeout=10) == "done"
    assert len(starts) == 1


async def test_arq_A3_a_late_finisher_touches_nothing_of_the_new_owner(
    pool: Client, redis_settings: RedisSettings, caplog: pytest.LogCaptureFixture
) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    starts: list[int] = []

    async def late(ctx: Ctx) -> str:
        turn = len(starts)
        starts.append(turn)
        while not gates[turn].is_set():
            try:
                await gates[turn].wait()
            except asyncio.CancelledError:  # deaf to the loss of its lease, as a thread is
                continue
        return f"turn {turn}"

    job = await enqueued(pool, "late", _job_id="z")
    async with running([named(late)], redis_settings, lease=30, max_jobs=1):
        await wait_until(lambda: len(starts) == 1, description="the first owner runs it")
        async with running([named(late)], redis_settings, lease=30, max_jobs=1):
            await lose_the_lease(pool, "z")
            await wait_until(lambda: len(starts) == 2, description="the second owner runs it")
            gates[0].set()
            await wait_until(lambda: "lease was lost" in caplog.text, description="refused")
            assert await job.status() is JobStatus.in_progress
            assert await pool.enqueue_job("late", _job_id="z") is None
            gates[1].set()
            assert await job.result(timeout=5) == "turn 1"


async def test_arq_A4_a_worker_that_picks_its_own_job_again_keeps_the_good_result(
    pool: Client, redis_settings: RedisSettings
) -> None:
    starts: list[int] = []
    ended: list[str] = []
    gate = asyncio.Event()

    async def twice(ctx: Ctx) -> str:
        turn = len(starts)
        starts.append(turn)
        try:
            await gate.wait()
        except asyncio.CancelledError:
            ended.append(f"turn {turn} stopped")
            raise
        return f"turn {turn}"

    job = await enqueued(pool, "twice", _job_id="y")
    async with running([named(twice)], redis_settings, lease=30):
        await wait_until(lambda: len(starts) == 1, description="it runs")
        await lose_the_lease(pool, "y")
        await wait_until(lambda: len(starts) == 2, description="the same worker runs it again")
        await wait_until(lambda: ended, description="the first run was told")
        gate.set()
        assert await job.result(timeout=5) == "turn 1"
    assert ended == ["turn 0 stopped"]
    assert len((await job.details()).history) == 2, "the loss, and one end"


async def test_arq_A5_A6_a_crashed_workers_job_is_back_after_a_lease_whatever_its_timeout(
    pool: Client, redis_settings: RedisSettings, arq_command: Callable[..., ArqCommand]
) -> None:
    async def slow(ctx: Ctx, seconds: float) -> str:
        return "rescued"

    command = arq_command(more=["job_timeout = 7200"])
    process = command.start()
    job = await enqueued(pool, "slow", 60)
    await until(job, JobStatus.in_progress, timeout=20)
    process.send_signal(signal.SIGKILL)
    await command.ended(process)
    hold = asyncio.Event()

    async def holds(ctx: Ctx) -> None:
        await hold.wait()

    busy = await enqueued(pool, "holds", _queue_name="default")
    functions = [named(slow), named(holds)]
    async with running(functions, redis_settings, max_jobs=1, job_timeout=7200):
        await until(busy, JobStatus.in_progress)
        await until(job, JobStatus.queued)
        hold.set()
        assert await job.result(timeout=5) == "rescued"
    assert (await job.details()).losses == 1


# -- A7, A8: nothing is dropped ----------------------------------------------------------------


async def test_arq_A7_an_expired_retry_keeps_its_name_and_arguments(
    pool: Client, redis_settings: RedisSettings
) -> None:
    runs: list[int] = []

    async def later(ctx: Ctx, word: str) -> None:
        runs.append(ctx["job_try"])
        raise Retry(defer=0.06)

    job = await enqueued(pool, "later", "hello", _expires=0.05)
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
        assert await job.result(timeout=5) == "kept"


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
        func(failing("asked"), name="asked", retries=True, max_tries=2),
        ours,
    ]
    for name in ("plain", "asked"):
        await pool.enqueue_job(name)
    from jobs import fixed

    await ours.options(client=pool, backoff=fixed(0)).enqueue()
    functions[1].backoff = fixed(0)  # type: ignore[union-attr]  # func made it
    await burst(functions, redis_settings, max_tries=5)
    assert {name: runs.count(name) for name in set(runs)} == {"plain": 1, "asked": 2, "ours": 3}


async def test_arq_A10_timeouts_are_retried(pool: Client, redis_settings: RedisSettings) -> None:
    async def slow_once(ctx: Ctx) -> int:
        if ctx["job_try"] == 1:
            await asyncio.sleep(60)
        return int(ctx["job_try"])

    from jobs import fixed

    job = await enqueued(pool, "slow_once")
    await burst([named(slow_once, backoff=fixed(0), retries=False)], redis_settings, job_timeout=0.05)
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
            await asyncio.wait_for(started.wait(), 5)
    async with running([named(long)], redis_settings, max_tries=2):
        assert await job.result(timeout=5) == "done"
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


class Unreadable(Exception):  # noqa: N818 -- the name in the table
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
        assert [await job.result(timeout=5) for job in (now, soon)] == [2, 3]
