"""A worker's life in arq's words: ctx, hooks and their order, run, async_run, run_check, close."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from arq.connections import RedisSettings
from arq.jobs import JobStatus
from arq.worker import FailedJobs

from jobs import Client, Job, JobFailed, Worker
from tests.helpers.arq_app import (
    Ctx,
    add,
    burst,
    enqueued,
    fails,
    make_worker,
    named,
    running,
    serving,
)

Hook = Callable[[Ctx], Awaitable[None]]


def noting(notes: list[str], name: str) -> Hook:
    async def hook(ctx: Ctx) -> None:
        notes.append(f"{name} {ctx.get('job_id', '')}".strip())

    return hook


# -- ctx ---------------------------------------------------------------------------------------


async def test_ctx_holds_arqs_keys(pool: Client, redis_settings: RedisSettings) -> None:
    seen: Ctx = {}

    async def looks(ctx: Ctx) -> None:
        seen.update(ctx)

    job = await enqueued(pool, "looks", _job_id="x")
    await burst([named(looks)], redis_settings, ctx={"mine": 1})
    assert seen.keys() == {"mine", "redis", "job_id", "job_try", "enqueue_time", "score"}
    assert (seen["mine"], seen["job_id"], seen["job_try"]) == (1, "x", 1)
    assert isinstance(seen["redis"], Client)
    assert seen["enqueue_time"].tzinfo is not None
    assert abs((datetime.now(UTC) - seen["enqueue_time"]).total_seconds()) < 30
    info = await job.info()
    assert info is not None
    assert seen["enqueue_time"] == info.enqueue_time
    assert seen["score"] == round(info.enqueue_time.timestamp() * 1000)


async def test_the_score_of_a_deferred_job_is_the_time_it_was_due(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async def scores(ctx: Ctx) -> list[float]:
        return [ctx["score"], ctx["enqueue_time"].timestamp() * 1000]

    job = await enqueued(pool, "scores", _defer_by=0.1)
    async with running([named(scores)], redis_settings):
        score, enqueue_ms = await job.result(timeout=20)
    assert score - enqueue_ms == pytest.approx(100, abs=1)


async def test_each_job_has_a_copy_of_ctx_and_they_share_what_is_in_it(
    pool: Client, redis_settings: RedisSettings
) -> None:
    shared: list[str] = []

    async def scribbles(ctx: Ctx) -> bool:
        ctx["shared"].append(ctx["job_id"])
        found = "scribble" in ctx
        ctx["scribble"] = ctx["job_id"]
        return found

    jobs = [await enqueued(pool, "scribbles", _job_id=name) for name in ("a", "b")]
    worker = await burst([named(scribbles)], redis_settings, ctx={"shared": shared}, max_jobs=1)
    assert [await job.result() for job in jobs] == [False, False]
    assert shared == ["a", "b"]
    assert "scribble" not in worker.ctx
    assert "job_id" not in worker.ctx


async def test_what_on_startup_puts_into_ctx_reaches_jobs_and_on_shutdown(
    pool: Client, redis_settings: RedisSettings
) -> None:
    closed: list[str] = []

    async def startup(ctx: Ctx) -> None:
        ctx["connection"] = "open"
        await ctx["redis"].enqueue_job("uses")

    async def shutdown(ctx: Ctx) -> None:
        closed.append(ctx["connection"])
        assert await ctx["redis"].ping()

    async def uses(ctx: Ctx) -> None:
        closed.append("used " + ctx["connection"])

    await burst([named(uses)], redis_settings, on_startup=startup, on_shutdown=shutdown)
    assert closed == ["used open", "open"]


async def test_a_job_enqueues_another_through_ctx(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async def first(ctx: Ctx) -> None:
        await ctx["redis"].enqueue_job("add", 1, _job_id="second")

    await pool.enqueue_job("first")
    await burst([named(first), add], redis_settings)
    assert await Job("second", pool).result() == 2


# -- hooks -------------------------------------------------------------------------------------


async def test_hooks_run_in_arqs_order(pool: Client, redis_settings: RedisSettings) -> None:
    notes: list[str] = []
    names = ("on_startup", "on_shutdown", "on_job_start", "on_job_end", "after_job_end")
    await enqueued(pool, "job", _job_id="x")
    job = named(noting(notes, "job"))
    job.name = "job"
    await burst([job], redis_settings, **{name: noting(notes, name) for name in names})
    assert notes == [
        "on_startup",
        "on_job_start x",
        "job x",
        "on_job_end x",
        "after_job_end x",
        "on_shutdown",
    ]


async def test_the_result_is_there_for_after_job_end_and_not_yet_for_on_job_end(
    pool: Client, redis_settings: RedisSettings
) -> None:
    seen: list[JobStatus] = []

    async def look(ctx: Ctx) -> None:
        seen.append(await Job(ctx["job_id"], ctx["redis"]).status())

    await enqueued(pool, "add")
    await burst([add], redis_settings, on_job_end=look, after_job_end=look)
    assert seen == [JobStatus.in_progress, JobStatus.complete]


async def test_job_hooks_and_the_job_share_one_ctx(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async def start(ctx: Ctx) -> None:
        ctx["session"] = "made for " + ctx["job_id"]

    async def reads(ctx: Ctx) -> str:
        return str(ctx["session"])

    job = await enqueued(pool, "reads", _job_id="x")
    await burst([named(reads)], redis_settings, on_job_start=start)
    assert await job.result() == "made for x"


async def test_job_hooks_run_for_a_job_that_fails(
    pool: Client, redis_settings: RedisSettings
) -> None:
    notes: list[str] = []
    await enqueued(pool, "fails", _job_id="x")
    hooks = {name: noting(notes, name) for name in ("on_job_end", "after_job_end")}
    await burst([fails], redis_settings, **hooks)
    assert notes == ["on_job_end x", "after_job_end x"]


# -- run_check, counters -----------------------------------------------------------------------


async def test_run_check_counts_completed_jobs(pool: Client, redis_settings: RedisSettings) -> None:
    for n in range(3):
        await pool.enqueue_job("add", n)
    worker = make_worker([add], redis_settings, burst=True)
    assert await worker.run_check() == 3
    await worker.close()
    assert repr(worker) == "<Worker j_complete=3 j_failed=0 j_retried=0 j_ongoing=0>"


async def test_run_check_raises_failed_jobs(pool: Client, redis_settings: RedisSettings) -> None:
    await pool.enqueue_job("add")
    await pool.enqueue_job("fails")
    worker = make_worker([add, fails], redis_settings, burst=True)
    with pytest.raises(FailedJobs) as caught:
        await worker.run_check(retry_jobs=False, max_burst_jobs=5)
    await worker.close()
    assert caught.value.count == 1
    (result,) = caught.value.job_results
    assert isinstance(result.result, JobFailed)
    assert "ValueError: no" in str(caught.value)


async def test_run_check_takes_its_own_limit(pool: Client, redis_settings: RedisSettings) -> None:
    for n in range(3):
        await pool.enqueue_job("add", n)
    worker = make_worker([add], redis_settings, burst=True)
    assert await worker.run_check(max_burst_jobs=1) == 1
    await worker.close()


# -- run, async_run, close ---------------------------------------------------------------------


def run_in_a_thread(make: Callable[[], Worker]) -> Worker:
    """`run()` owns its loop, as in a process of its own."""
    made: list[Worker] = []

    def main() -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        made.append(make())
        made[0].run()
        loop.close()

    thread = threading.Thread(target=main)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    return made[0]


async def test_run_runs_and_closes(pool: Client, redis_settings: RedisSettings) -> None:
    notes: list[str] = []
    job = await enqueued(pool, "add", 1)
    worker = await asyncio.to_thread(
        run_in_a_thread,
        lambda: make_worker(
            [add], redis_settings, burst=True, on_shutdown=noting(notes, "shutdown")
        ),
    )
    assert await job.result() == 2
    assert notes == ["shutdown"]
    assert worker._pool is None


def test_run_that_cannot_start_says_why_and_exits_with_1(caplog: pytest.LogCaptureFixture) -> None:
    settings = RedisSettings(port=1, conn_retries=0)
    codes: list[object] = []

    def main() -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            make_worker([add], settings).run()
        except SystemExit as error:
            codes.append(error.code)
        loop.close()

    thread = threading.Thread(target=main)
    thread.start()
    thread.join(20)
    assert codes == [1]
    assert "no server answers at localhost:1" in caplog.text


async def test_async_run_leaves_the_connections_open_until_close(
    pool: Client, redis_settings: RedisSettings
) -> None:
    notes: list[str] = []
    worker = make_worker([add], redis_settings, burst=True, on_shutdown=noting(notes, "shutdown"))
    await worker.async_run()
    assert await worker.pool.ping()
    assert notes == []
    await worker.close()
    await worker.close()
    assert notes == ["shutdown"]


async def test_close_stops_a_worker_that_runs(pool: Client, redis_settings: RedisSettings) -> None:
    worker = make_worker([add], redis_settings)
    task = asyncio.create_task(worker.async_run())
    job = await enqueued(pool, "add", 1)
    assert await job.result(timeout=20) == 2
    await worker.close()
    await asyncio.wait_for(task, 20)


async def test_close_of_a_worker_that_never_ran(redis_settings: RedisSettings) -> None:
    notes: list[str] = []
    await make_worker([add], redis_settings, on_shutdown=noting(notes, "shutdown")).close()
    assert notes == []


async def test_close_and_async_run_again_serves_again(
    pool: Client, redis_settings: RedisSettings
) -> None:
    notes: list[str] = []
    worker = make_worker(
        [add],
        redis_settings,
        on_startup=noting(notes, "startup"),
        on_shutdown=noting(notes, "shutdown"),
    )
    for n in range(3):
        async with serving(worker):
            job = await enqueued(pool, "add", n)
            assert await job.result(timeout=20) == n + 1
    assert notes == ["startup", "shutdown"] * 3
    assert worker.jobs_complete == 3


async def test_arqs_counters_can_be_read_and_reset(
    pool: Client, redis_settings: RedisSettings
) -> None:
    await pool.enqueue_job("fails")
    worker = await burst([fails], redis_settings)
    assert (worker.jobs_complete, worker.jobs_failed, worker.jobs_retried) == (0, 1, 0)
    worker.jobs_failed = 0
    assert worker.jobs_failed == 0


async def test_close_runs_on_shutdown_once_also_with_a_given_pool(pool: Client) -> None:
    notes: list[str] = []
    hook = noting(notes, "shutdown")
    worker = make_worker([add], None, redis_pool=pool, burst=True, on_shutdown=hook)
    await worker.async_run()
    await worker.close()
    await worker.close()
    assert notes == ["shutdown"]
