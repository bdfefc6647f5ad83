"""Limits for any code: `async with limit("stripe"):` waits for a place and gives it back."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from jobs import clock
from jobs.client import Client, current_client
from jobs.connections import asks_server
from jobs.durations import Duration, to_ms, to_seconds
from jobs.errors import InvalidOption, LimitTimeout
from jobs.ids import new_id
from jobs.keys import DEFAULT_QUEUE, queue_keys
from jobs.limits import Limit, find_limit
from jobs.store import limits as store

#: A place that nobody gave back, because its holder died, is free after this time.
HELD_S = 60.0


class Limiter:
    """A wait for a place of a limit; made by `limit(…)`.

    It may be entered again and again, but not twice at the same time.
    """

    def __init__(
        self, limit: Limit, client: Client, timeout: Duration | None, ttl: Duration
    ) -> None:
        self.limit = limit
        self.address = client.address
        self._client = client
        self._timeout_s = float("inf") if timeout is None else to_seconds(timeout)
        self._ttl_ms = to_ms(ttl, what="ttl")
        self._keys = queue_keys(DEFAULT_QUEUE, client.prefix, shared=True)
        self._holder = ""
        self._until_ms = 0

    async def __aenter__(self) -> Self:
        """Wait for a place.

        Raises:
            LimitTimeout: there was none within the time.
            ServerAway, ServerRefused: the server does not answer well.
        """
        if self._holder:
            raise InvalidOption("this place is held already: make another `limit(…)` for another")
        over_s = clock.mono() + self._timeout_s
        while not (grant := await self._ask()).granted:
            wait_s = max(grant.ms, 1) / 1000
            if clock.mono() + wait_s > over_s:
                raise LimitTimeout(
                    f"the limit {self.limit.name!r} ({self.limit}) gave no place within "
                    f"{self._timeout_s:g} s; the next may be free in {wait_s:g} s"
                )
            await asyncio.sleep(wait_s)
        self._until_ms = grant.ms
        return self

    @asks_server
    async def _ask(self) -> store.Grant:
        holder = new_id()
        grant = await store.acquire(
            self._client.lane,
            self._keys,
            name=self.limit.name or "",
            holder=holder,
            concurrency=self.limit.concurrency or 0,
            rate=self.limit.rate or (0, 0),
            ttl_ms=self._ttl_ms,
        )
        if grant.granted:
            self._holder = holder
        return grant

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        holder, self._holder = self._holder, ""
        if self.limit.concurrency is not None:
            await self._give_back(holder)

    @asks_server
    async def _give_back(self, holder: str) -> None:
        await store.release(
            self._client.lane,
            self._keys,
            name=self.limit.name or "",
            holder=holder,
            until_ms=self._until_ms,
        )


def limit(
    name: str | Limit,
    *,
    client: Client | None = None,
    timeout: Duration | None = None,
    ttl: Duration = HELD_S,
) -> Limiter:
    """A place of a limit with a name, for code in a job, a web application, or anywhere.

    It counts together with the jobs of all queues and functions that were given the same `Limit`:

        async with limit("stripe"):
            await charge(card)

    Args:
        name: of a `Limit` that this process has declared, or the limit itself.
        client: the client to ask through; default the current one.
        timeout: longest wait for a place; `None` (default) waits for ever.
        ttl: a place is free after this time even if its holder died; default 60 s. Work that takes
            longer lets another in.

    Raises:
        InvalidOption: no limit has this name, or the limit has none.
    """
    found = find_limit(name) if isinstance(name, str) else name
    if found.name is None:
        raise InvalidOption(
            'only a limit with a name is shared: write Limit("stripe", rate=…), and give it to '
            "the queues and functions for which it holds too"
        )
    return Limiter(found, client or current_client(), timeout, ttl)
