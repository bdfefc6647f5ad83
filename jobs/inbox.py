"""Hears of the ends of jobs by push, for every wait of one client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobs.store.results import End, read_message
from jobs.subscription import Subscription

if TYPE_CHECKING:
    from redis.asyncio import Redis


class Inbox:
    """Duties: 1. one subscription per awaited queue; 2. each message to its waits; 3. after a
    gap every wait looks for itself.
    """

    def __init__(self, redis: Redis, name: str) -> None:
        self.name = name
        self._subscription = Subscription(redis, self._take, self._look_again)
        self._waits: dict[tuple[str, str], set[asyncio.Future[End | None]]] = {}

    async def subscribe(self, channel: str) -> None:
        """Listen on `channel`; returns when the server has confirmed it."""
        await self._subscription.subscribe(channel)

    @contextmanager
    def listen(self, channel: str, job_id: str) -> Iterator[asyncio.Future[End | None]]:
        """A future for the next end of `job_id`; `None` says that the caller must look itself."""
        future: asyncio.Future[End | None] = asyncio.get_running_loop().create_future()
        futures = self._waits.setdefault((channel, job_id), set())
        futures.add(future)
        try:
            yield future
        finally:
            futures.discard(future)
            if not futures:
                self._waits.pop((channel, job_id), None)

    async def aclose(self) -> None:
        """Stop listening; waits in progress look for themselves once more."""
        await self._subscription.aclose()

    def _take(self, channel: str, data: bytes) -> None:
        job_id, end = read_message(data)
        self._resolve(self._waits.get((channel, job_id), ()), end)

    def _look_again(self) -> None:
        for futures in self._waits.values():
            self._resolve(futures, None)

    @staticmethod
    def _resolve(futures: set[asyncio.Future[End | None]] | tuple[()], end: End | None) -> None:
        for future in futures:
            if not future.done():
                future.set_result(end)
