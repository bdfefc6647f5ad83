"""ArdiQ, whose loop and connections are in Rust."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvloop
from ardiq import Ardiq  # type: ignore[import-not-found]  # lives in an environment of its own

if TYPE_CHECKING:
    from benchmarks.peers import _harness as harness
else:
    import _harness as harness


def about() -> harness.About:
    """What it is."""
    return harness.About(
        name="ArdiQ",
        version=harness.versions("ardiq", "uvloop"),
        loop="uvloop",
        settings="concurrency=100 (and 200 held, its default prefetch), its client in Rust, and "
        "uvloop for the functions; bulk: enqueue_many of 1000 prepared tasks, one round trip",
    )


class _Producer:
    """Enqueues by the task's handle."""

    def __init__(self, app: Any, task: Any) -> None:
        self._app, self._task = app, task

    async def enqueue(self, payload: str) -> object:
        return await self._task.enqueue(payload)

    async def enqueue_many(self, payloads: list[str]) -> object:
        return await self._app.enqueue_many([self._task.prepare(each) for each in payloads])

    async def roundtrip(self, payload: str) -> object:
        job = await self._task.enqueue(payload)
        return await job.result(timeout=harness.TIMEOUT_S)


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[_Producer]:
    """A producer."""

    async def work(payload: str) -> None:
        raise NotImplementedError

    app = Ardiq(redis_url=url, queue_name=harness.QUEUE)
    task = app.task(name=harness.WORK)(work)
    await app.queue_size()
    yield _Producer(app, task)


def work(options: harness.WorkOptions) -> None:
    """Run a worker until SIGTERM."""
    uvloop.run(_work(options))


async def _work(options: harness.WorkOptions) -> None:
    body = harness.body_of(options.function, options.slot)
    app = Ardiq(redis_url=options.url, queue_name=harness.QUEUE, concurrency=options.concurrency)

    async def work(payload: str) -> None:
        await body(payload)

    async def lifespan() -> AsyncIterator[None]:
        options.slot.ready()
        yield

    app.task(name=harness.WORK)(work)
    app.lifespan(lifespan)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, app.stop)
    await app.run()


if __name__ == "__main__":
    harness.main(harness.Peer(about, connect, work, uvloop.run, chunk=1000))
