"""arq-A1 to A6: claims that lapsed, were deleted by others, or outlived their workers."""

# ruff: noqa: N802 -- tests are named after the defects of arq

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from arq.connections import RedisSettings
from arq.jobs import JobStatus

from jobs import Client, JobFailed, func
from jobs.keys import queue_keys
from jobs.store import queue as store
from tests.helpers.arq_app import (
    ArqCommand,
    Ctx,
    add,
    enqueued,
    in_thread,
    make_worker,
    named,
    running,
    until,
)
from tests.helpers.waiting import wait_until

KEYS = queue_keys("default")


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


async def test_arq_A1_a_loop_blocked_past_the_jobs_timeout_lets_go_and_its_late_end_is_refused(
    pool: Client, redis_settings: RedisSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing in its own process can stop such a job; so another worker gets it, with a token."""
    starts: list[str] = []

    async def blocks(ctx: Ctx) -> str:
        starts.append(ctx["job_id"])
        if len(starts) == 1:
            time.sleep(2.5)  # noqa: ASYNC251 -- the scenario: a job that never yields
            return "late"
        return "in time"

    job = await enqueued(pool, "blocks")
    options: dict[str, Any] = {"lease": 0.3, "job_timeout": 0.1}
    with in_thread(lambda: make_worker([named(blocks)], redis_settings, **options)):
        await wait_until(lambda: starts, description="the job has started")
        async with running([named(blocks)], redis_settings, **options):
            assert await job.result(timeout=10) == "in time"
            await wait_until(lambda: "lease was lost" in caplog.text, description="refused")
    assert await job.result() == "in time"
    assert len(starts) == 2


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
    try:
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
                assert await job.result(timeout=20) == "turn 1"
    finally:  # a deaf job outlives even a test that fails
        for gate in gates:
            gate.set()


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
        assert await job.result(timeout=20) == "turn 1"
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
        assert await job.result(timeout=20) == "rescued"
    assert (await job.details()).losses == 1
