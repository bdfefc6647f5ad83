"""The rules of limits as they are stored, and what holds their places."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from jobs.keys import QueueKeys
from jobs.store._script import MAX_ITEMS, AsyncCommands, script
from jobs.store.pausing import PAUSED

#: Instead of ms of ageing: leave it as it is.
SAME_AGEING = -1
#: Names of places, starts and blocked groups that are read to tell how a queue's limits stand.
MOST_READ = 10_000

_MOMENT = struct.Struct(">d")
_SEPARATOR = b"\x01"


async def write_rules(
    client: AsyncCommands,
    keys: QueueKeys,
    rules: Mapping[str, str],
    *,
    ageing_ms: int = SAME_AGEING,
    now_ms: int = 0,
) -> int:
    """Set the rules of scopes, "" to take them away; how many are other than before.

    Scopes and rules are those of lua/lib/gates.lua: `q` the queue, `k` each key, `f:<function>`,
    `fk:<function>` each key of a function; `c3`, `r30/1000`, `o`, shared ones with `@name`.
    """
    flat = [text for pair in rules.items() for text in pair]
    changed = 0
    for at in range(0, max(1, len(flat)), 2 * MAX_ITEMS):
        args = (now_ms, ageing_ms)
        changed += await script("limit")(client, keys, args, flat[at : at + 2 * MAX_ITEMS])
    return changed


async def read_rules(client: AsyncCommands, keys: QueueKeys) -> dict[str, str]:
    """The rules of every scope that has some, and `p:<function>` -> why it is paused."""
    flat = await client.execute_command("HGETALL", keys.limits)
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    return {scope.decode(): text.decode() for scope, text in pairs}


def are_shared(rules: Mapping[str, str]) -> bool:
    """Whether one of the rules is a limit that other queues share."""
    return any("@" in text for scope, text in rules.items() if not scope.startswith(PAUSED))


class Gate(NamedTuple):
    """How one limit stands, by its name in the scripts: `q`, `k:<key>`, `f:<function>`."""

    name: str
    holding: int  #: jobs that hold a place
    starts: int  #: starts that a rate counts, also some whose time is over
    blocked: int  #: groups of jobs that wait for it


async def read_gates(client: AsyncCommands, keys: QueueKeys) -> list[Gate]:
    """The limits of a queue that count or hold back something now, by name.

    Of each kind the first 10,000 are read: of a queue with more, the numbers are too small.
    """
    counted = [await _count(client, key) for key in (keys.holding, keys.starts, keys.blocked)]
    shared = [await _count(client, key) for key in (keys.shared_holding, keys.shared_starts)]
    holding, starts, blocked = counted[0] + shared[0], counted[1] + shared[1], counted[2]
    names = sorted({*holding, *starts, *blocked})
    return [Gate(name, holding[name], starts[name], blocked[name]) for name in names]


async def _count(client: AsyncCommands, key: str) -> Counter[str]:
    members: Iterable[bytes] = await client.execute_command("ZRANGE", key, 0, MOST_READ - 1)
    return Counter(member.split(_SEPARATOR, 1)[0].decode() for member in members)


async def closed_until(client: AsyncCommands, keys: QueueKeys) -> int | None:
    """Until when a 429 has closed the queue, in ms; `None` if it was never closed."""
    closed = await client.execute_command("HGET", keys.config, "closed")
    return int(closed) if closed else None


async def reopen(client: AsyncCommands, keys: QueueKeys, gate: str) -> int:
    """Forget the starts that a rate has counted; how many."""
    forgotten: int = await script("reopen")(client, keys, (0, gate))
    return forgotten


class Grant(NamedTuple):
    """The answer to who wants a place of a shared limit."""

    granted: bool
    ms: int  #: until when it is held, by the server's clock; or after which to ask again


async def acquire(  # noqa: PLR0913 -- the numbers of a limit, each by name
    client: AsyncCommands,
    keys: QueueKeys,
    *,
    name: str,
    holder: str,
    concurrency: int,
    rate: tuple[int, int],
    ttl_ms: int,
    now_ms: int = 0,
) -> Grant:
    """Take a place of a shared limit; `holder` is a name that nobody else has.

    `concurrency` and the first of `rate` (starts, period in ms) are 0 where there is no limit.
    """
    args = (now_ms, name, holder, concurrency, *rate, ttl_ms)
    granted, ms = await script("acquire")(client, keys, args)
    return Grant(granted == 1, ms)


async def release(
    client: AsyncCommands, keys: QueueKeys, *, name: str, holder: str, until_ms: int
) -> bool:
    """Give a place back; whether it was still held."""
    member = f"s:{name}".encode() + _SEPARATOR * 2 + _MOMENT.pack(until_ms) + holder.encode()
    removed: int = await client.execute_command("ZREM", keys.shared_holding, member)
    return removed == 1
