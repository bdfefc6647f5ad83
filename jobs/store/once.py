"""Done-markers: a string for each, `done` or `<token> <owner>`, which expires by itself."""

from __future__ import annotations

from typing import NamedTuple, cast

from jobs.keys import QueueKeys
from jobs.store._script import AsyncCommands, script


class OnceKeys(NamedTuple):
    """The key of one marker, by the name that the scripts use."""

    marker: str


async def begin(client: AsyncCommands, marker: str, owner: str, token: int, hold_ms: int) -> bool:
    """Mark that a thing is being done; whether the caller is to do it."""
    keys = cast("QueueKeys", OnceKeys(marker))
    mine: int = await script("once_begin")(client, keys, (owner, token, hold_ms))
    return mine == 1


async def end(client: AsyncCommands, marker: str, owner: str, token: int, done_ms: int) -> bool:
    """Mark it as done for `done_ms`, or with 0 as not done; whether it was the caller's."""
    keys = cast("QueueKeys", OnceKeys(marker))
    mine: int = await script("once_end")(client, keys, (owner, token, done_ms))
    return mine == 1
