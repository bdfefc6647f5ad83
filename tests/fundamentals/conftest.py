"""The manual as tests: every chapter speaks to a real server through the public names only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from jobs import Client, RedisSettings, Worker, registry

Work = Callable[..., Awaitable[Worker]]


@pytest.fixture(autouse=True)
def _own_functions() -> Iterator[None]:
    """What a chapter declares with `@job` is forgotten after it."""
    before = dict(registry.functions)
    yield
    registry.functions.clear()
    registry.functions.update(before)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Client]:
    """A client of the emptied server, closed after the test."""
    async with Client.connect(redis_url) as client:
        yield client


@pytest.fixture
async def work(redis_url: str) -> AsyncIterator[Work]:
    """Starts workers, given functions and options of `Worker`; they end with the test."""
    started: list[tuple[Worker, asyncio.Task[None]]] = []

    async def start(*functions: Any, **options: Any) -> Worker:
        settings = RedisSettings.from_dsn(redis_url)
        quiet = {"handle_signals": False, "job_completion_wait": 0}
        worker = Worker(functions, redis_settings=settings, **(quiet | options))
        started.append((worker, asyncio.create_task(worker.async_run())))
        return worker

    yield start
    for worker, task in started:
        await worker.close()
        await task
