"""huey with greenlets, which its README advises for work that waits for others."""

from __future__ import annotations

import sys

if __name__ == "__main__" and "worker" in sys.argv[1:2]:
    from gevent import monkey  # type: ignore[import-untyped,import-not-found,unused-ignore]

    monkey.patch_all()  # before anything else imports a socket

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from huey import RedisHuey  # type: ignore[import-not-found]  # lives in an environment of its own

if TYPE_CHECKING:
    from benchmarks.peers import _harness as harness
else:
    import _harness as harness

#: huey keeps no result that is None, so this one answers.
ANSWER = "answer"
#: A greenlet waits on a connection of its own: more than the 100 that redis-py 8 allows by itself.
CONNECTIONS = 1000


def about() -> harness.About:
    """What it is."""
    return harness.About(
        name="huey",
        version=harness.versions("huey", "gevent", "redis"),
        loop="greenlets",
        settings="RedisHuey with its blocking pop, 100 greenlets as its README advises for I/O, "
        "hiredis, more than redis-py 8's 100 connections, notify_result where a result is "
        "awaited; it stores no result of None (its default); "
        "bulk: one call after the other, for want of an API for many",
        caveat=harness.LOSES,
    )


def _huey(url: str) -> Any:
    pool = f"{url}?max_connections={CONNECTIONS}"
    return RedisHuey(harness.QUEUE, url=pool, notify_result=True)


class _Producer:
    """Enqueues by calling the task: huey's producers block."""

    def __init__(self, work: Any, answer: Any) -> None:
        self._work, self._answer = work, answer

    async def enqueue(self, payload: str) -> object:
        return self._work(payload)

    async def enqueue_many(self, payloads: list[str]) -> object:
        return [self._work(payload) for payload in payloads]

    async def roundtrip(self, payload: str) -> object:
        return self._answer(payload).get(blocking=True, timeout=harness.TIMEOUT_S)


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[_Producer]:
    """A producer."""

    def work(payload: str) -> None:
        raise NotImplementedError

    huey = _huey(url)
    huey.storage.conn.ping()
    yield _Producer(huey.task(name=harness.WORK)(work), huey.task(name=ANSWER)(work))


def work(options: harness.WorkOptions) -> None:
    """Run a consumer until SIGTERM."""
    body = _body(options.function, options.slot)

    def work(payload: str) -> None:
        body(payload)

    def answer(payload: str) -> int:
        body(payload)
        return len(payload)

    huey = _huey(options.url)
    huey.task(name=harness.WORK)(work)
    huey.task(name=ANSWER)(answer)
    huey.on_startup()(options.slot.ready)
    consumer = huey.create_consumer(
        workers=options.concurrency, worker_type="greenlet", graceful_signal="TERM"
    )
    consumer.run()


def _body(kind: str, slot: harness.Slot) -> Callable[[str], None]:
    """The bodies of the harness without a loop; only one greenlet runs at a time."""

    def body(payload: str) -> None:
        if kind == "stamp":
            slot.stamp(payload)
        slot.begin()
        if kind == "sleep":
            time.sleep(harness.SLEEP_S)
        slot.end()

    return body


if __name__ == "__main__":
    harness.main(harness.Peer(about, connect, work, asyncio.run))
