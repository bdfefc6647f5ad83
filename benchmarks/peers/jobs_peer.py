"""This package."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvloop

from jobs import Client, Context, Queue, RedisSettings, Worker, job, logs
from jobs.functions import JobFunction

if TYPE_CHECKING:
    from benchmarks.peers import _harness as harness
else:
    import _harness as harness


def about() -> harness.About:
    """What it is."""
    return harness.About(
        name="jobs",
        version=harness.versions("arq-jobs", "redis", "uvloop"),
        loop="uvloop",
        settings="Queue(concurrency=100), uvloop (its extra), hiredis, payloads validated, results "
        "kept as it comes; bulk: enqueue_stream",
    )


class _Producer:
    """Enqueues by the job function."""

    def __init__(self, client: Client, function: JobFunction[[str], None]) -> None:
        self._client, self._function = client, function

    async def enqueue(self, payload: str) -> object:
        return await self._function.enqueue(payload)

    async def enqueue_many(self, payloads: list[str]) -> object:
        return await self._client.enqueue_stream(map(self._function.request, payloads))

    async def roundtrip(self, payload: str) -> None:
        queued = await self._function.enqueue(payload)
        await queued.result(timeout=harness.TIMEOUT_S)


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[_Producer]:
    """A producer."""

    @job(harness.WORK, queue=harness.QUEUE)
    async def work(ctx: Context, payload: str) -> None:
        raise NotImplementedError

    async with Client.connect(url) as client:
        await client.ping()
        yield _Producer(client, work)


def work(options: harness.WorkOptions) -> None:
    """Run a worker until SIGTERM."""
    _log(options)
    body = harness.body_of(options.function, options.slot)

    @job(harness.WORK, queue=harness.QUEUE)
    async def work(_ctx: Context, payload: str) -> None:
        await body(payload)

    async def started(_ctx: dict[Any, Any]) -> None:
        options.slot.ready()

    asyncio.set_event_loop(uvloop.new_event_loop())
    Worker(
        [work],
        queues=[Queue(harness.QUEUE, concurrency=options.concurrency)],
        redis_settings=RedisSettings.from_dsn(options.url),
        on_startup=started,
    ).run()


def _log(options: harness.WorkOptions) -> None:
    """Lines of JSON to a file where lines of jobs are asked for, as a worker in production."""
    if options.log_level == "INFO":
        sys.stderr = options.log_file.open("a")
    logs.configure(logging.getLevelNamesMapping()[options.log_level], as_json=True)


if __name__ == "__main__":
    harness.main(harness.Peer(about, connect, work, uvloop.run, chunk=1_000_000))
