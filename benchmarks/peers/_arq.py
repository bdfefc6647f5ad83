"""arq as a peer: what its stock and its tuned set-up share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from arq import ArqRedis, Worker, create_pool, func
from arq.connections import RedisSettings

if TYPE_CHECKING:
    from benchmarks.peers import _harness as harness
else:
    import _harness as harness


#: arq's own.
ARQ_POLL_DELAY_S = 0.5


@dataclass(frozen=True, slots=True)
class Setup:
    """What one set-up of arq changes.

    Args:
        poll_delay: seconds between two looks at the queue, or at a result; `None` for arq's own.
        run: runs a coroutine; its loop is the worker's too.
        new_loop: makes the loop of the worker.
    """

    poll_delay: float | None
    run: harness.Runner
    new_loop: Any

    @property
    def polling(self) -> dict[str, Any]:
        """The keyword that both the worker and a waiting client take."""
        return {} if self.poll_delay is None else {"poll_delay": self.poll_delay}

    def peer(self, about: harness.About) -> harness.Peer:
        """The peer for the harness."""
        spread_s = self.poll_delay or ARQ_POLL_DELAY_S
        return harness.Peer(lambda: about, self.connect, self.work, self.run, spread_s=spread_s)

    def connect(self, url: str) -> AbstractAsyncContextManager[harness.Producer]:
        """A producer."""
        return _connect(url, self.polling)

    def work(self, options: harness.WorkOptions) -> None:
        """Run a worker until SIGTERM, which arq answers by leaving its loop."""
        body = harness.body_of(options.function, options.slot)

        async def work(_ctx: dict[Any, Any], payload: str) -> None:
            await body(payload)

        async def started(_ctx: dict[Any, Any]) -> None:
            options.slot.ready()

        hooks: dict[str, Any] = {"on_startup": started}  # arq's types ask for a __qualname__ too
        asyncio.set_event_loop(self.new_loop())
        Worker(
            functions=[func(cast("Any", work), name=harness.WORK)],
            redis_settings=RedisSettings.from_dsn(options.url),
            max_jobs=options.concurrency,
            **hooks,
            **self.polling,
        ).run()


class _Producer:
    """Enqueues by arq's pool."""

    def __init__(self, pool: ArqRedis, polling: dict[str, Any]) -> None:
        self._pool, self._polling = pool, polling

    async def enqueue(self, payload: str) -> object:
        return await self._pool.enqueue_job(harness.WORK, payload)

    async def enqueue_many(self, payloads: list[str]) -> object:
        """There is nothing for many, so many calls at once."""
        return await asyncio.gather(*map(self.enqueue, payloads))

    async def roundtrip(self, payload: str) -> object:
        job = await self._pool.enqueue_job(harness.WORK, payload)
        if job is None:
            raise RuntimeError("arq says that the job exists already")
        return await job.result(timeout=harness.TIMEOUT_S, **self._polling)


@asynccontextmanager
async def _connect(url: str, polling: dict[str, Any]) -> AsyncIterator[_Producer]:
    pool = await create_pool(RedisSettings.from_dsn(url))  # asks the server for a PING
    try:
        yield _Producer(pool, polling)
    finally:
        await pool.aclose()
