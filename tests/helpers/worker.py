"""Workers inside the test's own loop, on a server that lives elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from jobs import RedisSettings, Worker
from tests.helpers.acting import Stage, act, act_in_thread
from tests.helpers.waiting import wait_until

#: Short, so that what a lease has to do with fits into a test; long enough for a slow machine.
LEASE_S = 1.0


def make_worker(url: str, functions: Any = (act, act_in_thread), **options: Any) -> Worker:
    """A worker for tests: short leases, no signals, no time to finish, a stage in its ctx."""
    settings = RedisSettings.from_dsn(url)
    quiet = {"handle_signals": False, "job_completion_wait": 0, "lease": LEASE_S}
    ctx = {"stage": Stage()}
    return Worker(functions, redis_settings=settings, **(quiet | {"ctx": ctx} | options))


@asynccontextmanager
async def running(
    url: str, functions: Any = (act, act_in_thread), **options: Any
) -> AsyncIterator[Worker]:
    """A worker that serves; it is stopped and closed after the block.

    What makes it end early fails the test.
    """
    worker = make_worker(url, functions, **options)
    task = asyncio.create_task(worker.async_run())
    try:
        await wait_until(
            lambda: task.done() or serves(worker), description="the worker serves its queues"
        )
        assert not task.done(), task.exception()
        yield worker
        assert not task.done() or worker._stopping.is_set(), f"the worker ended early: {task}"
    finally:
        await worker.close()
        await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled():
        task.result()


def serves(worker: Worker) -> bool:
    """Whether every queue of the worker has been looked at."""
    session = worker._session
    return session is not None and all(
        producer._request > 0 and producer._sent is None for producer in session.producers.values()
    )


def stage_of(worker: Worker) -> Stage:
    """Where the acts of this worker note what they do."""
    stage: Stage = worker.ctx["stage"]
    return stage
