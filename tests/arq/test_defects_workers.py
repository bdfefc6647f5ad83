"""arq-B: workers that stopped or starved."""

# ruff: noqa: N802 -- tests are named after the defects of arq

from __future__ import annotations

import asyncio
import sys

import pytest
from arq.connections import RedisSettings
from arq.jobs import JobStatus

import jobs
from jobs import Client, JobFailed, Retry, State, create_pool, func
from tests.helpers.arq_app import (
    Ctx,
    add,
    burst,
    enqueued,
    fails,
    named,
    running,
    until,
)
from tests.helpers.servers import MakeServer
from tests.helpers.waiting import wait_until


async def test_arq_B1_keep_result_forever_outlives_every_kind_of_failed_job(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async def retries(ctx: Ctx) -> None:
        raise Retry(defer=0)

    unknown, expired = await enqueued(pool, "unknown"), await enqueued(pool, "add", _expires=0.001)
    failed, tired = await enqueued(pool, "fails"), await enqueued(pool, "retries")
    await asyncio.sleep(0.005)
    functions = [add, fails, named(retries)]
    async with running(functions, redis_settings, keep_result_forever=True, max_tries=2):
        for job in (failed, tired, expired):
            with pytest.raises(JobFailed):
                await job.result(timeout=20)
        good = await enqueued(pool, "add", 1)
        assert await good.result(timeout=20) == 2
    assert await unknown.state() is State.parked


@pytest.mark.parametrize("hook", ["on_job_start", "on_job_end", "after_job_end"])
async def test_arq_B2_a_hook_that_raises_ends_no_worker_and_repeats_no_job(
    pool: Client, redis_settings: RedisSettings, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    runs: list[str] = []

    async def once(ctx: Ctx) -> str:
        runs.append(ctx["job_id"])
        return "done"

    async def broken(ctx: Ctx) -> None:
        raise RuntimeError("a broken hook")

    first, second = await enqueued(pool, "once"), await enqueued(pool, "once")
    worker = await burst([named(once)], redis_settings, **{hook: broken})
    assert [await job.result() for job in (first, second)] == ["done", "done"]
    assert (len(runs), worker.jobs_complete) == (2, 2)
    assert "a broken hook" in caplog.text


async def test_arq_B3_an_idle_worker_outlives_a_restart_of_the_server(
    make_server: MakeServer,
) -> None:
    server = make_server()
    settings = RedisSettings.from_dsn(server.url)
    pool = await create_pool(settings)
    ended: list[str] = []

    async def shutdown(ctx: Ctx) -> None:
        ended.append("shutdown")

    async with running([add], settings, on_shutdown=shutdown):
        await until(await enqueued(pool, "add"), JobStatus.complete)
        await asyncio.to_thread(server.restart)
        job = await enqueued(pool, "add", 1)
        assert await job.result(timeout=10) == 2
    assert ended == ["shutdown"]
    await pool.aclose()


async def test_arq_B3_a_worker_closes_in_order_while_the_server_is_away(
    make_server: MakeServer,
) -> None:
    server = make_server()
    settings = RedisSettings.from_dsn(server.url)
    ended: list[str] = []

    async def shutdown(ctx: Ctx) -> None:
        ended.append("shutdown")

    async with running([add], settings, on_shutdown=shutdown):
        server.kill()
    assert ended == ["shutdown"]


async def test_arq_B4_a_frozen_server_is_noticed_and_said(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server()
    settings = jobs.RedisSettings.from_dsn(f"{server.url}?socket_timeout=0.3")
    pool = await create_pool(settings)
    async with running([add], settings, lease=10):
        await until(await enqueued(pool, "add"), JobStatus.complete)
        server.pause()
        await wait_until(lambda: "trying again" in caplog.text, description="it is said")
        server.resume()
        job = await enqueued(pool, "add", 1, _job_id="after")
        assert await job.result(timeout=10) == 2
    await pool.aclose()


async def test_arq_B4_an_idle_worker_with_a_short_socket_timeout_sees_no_trouble(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Waiting for work is no silence of the server."""
    settings = jobs.RedisSettings.from_dsn(f"{redis_url}?socket_timeout=0.6")
    async with running([add], settings, lease=10):
        await asyncio.sleep(1)
    assert "trying again" not in caplog.text


async def test_arq_B5_sys_exit_in_a_job_fails_the_job_and_nothing_else(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async def exits(ctx: Ctx) -> None:
        sys.exit(3)

    bad, good = await enqueued(pool, "exits"), await enqueued(pool, "add", 1)
    worker = await burst([named(exits), add], redis_settings, max_jobs=1)
    assert await good.result() == 2
    with pytest.raises(JobFailed, match="SystemExit: 3"):
        await bad.result()
    assert (worker.jobs_complete, worker.jobs_failed) == (1, 1)


async def test_arq_B6_a_short_job_behind_a_hundred_running_ones_is_run_by_an_idle_worker(
    pool: Client, redis_settings: RedisSettings
) -> None:
    gate = asyncio.Event()

    async def gated(ctx: Ctx) -> None:
        await gate.wait()

    for _ in range(100):
        await pool.enqueue_job("gated")
    async with running([named(gated)], redis_settings, max_jobs=100) as busy:
        await wait_until(
            lambda: "j_ongoing=100" in repr(busy), description="100 jobs are in progress"
        )
        async with running([add], redis_settings, queue_read_limit=100):
            short = await enqueued(pool, "add", 1)
            assert await short.result(timeout=20) == 2
        gate.set()


async def test_arq_B7_a_freed_slot_takes_the_next_job_at_once(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async def short(ctx: Ctx) -> None:
        await asyncio.sleep(0.02)

    for _ in range(100):
        await pool.enqueue_job("short")
    loop = asyncio.get_running_loop()
    before = loop.time()
    worker = await burst([named(short)], redis_settings, max_jobs=10, poll_delay=0.5)
    assert worker.jobs_complete == 100
    assert loop.time() - before < 4, "0.2 s of work; arq needed a poll of 0.5 s for every ten"


async def test_arq_B8_a_burst_does_not_wait_for_what_is_deferred_or_runs_elsewhere(
    pool: Client, redis_settings: RedisSettings
) -> None:
    gate = asyncio.Event()

    async def gated(ctx: Ctx) -> None:
        await gate.wait()

    elsewhere = await enqueued(pool, "gated")
    deferred = await enqueued(pool, "add", _defer_by=3600)
    async with running([named(gated)], redis_settings, max_jobs=1):
        await until(elsewhere, JobStatus.in_progress)
        job = await enqueued(pool, "add", 1)
        await asyncio.wait_for(burst([add], redis_settings), 20)
        assert await job.result() == 2
        assert await deferred.status() is JobStatus.deferred
        assert await elsewhere.status() is JobStatus.in_progress
        gate.set()


async def test_arq_B9_a_job_costs_few_round_trips(
    pool: Client, redis_settings: RedisSettings
) -> None:
    """Commands from outside, by the server's own count; arq: 6 to enqueue and 17 to run one."""
    calls = (await _calls(pool), 0)
    for n in range(100):
        await pool.enqueue_job("add", n)
    calls = (await _calls(pool) - calls[0], await _calls(pool))
    await burst([add], redis_settings, max_jobs=100)
    ran = await _calls(pool) - calls[1]
    assert calls[0] <= 105, "one to enqueue a job"
    assert ran <= 50, "far less than one to run a job among many"


async def _calls(pool: Client) -> int:
    """Commands that came over connections: those inside of scripts are not among them."""
    outside = {"evalsha", "eval", "blpop", "sadd", "smembers", "publish", "subscribe", "psetex"}
    stats = await pool.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in outside)


async def test_arq_B10_retry_without_defer_backs_off(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async def retries(ctx: Ctx) -> None:
        raise Retry

    job = await enqueued(pool, "retries")
    async with running([named(retries)], redis_settings):
        await until(job, JobStatus.deferred)
        details = await job.details()
    assert details.due_at is not None
    (first,) = details.history
    assert details.due_at.timestamp() * 1000 - first["at"] > 1900, "2 s, then 4, 8 …"


async def test_arq_B10_retry_without_defer_takes_the_functions_backoff(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async def retries(ctx: Ctx) -> int:
        if ctx["job_try"] < 3:
            raise Retry
        return int(ctx["job_try"])

    job = await enqueued(pool, "retries")
    function = func(retries, name="retries", backoff=jobs.fixed("5ms"), retries=False)
    await burst([function], redis_settings)
    assert await job.result() == 3
