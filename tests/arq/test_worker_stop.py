"""How a worker is stopped: by a signal, by code, before it has begun, and when its start fails."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

import pytest
from arq.connections import RedisSettings
from arq.jobs import JobStatus

from jobs import Client
from tests.helpers.arq_app import Ctx, add, enqueued, make_worker, running, waits
from tests.helpers.waiting import wait_until

Hook = Callable[[Ctx], Awaitable[None]]


def noting(notes: list[str], name: str) -> Hook:
    async def hook(ctx: Ctx) -> None:
        notes.append(f"{name} {ctx.get('job_id', '')}".strip())

    return hook


async def test_handle_sig_of_a_running_worker_stops_it_at_once(
    pool: Client, redis_settings: RedisSettings
) -> None:
    """arq's own way to be stopped from code, and what `--watch` calls."""
    job = await enqueued(pool, "waits")
    async with running([waits], redis_settings, job_completion_wait=60) as worker:

        async def runs() -> bool:
            return await job.status() is JobStatus.in_progress

        await wait_until(runs, description="the job runs")
        worker.handle_sig(signal.SIGUSR1)
        assert worker.main_task is not None
        await asyncio.wait_for(asyncio.shield(worker.main_task), 20)
    assert await job.status() is JobStatus.queued


async def test_a_signal_during_on_startup_stops_in_order(redis_settings: RedisSettings) -> None:
    notes: list[str] = []
    starting = asyncio.Event()

    async def slow_startup(ctx: Ctx) -> None:
        starting.set()
        await asyncio.sleep(0.05)
        notes.append("startup")

    worker = make_worker(
        [add],
        redis_settings,
        handle_signals=True,
        on_startup=slow_startup,
        on_shutdown=noting(notes, "shutdown"),
    )
    task = asyncio.create_task(worker.async_run())
    await asyncio.wait_for(starting.wait(), 20)
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(task, 20)
    await worker.close()
    assert notes[-1] == "shutdown"


@pytest.mark.parametrize("steps", range(4))
async def test_a_stop_in_the_first_steps_of_async_run_is_not_forgotten(
    redis_settings: RedisSettings, steps: int
) -> None:
    worker = make_worker([add], redis_settings)
    task = asyncio.create_task(worker.async_run())
    for _ in range(steps):
        await asyncio.sleep(0)
    worker.stop()
    await asyncio.wait_for(task, 20)
    await worker.close()


async def test_a_worker_whose_startup_fails_gives_the_signals_back(
    redis_settings: RedisSettings,
) -> None:
    async def broken(ctx: Ctx) -> None:
        raise RuntimeError("no database")

    before = signal.getsignal(signal.SIGTERM)
    notes: list[str] = []
    hooks = {"on_startup": broken, "on_shutdown": noting(notes, "shutdown")}
    worker = make_worker([add], redis_settings, handle_signals=True, **hooks)
    with pytest.raises(RuntimeError, match="no database"):
        await worker.async_run()
    assert signal.getsignal(signal.SIGTERM) == before
    await worker.close()
    assert notes == ["shutdown"], "as in arq: it may have to clean up half a start"
