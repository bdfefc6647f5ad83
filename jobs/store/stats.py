"""Reads the counters of a queue: what happened in every minute, hour and day, and ever.

The scripts count by the minute; prune.lua moves what is older than `MINUTES_MS` to hours and days
and to the totals, so that a year of a busy queue stays small and quick to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import starmap
from typing import TYPE_CHECKING, Any, NamedTuple

from jobs.keys import QueueKeys

if TYPE_CHECKING:
    from redis.asyncio import Redis

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
#: What is kept by the minute, by the hour and by the day; totals are kept for ever.
MINUTES_MS, HOURS_MS, DAYS_MS = 3 * HOUR_MS, 7 * DAY_MS, 90 * DAY_MS
#: Counters are read again when the prune has moved some meanwhile, but not more often than this.
TRIES = 3

_LENGTHS = {"h": HOUR_MS, "d": DAY_MS, "t": 0}
_LETTERS = {MINUTE_MS: "", HOUR_MS: "h", DAY_MS: "d"}
#: Fields looked at in one round trip.
PAGE = 2000
#: The field that counts the pages in which prune.lua moved something.
MOVED = "moved"


class Cell(NamedTuple):
    """One counter of one minute, hour or day; `function` is empty for jobs without one."""

    start_ms: int
    counter: str
    function: str
    number: int


def grain_of(since_ms: int, now_ms: int) -> int:
    """Length in ms of the finest spans that are kept for the time since `since_ms`."""
    age = now_ms - since_ms
    return MINUTE_MS if age <= MINUTES_MS else HOUR_MS if age <= HOURS_MS else DAY_MS


async def read_since(client: Redis, keys: QueueKeys, since_ms: int, now_ms: int) -> list[Cell]:
    """The counters of the spans that end after `since_ms`: minutes, hours or days (`grain_of`).

    Minutes that were not yet moved to longer spans come as minutes.
    """
    grain = grain_of(since_ms, now_ms)
    # The last sixty minutes are the one that has begun and the 59 before it.
    first = (since_ms // grain + 1) * grain if grain == MINUTE_MS else since_ms // grain * grain
    fields = await _fields(client, keys, _LETTERS[grain])
    return [cell for cell in starmap(_cell, fields.items()) if cell.start_ms >= first]


async def read_totals(client: Redis, keys: QueueKeys) -> list[Cell]:
    """All that was ever counted; the numbers only grow."""
    return list(starmap(_cell, (await _fields(client, keys, "t")).items()))


async def _fields(client: Redis, keys: QueueKeys, letter: str) -> Mapping[bytes, bytes]:
    """The fields of minutes and of the spans of this letter, without counting twice or not at
    all what is moved during the reading.
    """
    pattern = f"[0-9{letter}]*"
    ask: Any = client  # redis-py's hints say that its answers may be plain
    before = await ask.hget(keys.stats, MOVED)
    for _ in range(TRIES):
        pages = client.hscan_iter(keys.stats, match=pattern, count=PAGE)
        fields = {name: number async for name, number in pages}
        after = await ask.hget(keys.stats, MOVED)
        if after == before:
            break
        before = after
    return fields


def _cell(field: bytes, number: bytes) -> Cell:
    start, _, rest = field.decode().partition(":")
    counter, _, function = rest.partition("|")
    length = _LENGTHS.get(start[0])
    at_ms = int(start) * MINUTE_MS if length is None else int(start[1:] or 0) * length
    return Cell(at_ms, counter, function, int(number))
