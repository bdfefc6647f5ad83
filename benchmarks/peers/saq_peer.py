"""SAQ, with its blocking dequeue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import uvloop
from redis.asyncio import Redis
from saq import Worker  # type: ignore[import-not-found]  # lives in an environment of its own
from saq.queue.redis import RedisQueue  # type: ignore[import-not-found]  # the same

if TYPE_CHECKING:
    from benchmarks.peers import _harness as harness
else:
    import _harness as harness

#: A worker waits on one connection a slot: more than the 100 that redis-py 8 allows by itself.
CONNECTIONS = 1000


def about() -> harness.About:
    """What it is."""
    return harness.About(
        name="SAQ",
        version=harness.versions("saq", "redis", "uvloop"),
        loop="uvloop",
        settings="concurrency=100, blocking dequeue (its default) without redis-py 8's limits of "
        "5 s and 100 connections, hiredis (its extra), and uvloop, which it does not ask for; a "
        "result is awaited by job.refresh; bulk: 100 enqueue at once, for want of an API for many",
    )


def _queue(url: str) -> Any:
    """The queue on a client whose blocked reads last: redis-py 8 ends them after 5 s by itself."""
    client = Redis.from_url(url, max_connections=CONNECTIONS, socket_timeout=None)
    return RedisQueue(client, name=harness.QUEUE)


class _Producer:
    """Enqueues by SAQ's queue."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    async def enqueue(self, payload: str) -> object:
        return await self._queue.enqueue(harness.WORK, payload=payload)

    async def enqueue_many(self, payloads: list[str]) -> object:
        """There is nothing for many, so many calls at once."""
        return await asyncio.gather(*map(self.enqueue, payloads))

    async def roundtrip(self, payload: str) -> object:
        """By notification: `apply` polls every 0.5 s, and sleeps once more when it has the result.

        A job that ends between the two steps of `refresh` is not heard of, so it is asked again.
        """
        queued = await self._queue.enqueue(harness.WORK, payload=payload)
        while not queued.completed:
            with suppress(asyncio.TimeoutError):
                await queued.refresh(1)
        return queued.result


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[_Producer]:
    """A producer."""
    queue = _queue(url)
    await queue.connect()
    await queue.redis.ping()
    try:
        yield _Producer(queue)
    finally:
        await queue.disconnect()


def work(options: harness.WorkOptions) -> None:
    """Run a worker until SIGTERM, for which SAQ has a handler."""
    uvloop.run(_work(options))


async def _work(options: harness.WorkOptions) -> None:
    body = harness.body_of(options.function, options.slot)

    async def work(_ctx: dict[str, Any], *, payload: str) -> None:
        await body(payload)

    async def started(_ctx: dict[str, Any]) -> None:
        options.slot.ready()

    queue = _queue(options.url)
    await queue.connect()
    worker = Worker(queue, [(harness.WORK, work)], concurrency=options.concurrency, startup=started)
    try:
        await worker.start()
    finally:
        await queue.disconnect()


if __name__ == "__main__":
    harness.main(harness.Peer(about, connect, work, uvloop.run))
