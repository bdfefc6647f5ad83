"""One pub/sub connection that outlives the server's restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobs.connections import trouble
from jobs.tasks import end_tasks

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

_RECONNECT_S = 0.2
#: With a time-out of its own a read does not fall under the socket's, which silence would break.
_SILENCE_S = 60.0


class Subscription:
    """Duties: 1. keep channels subscribed; 2. hand on each message; 3. say when some may have
    been missed, since pub/sub does not repeat them.

    Args:
        redis: the client whose connections are used.
        on_message: called with (channel, data).
        on_gap: called after a lost connection.
    """

    def __init__(
        self,
        redis: Redis,
        on_message: Callable[[str, bytes], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._redis = redis
        self._on_message, self._on_gap = on_message, on_gap
        self._pubsub: PubSub | None = None
        self._reader: asyncio.Task[None] | None = None
        self._confirmed: dict[str, asyncio.Event] = {}
        # redis-py's PubSub connects at its first command: two at once would open two connections
        # and lose one, and a reader started before that finds none.
        self._subscribing = asyncio.Lock()

    async def subscribe(self, channel: str) -> None:
        """Listen on `channel`; returns when the server has confirmed it."""
        async with self._subscribing:
            confirmed = self._confirmed.get(channel)
            if confirmed is None:
                confirmed = self._confirmed[channel] = asyncio.Event()
                if self._pubsub is None:
                    self._pubsub = self._redis.pubsub()
                try:
                    await self._pubsub.subscribe(channel)
                except BaseException:
                    del self._confirmed[channel]
                    raise
            if self._reader is None or self._reader.done():
                self._reader = asyncio.create_task(
                    self._read(self._pubsub), name="jobs-subscription"
                )
        await confirmed.wait()

    async def aclose(self) -> None:
        """Stop listening."""
        await end_tasks(self._reader)
        if self._pubsub:
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py has no types here
        self._reader = self._pubsub = None
        self._confirmed.clear()
        self._on_gap()

    async def _read(self, pubsub: PubSub | None) -> None:
        while pubsub is not None:
            try:
                self._take(await pubsub.get_message(timeout=_SILENCE_S))
            except Exception as error:
                if trouble(error) is None:
                    raise
                self._on_gap()
                await asyncio.sleep(_RECONNECT_S)

    def _take(self, message: dict[str, Any] | None) -> None:
        if message is None:
            return
        channel = message["channel"].decode()
        if message["type"] == "subscribe":
            if self._confirmed[channel].is_set():  # subscribed anew: what came between is lost
                self._on_gap()
            self._confirmed[channel].set()
        elif message["type"] == "message":
            self._on_message(channel, message["data"])
