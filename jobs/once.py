"""Things to be done once: a marker on the server says that they are done.

    async with ctx.once("send") as first:
        if first:
            await provider.send(…)

The marker is set to *done* when the block ends, and freed when it raises, so that the next attempt
does it again. Between the effect and the marker there is a window: a worker that dies there leaves
a marker which its job's next attempt takes over, and the effect happens twice. Only the other side
can close that window, with an idempotency key of its own: give it `ctx.idempotency_key`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from jobs.durations import Duration, to_ms
from jobs.errors import InvalidOption
from jobs.keys import once_key
from jobs.store import once as store


class Markers(Protocol):
    """What holds the markers: a client."""

    @property
    def prefix(self) -> str:
        """First part of every key."""

    @property
    def lane(self) -> Any:
        """The connection for commands."""


@asynccontextmanager
async def once(  # noqa: PLR0913 -- where, what, how long, and whose
    client: Markers, name: str, ttl: Duration, hold: Duration, *, owner: str, token: int = 1
) -> AsyncIterator[bool]:
    """Whether the block is to do the thing called `name`; see `Client.once` and `Context.once`.

    Args:
        client: where the markers are.
        name: what is done; one marker for each name.
        ttl: how long it stays done.
        hold: how long the block may take before somebody else may begin.
        owner: who may begin again what it has not ended.
        token: grows with every attempt of the owner; an older one has lost its right.

    Raises:
        InvalidOption: an empty name, or durations that are not positive.
        ServerAway, ServerRefused: the server did not answer, or not well.
    """
    done_ms, hold_ms = to_ms(ttl, what="ttl"), to_ms(hold, what="hold")
    if done_ms < 1 or hold_ms < 1:
        raise InvalidOption("`ttl` and `hold` of a marker are at least a millisecond")
    marker = once_key(name, client.prefix)
    first = await store.begin(client.lane, marker, owner, token, hold_ms)
    try:
        yield first
    except BaseException:
        if first:
            await store.end(client.lane, marker, owner, token, 0)
        raise
    if first:
        await store.end(client.lane, marker, owner, token, done_ms)
