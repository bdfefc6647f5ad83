"""A worker inside an asyncio application: it takes nothing over, and gives everything back."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs import Client, Context, Queue, RedisSettings, Worker, job
from tests.helpers.waiting import wait_until


@job("embedded_double", queue="embedded")
async def double(ctx: Context, number: int) -> int:
    return 2 * number


@job("embedded_endless", queue="embedded")
async def endless(ctx: Context) -> None:
    await asyncio.Event().wait()


@job("embedded_thread", queue="embedded")
def in_a_thread(ctx: Context) -> str:
    return threading.current_thread().name


FUNCTIONS = [double, endless, in_a_thread]


@asynccontextmanager
async def running(url: str, **options: Any) -> AsyncIterator[Worker]:
    """A worker in a task of this loop, as a web application has it."""
    options = {"handle_signals": False, "job_completion_wait": 0, **options}
    worker = Worker(functions=FUNCTIONS, redis_settings=RedisSettings.from_dsn(url), **options)
    task = asyncio.create_task(worker.async_run())
    try:
        yield worker
    finally:
        worker.stop()
        await task
        await worker.close()


async def names(redis: Redis) -> int:
    return len(await redis.client_list())


async def test_it_works_and_leaves_no_connection(redis_url: str, redis_client: Redis) -> None:
    before = await names(redis_client)
    async with Client.connect(redis_url) as client, running(redis_url):
        assert await (await double.options(client=client).enqueue(21)).result(timeout=20) == 42
        name = await (await in_a_thread.options(client=client).enqueue()).result(timeout=20)
        assert name.startswith("jobs-function")

    async def back() -> bool:
        return await names(redis_client) == before

    await wait_until(back, description="the connections are gone")


async def test_what_runs_at_the_stop_waits_again(redis_url: str, redis_client: Redis) -> None:
    async with Client.connect(redis_url) as client:
        await endless.options(id="e1", client=client).enqueue()
        async with running(redis_url):
            await wait_until(
                lambda: redis_client.zcard("jobs:{embedded}:leases"), description="it runs"
            )
        assert await redis_client.zcard("jobs:{embedded}:ready") == 1
        assert (await client.job_info("embedded", "e1")).interruptions == 1


async def test_signals_stay_the_applications(redis_url: str) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with running(redis_url) as worker:
        await wait_until(lambda: worker.ctx.get("redis"), description="it runs")
        during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert during == before


async def test_borrowed_signal_handlers_are_given_back(redis_url: str) -> None:
    def own(number: int, frame: object) -> None:
        raise AssertionError("this signal was the worker's")

    before = signal.signal(signal.SIGTERM, own)
    try:
        async with running(redis_url, handle_signals=True) as worker:
            await wait_until(
                lambda: signal.getsignal(signal.SIGTERM) is not own, description="it is borrowed"
            )
            signal.raise_signal(signal.SIGTERM)
            await wait_until(
                lambda: signal.getsignal(signal.SIGTERM) is own, description="it is given back"
            )
            assert worker.main_task is not None
            await worker.main_task
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_two_workers_share_a_loop(redis_url: str) -> None:
    async with Client.connect(redis_url) as client, running(redis_url), running(redis_url):
        made = [await double.options(client=client).enqueue(n) for n in range(20)]
        assert [await one.result(timeout=20) for one in made] == [2 * n for n in range(20)]


async def test_a_given_pool_stays_open(redis_url: str) -> None:
    async with Client.connect(redis_url) as client:
        async with running(redis_url, redis_pool=client):
            assert await (await double.options(client=client).enqueue(1)).result(timeout=20) == 2
        assert await client.ping()


async def test_a_cancelled_worker_releases_its_jobs(redis_url: str, redis_client: Redis) -> None:
    """An application that ends by cancelling its tasks ends its worker in order, too."""
    async with Client.connect(redis_url) as client:
        await endless.options(client=client).enqueue()
        settings = RedisSettings.from_dsn(redis_url)
        worker = Worker(functions=FUNCTIONS, redis_settings=settings, handle_signals=False)
        task = asyncio.create_task(worker.async_run())
        await wait_until(
            lambda: redis_client.zcard("jobs:{embedded}:leases"), description="it runs"
        )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await worker.close()
        assert await redis_client.zcard("jobs:{embedded}:ready") == 1


async def test_queues_come_from_functions_and_from_the_list(redis_url: str) -> None:
    served = [Queue("other")]
    async with Client.connect(redis_url) as client, running(redis_url, queues=served) as worker:
        assert sorted(worker.queues) == ["embedded", "other"]
        made = await double.options(queue="other", client=client).enqueue(4)
        assert await made.result(timeout=20) == 8


async def test_a_stop_that_comes_before_the_first_step_counts(redis_url: str) -> None:
    """An application may be told to end while it is still starting."""
    worker = Worker(
        functions=FUNCTIONS,
        redis_settings=RedisSettings.from_dsn(redis_url),
        handle_signals=False,
    )
    task = asyncio.create_task(worker.async_run())
    worker.stop()
    done, _ = await asyncio.wait([task], timeout=20)
    await worker.close()
    assert done, "it ran on as if nobody had asked"
