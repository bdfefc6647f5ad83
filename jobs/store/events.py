"""The event stream of a queue: written by the scripts (lua/lib/tell.lua), read here."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from jobs.keys import QueueKeys
from jobs.store._script import AsyncCommands, script

_SIZES = struct.Struct(">BHI")
#: Entries of one read from each queue; an entry carries the events of one script call.
_COUNT = 20


class Told(NamedTuple):
    """One event as it is stored."""

    number: int
    name: str
    job_id: str
    at_ms: int
    data: bytes  #: JSON, or nothing


class Stand(NamedTuple):
    """Where the events of a queue stand."""

    last: int  #: the number of the last event
    until_ms: int  #: until then events are written, by the server's clock


async def listen(
    client: AsyncCommands, keys: QueueKeys, for_ms: int, *, exact: bool = False, now_ms: int = 0
) -> Stand:
    """Have events written for `for_ms` from now (-1: for ever); never shortens unless `exact`."""
    last, until_ms = await script("listen")(client, keys, (now_ms, for_ms, int(exact)))
    return Stand(last, until_ms)


async def emit(  # noqa: PLR0913 -- one event, each part by name
    client: AsyncCommands, keys: QueueKeys, name: str, job_id: str, data: bytes, *, now_ms: int = 0
) -> int:
    """Write one event; its number, 0 if nobody listens."""
    number: int = await script("emit")(client, keys, (now_ms, name, job_id, data))
    return number


async def read(
    client: AsyncCommands, after: Mapping[str, int], block_ms: int
) -> dict[str, list[Told]]:
    """The next events of several streams, given as key -> number of the last event known.

    Waits up to `block_ms` for the first of them; empty when none came.
    """
    names, numbers = list(after), [f"{number}-0" for number in after.values()]
    block = ("BLOCK", block_ms) if block_ms else ()
    reply = await client.execute_command(
        "XREAD", *block, "COUNT", _COUNT, "STREAMS", *names, *numbers
    )
    found: dict[str, list[Told]] = {}
    for name, entries in reply or ():
        key = name.decode()
        found[key] = [
            told for entry in entries for told in unpack(*entry) if told.number > after[key]
        ]
    return found


def unpack(entry_id: bytes, values: list[bytes]) -> list[Told]:
    """The events of one entry of the stream."""
    fields = dict(zip(values[::2], values[1::2], strict=True))
    at_ms = int(fields[b"t"])
    events = list(_split(fields[b"e"]))
    first = int(entry_id.partition(b"-")[0]) - len(events) + 1
    return [
        Told(number, name, job_id, at_ms, data)
        for number, (name, job_id, data) in enumerate(events, first)
    ]


def _split(packed: bytes) -> Iterator[tuple[str, str, bytes]]:
    at = 0
    while at < len(packed):
        name_size, id_size, data_size = _SIZES.unpack_from(packed, at)
        name_at = at + _SIZES.size
        id_at = name_at + name_size
        data_at = id_at + id_size
        at = data_at + data_size
        yield packed[name_at:id_at].decode(), packed[id_at:data_at].decode(), packed[data_at:at]
