"""What the loops of a worker share about their server: the client, patience, and its state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import random
from typing import TypeVar

from jobs import clock
from jobs.client import Client
from jobs.connections import Trouble, trouble

T = TypeVar("T")

logger = logging.getLogger("jobs.worker")

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0
#: A call that takes longer is given up and its connection dropped, whatever the client's settings.
CALL_TIMEOUT_S = 10.0


def _nothing(error: BaseException) -> None:
    """Nobody wants to hear of it."""


class Link:
    """Duties: 1. sort the server's errors; 2. wait between tries, for ever and with jitter;
    3. say once when the server goes away, again when the reason is another, and when it is back.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.lane = client.lane
        self.address = client.address
        self._away_since_s: float | None = None
        self._said: type[BaseException] | None = None
        self._wait_s = _FIRST_WAIT_S
        #: Told of each trouble of the server when it begins or changes, and of other errors.
        self.on_trouble: Callable[[BaseException], None] = _nothing

    async def call(
        self, function: Callable[[], Awaitable[T]], timeout_s: float = CALL_TIMEOUT_S
    ) -> T:
        """One call; when it succeeds the server counts as back.

        Raises:
            Whatever the call raises; `failed` says what to do about it.
        """
        async with asyncio.timeout(timeout_s):
            answer = await function()
        if self._away_since_s is not None:
            logger.warning(
                "the server at %s is back after %.1f s",
                self.address,
                clock.mono() - self._away_since_s,
            )
            self._away_since_s = self._said = None
            self._wait_s = _FIRST_WAIT_S
        return answer

    async def insist(self, function: Callable[[], Awaitable[T]]) -> T:
        """The answer of a call that is repeated until it is given.

        Raises:
            What is not the server's.
        """
        while True:
            try:
                return await self.call(function)
            except Exception as error:  # noqa: BLE001 -- sorted by `failed`
                await self.failed(error)

    async def failed(self, error: BaseException) -> None:
        """Note a failed call and wait before the next try.

        Raises:
            The error itself, if it is not the server's.
        """
        kind = trouble(error)
        if kind is None:
            raise error
        if self._away_since_s is None:
            self._away_since_s = clock.mono()
        if self._said is not type(error):
            self._said = type(error)
            logger.warning("the server at %s: %s; trying again for ever", self.address, error)
            self.on_trouble(error)
        if kind is Trouble.fatal:
            logger.error("the server at %s refuses this worker: %s", self.address, error)
            self._wait_s = _LONGEST_WAIT_S
        await asyncio.sleep(self._wait_s * (0.5 + random()))
        self._wait_s = min(_LONGEST_WAIT_S, self._wait_s * 2)

    @property
    def away(self) -> bool:
        """Whether the last call failed."""
        return self._away_since_s is not None
