"""The measured faults arq-a to arq-i: what the server or the machine does to a worker."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from arq.connections import RedisSettings
from arq.jobs import JobStatus

from jobs import Client, Job, ServerError, create_pool
from jobs.codec import encode_body
from jobs.keys import queue_keys
from jobs.store import queue as store
from tests.helpers.arq_app import ArqCommand, Ctx, add, burst, enqueued, named, running, serving
from tests.helpers.servers import MakeServer, Server
from tests.helpers.waiting import wait_until

DAY_MS = 24 * 3600 * 1000
HEALTH_KEY = "arq:queue:health-check"


@asynccontextmanager
async def pool_of(server: Server) -> AsyncIterator[Client]:
    pool = await create_pool(RedisSettings.from_dsn(server.url))
    try:
        yield pool
    finally:
        await pool.aclose()


async def test_arq_a_a_server_that_is_killed_and_comes_back_ends_no_worker_and_loses_no_job(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(tmp_path, persistent=True, config={"appendfsync": "always"})
    release, ran = asyncio.Event(), []

    async def gated(ctx: Ctx, n: int) -> int:
        ran.append(n)
        await release.wait()
        return n

    async with pool_of(server) as pool:
        jobs = [await enqueued(pool, "gated", n) for n in range(10)]
        settings = RedisSettings.from_dsn(server.url)
        async with running([named(gated)], settings, max_jobs=5, lease=5):
            await wait_until(lambda: len(ran) == 5, description="five jobs run")
            server.kill()
            release.set()
            await asyncio.to_thread(server.start)
            assert [await job.result(timeout=10) for job in jobs] == list(range(10))
    assert sorted(ran) == list(range(10)), "each job ran once"


async def test_arq_b_a_read_only_server_is_said_and_waited_out(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server()
    async with pool_of(server) as pool:
        jobs = [await enqueued(pool, "add", n, _defer_by=0.3) for n in range(5)]
        async with running([add], RedisSettings.from_dsn(server.url)):
            await _replicate(pool, "127.0.0.1", "1")
            await wait_until(lambda: "trying again" in caplog.text, description="it is said")
            with pytest.raises(ServerError):
                await pool.enqueue_job("add")
            await _replicate(pool, "NO", "ONE")
            assert [await job.result(timeout=10) for job in jobs] == [1, 2, 3, 4, 5]
    assert "is back after" in caplog.text


async def _replicate(pool: Any, *of: str) -> None:
    """`pool` is Any: redis-py gives this command no types."""
    await pool.execute_command("REPLICAOF", *of)


async def test_arq_c_jobs_in_progress_elsewhere_do_not_stand_in_the_way(
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
        fresh = [await enqueued(pool, "add", n, _queue_name="default") for n in range(50)]
        async with running([named(gated), add], redis_settings, max_jobs=5):
            results = [await job.result(timeout=10) for job in fresh]
        gate.set()
    assert results == [n + 1 for n in range(50)]


async def test_arq_d_a_backlog_of_any_age_is_run(
    pool: Client, redis_settings: RedisSettings
) -> None:
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    ids = [f"old-{n}" for n in range(30)]
    entries = [store.Entry(i, encode_body(i, "add", [n], {}), 3) for n, i in enumerate(ids)]
    await store.enqueue(
        pool, queue_keys("default"), entries, again=False, now_ms=now_ms - 30 * DAY_MS
    )
    worker = await burst([add], redis_settings, expires_extra_ms=DAY_MS)
    assert (worker.jobs_complete, worker.jobs_failed) == (30, 0)
    assert [await Job(i, pool).result() for i in ids] == [n + 1 for n in range(30)]


async def test_arq_e_the_end_of_a_worker_that_was_stopped_too_long_is_refused(
    pool: Client, redis_settings: RedisSettings, arq_command: Callable[..., ArqCommand]
) -> None:
    """SIGSTOP past the lease, then SIGCONT: two starts, one end, and that of the new owner."""
    starts: list[int] = []

    async def slow(ctx: Ctx, seconds: float) -> str:
        starts.append(ctx.token)  # type: ignore[attr-defined]  # ctx is a Context
        return "the new owner's"

    command = arq_command()
    process = command.start()
    job = await enqueued(pool, "slow", 0.8)
    await wait_until(lambda: pool.exists("notes"), description="it started", timeout=20)

    async def runs() -> bool:
        return await job.status() is JobStatus.in_progress

    await wait_until(runs, description="the job runs")
    process.send_signal(signal.SIGSTOP)
    async with running([named(slow)], redis_settings):
        assert await job.result(timeout=10) == "the new owner's"
    process.send_signal(signal.SIGCONT)
    await wait_until(
        lambda: "its lease was lost" in command.log.read_text(),
        description="the stale end is refused",
        timeout=20,
    )
    assert await command.terminate(process) == 0
    assert await job.result() == "the new owner's"
    assert starts == [2], "the token tells the second owner from the first"


async def test_arq_f_a_full_server_ends_no_worker(
    make_server: MakeServer,
) -> None:
    server = make_server()
    settings = RedisSettings.from_dsn(server.url)
    async with pool_of(server) as pool, running([add], settings) as worker:
        jobs = [await enqueued(pool, "add", n, _defer_by=0.2) for n in range(5)]
        await pool.config_set("maxmemory", "1mb")
        with pytest.raises(ServerError, match="takes no more data"):
            await pool.enqueue_job("add")
        results = [await job.result(timeout=10) for job in jobs]
        await pool.config_set("maxmemory", "0")
        more = await enqueued(pool, "add", 9)
        assert await more.result(timeout=10) == 10
    assert results == [1, 2, 3, 4, 5], "what is in the queue is run while nothing more fits in"
    assert worker.jobs_complete == 6


@pytest.mark.parametrize("year", [1970, 1969])
async def test_arq_g_a_job_due_at_the_epoch_runs(
    pool: Client, redis_settings: RedisSettings, year: int
) -> None:
    job = await enqueued(pool, "add", 1, _defer_until=datetime(year, 1, 1, tzinfo=UTC), _expires=60)
    assert await job.status() is JobStatus.queued
    await burst([add], redis_settings)
    assert await job.result() == 2


async def test_arq_h_a_defer_until_long_ago_means_now(
    pool: Client, redis_settings: RedisSettings
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=3)
    job = await enqueued(pool, "add", 1, _defer_until=long_ago)
    assert await job.status() is JobStatus.queued
    await burst([add], redis_settings)
    assert await job.result() == 2


async def test_arq_i_the_health_key_comes_back_after_close_and_async_run(
    pool: Client, redis_settings: RedisSettings
) -> None:
    async with running([add], redis_settings, health_check_interval=3600) as worker:
        await wait_until(lambda: pool.exists(HEALTH_KEY), description="the key is written")
    assert await pool.exists(HEALTH_KEY) == 0
    async with serving(worker):
        await wait_until(lambda: pool.exists(HEALTH_KEY), description="the key is back")
