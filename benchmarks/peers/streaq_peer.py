"""streaQ, on its default backend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvloop
from streaq import Worker  # type: ignore[import-not-found]  # lives in an environment of its own

if TYPE_CHECKING:
    from benchmarks.peers import _harness as harness
else:
    import _harness as harness


def about() -> harness.About:
    """What it is."""
    return harness.About(
        name="streaQ",
        version=harness.versions("streaq", "coredis", "uvloop"),
        loop="uvloop",
        settings="concurrency=100 (and 100 more prefetched, its default), its client coredis, and "
        "uvloop, which it does not ask for; bulk: enqueue_many of 100, one pipeline",
    )


class _Producer:
    """Enqueues by a worker object that runs nothing."""

    def __init__(self, worker: Any, task: Any) -> None:
        self._worker, self._task = worker, task

    async def enqueue(self, payload: str) -> object:
        return await self._task.enqueue(payload)

    async def enqueue_many(self, payloads: list[str]) -> object:
        return await self._worker.enqueue_many([self._task.enqueue(each) for each in payloads])

    async def roundtrip(self, payload: str) -> object:
        task = await self._task.enqueue(payload)
        return await task.result(timeout=harness.TIMEOUT_S)


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[_Producer]:
    """A producer."""

    async def work(payload: str) -> None:
        raise NotImplementedError

    worker = Worker(redis_url=url, queue_name=harness.QUEUE)
    task = worker.task(name=harness.WORK)(work)
    async with worker:
        await worker.redis.ping()
        yield _Producer(worker, task)


def work(options: harness.WorkOptions) -> None:
    """Run a worker until SIGTERM, for which streaQ has a handler."""
    body = harness.body_of(options.function, options.slot)

    async def work(payload: str) -> None:
        await body(payload)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        options.slot.ready()
        yield

    worker = Worker(
        redis_url=options.url,
        concurrency=options.concurrency,
        queue_name=harness.QUEUE,
        lifespan=lifespan,
        anyio_kwargs={"use_uvloop": True},
    )
    worker.task(name=harness.WORK)(work)
    worker.run_sync()


if __name__ == "__main__":
    harness.main(harness.Peer(about, connect, work, uvloop.run))
