"""taskiq with taskiq-redis: the broker on streams, which acknowledges, and the result backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvloop
from taskiq import TaskiqEvents  # type: ignore[import-not-found]  # lives in an environment of its own
from taskiq.cli.worker.args import WorkerArgs  # type: ignore[import-not-found]  # the same
from taskiq.cli.worker.run import start_listen  # type: ignore[import-not-found]  # the same
from taskiq_redis import (  # type: ignore[import-not-found]  # the same
    RedisAsyncResultBackend,
    RedisStreamBroker,
)

if TYPE_CHECKING:
    from benchmarks.peers import _harness as harness
else:
    import _harness as harness


def about() -> harness.About:
    """What it is."""
    return harness.About(
        name="taskiq",
        version=harness.versions("taskiq", "taskiq-redis", "redis", "uvloop"),
        loop="uvloop",
        settings="RedisStreamBroker, 100 async tasks at once (its default), uvloop, hiredis, "
        "results kept 1000 s as its README shows, awaited every 0.2 s (its default); one worker "
        "process without its supervisor; bulk: 100 kiq at once, for want of an API for many",
    )


def _broker(url: str) -> Any:
    results: Any = RedisAsyncResultBackend(redis_url=url, result_ex_time=1000)
    return RedisStreamBroker(url=url, queue_name=harness.QUEUE).with_result_backend(results)


class _Producer:
    """Enqueues by the task's `kiq`."""

    def __init__(self, task: Any) -> None:
        self._task = task

    async def enqueue(self, payload: str) -> object:
        return await self._task.kiq(payload)

    async def enqueue_many(self, payloads: list[str]) -> object:
        """There is nothing for many, so many calls at once."""
        return await asyncio.gather(*map(self.enqueue, payloads))

    async def roundtrip(self, payload: str) -> object:
        queued = await self._task.kiq(payload)
        return await queued.wait_result(timeout=harness.TIMEOUT_S)


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[_Producer]:
    """A producer; its start makes the stream and the group of consumers."""

    async def work(payload: str) -> None:
        raise NotImplementedError

    broker = _broker(url)
    task = broker.task(task_name=harness.WORK)(work)
    await broker.startup()
    try:
        yield _Producer(task)
    finally:
        await broker.shutdown()


def work(options: harness.WorkOptions) -> None:
    """Run what `taskiq worker` runs in each of its processes, until SIGTERM."""
    body = harness.body_of(options.function, options.slot)

    async def work(payload: str) -> None:
        await body(payload)

    async def started(_state: object) -> None:
        options.slot.ready()

    broker = _broker(options.url)
    broker.task(task_name=harness.WORK)(work)
    broker.add_event_handler(TaskiqEvents.WORKER_STARTUP, started)
    start_listen(WorkerArgs(broker=broker, modules=[], max_async_tasks=options.concurrency))


if __name__ == "__main__":
    harness.main(harness.Peer(about, connect, work, uvloop.run))
