"""Tells the listeners of a worker's queues what goes wrong in the worker: the event `error`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

from pydantic_core import to_json

from jobs import clock
from jobs.engine.link import Link
from jobs.engine.upkeep import Upkeep
from jobs.errors import text_of, writable
from jobs.keys import QueueKeys
from jobs.loop import Loop
from jobs.store.events import emit

#: Errors that are remembered until the server is back.
MOST = 20
#: Longest text of an error.
TEXT_LIMIT = 1000


class ErrorTeller(Upkeep):
    """Writes an `error` event into each queue for every trouble with the server and for every
    error of the worker's own loops: when it happens, or when the server is back.
    """

    while_draining = True

    def __init__(self, link: Link, queues: Mapping[str, QueueKeys], *, worker: str) -> None:
        super().__init__("errors", 1.0, link, queues)
        self._worker = worker
        self._errors: deque[bytes] = deque(maxlen=MOST)
        self._some = asyncio.Event()
        link.on_trouble = self.note

    def note(self, error: BaseException) -> None:
        """Remember an error; it is written soon."""
        entry = {
            "error": {
                "type": type(error).__name__,
                "message": writable(text_of(error))[:TEXT_LIMIT],
            },
            "worker": self._worker,
            "at": clock.now_ms(),
        }
        self._errors.append(to_json(entry))
        self._some.set()

    async def run_once(self) -> None:
        """Wait for errors, and write those that there are."""
        await self._some.wait()
        while self._errors:
            data = self._errors[0]
            for keys in self.queues.values():
                await emit(self.link.lane, keys, "error", "", data)
            if self._errors and self._errors[0] is data:
                self._errors.popleft()
        self._some.clear()

    async def failed(self, error: Exception) -> None:
        """The server is away still: what is to be told waits for it, and is not told twice."""
        try:
            await self.link.failed(error)
        except Exception as own:  # noqa: BLE001 -- a loop outlives every error
            await Loop.failed(self, own)
