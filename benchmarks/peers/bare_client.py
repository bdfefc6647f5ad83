"""Redis without any queue, from the client that this project uses: what no queue can beat.

One by one it stores payloads; in bulk the same in pipelines; a pick-up is a push to a pop that
waits, and a round trip a push whose answer is another push.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import uvloop
from redis.asyncio import Redis

if TYPE_CHECKING:
    from benchmarks.peers import _harness as harness
else:
    import _harness as harness

STORED, PUSHED, ANSWERED = "bare:stored", "bare:pushed", "bare:answered"


def about() -> harness.About:
    """What it is."""
    return harness.About(
        name="bare client",
        version=harness.versions("redis", "hiredis", "uvloop"),
        loop="uvloop",
        settings="SET of the payload one by one, 100 SETs a pipeline in bulk; "
        "pick-up: LPUSH to a BLPOP",
        caveat="no queue: nothing is kept, acknowledged or retried",
    )


class _Producer:
    """Sends commands."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def enqueue(self, payload: str) -> object:
        """Store a payload; one that carries a moment goes to the worker that waits for it."""
        if payload == harness.PAYLOAD:
            return await self._client.set(STORED, payload)
        return await self._client.lpush(PUSHED, payload)

    async def enqueue_many(self, payloads: list[str]) -> object:
        async with self._client.pipeline(transaction=False) as pipe:
            for payload in payloads:
                pipe.set(STORED, payload)
            return await pipe.execute()

    async def roundtrip(self, payload: str) -> object:
        await self._client.lpush(PUSHED, payload)
        return await self._client.blpop([ANSWERED], timeout=harness.TIMEOUT_S)


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[_Producer]:
    """A producer."""
    async with Redis.from_url(url, single_connection_client=True) as client:
        await client.ping()
        yield _Producer(client)


def work(options: harness.WorkOptions) -> None:
    """Pop until SIGTERM, one after the other."""
    with suppress(asyncio.CancelledError):
        uvloop.run(_work(options))


async def _work(options: harness.WorkOptions) -> None:
    body = harness.body_of(options.function, options.slot)
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with Redis.from_url(options.url, decode_responses=True) as client:
        options.slot.ready()
        while True:
            _, payload = await client.blpop([PUSHED], timeout=0)
            await body(payload)
            if options.function == "noop":
                await client.lpush(ANSWERED, "")


if __name__ == "__main__":
    harness.main(harness.Peer(about, connect, work, uvloop.run))
