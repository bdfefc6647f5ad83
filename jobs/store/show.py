"""Reads what queues hold: single jobs, pages of one state, counts and statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from jobs.keys import QueueKeys
from jobs.states import State
from jobs.store._script import MAX_ITEMS, AsyncCommands, script
from jobs.store.record import (
    SPAN,
    Flow,
    Record,
    first_record,
    flow_of,
    grouped_id,
    grouped_score,
    late_id,
    split_body,
    unpack_record,
)
from jobs.store.stats import MINUTE_MS, read_since

if TYPE_CHECKING:
    from redis.asyncio import Redis

#: States in the order in which a job is looked for, each with the zset that holds its ids.
STATE_KEYS: dict[State, str] = {
    State.active: "leases",
    State.waiting: "ready",
    State.delayed: "later",
    State.completed: "completed",
    State.failed: "failed",
    State.cancelled: "cancelled",
    State.expired: "expired",
    State.parked: "parked",
}

#: Waiting jobs of groups that are read at once.
PAGE = 1000

#: States whose newest jobs are the interesting ones.
_NEWEST_FIRST = frozenset(
    {State.completed, State.failed, State.cancelled, State.expired, State.parked}
)


class StoredJob(NamedTuple):
    """One job as it is stored; `score` is that of the state's zset."""

    id: str
    state: State
    score: float
    enqueued_ms: float
    body: bytes
    record: Record
    history: list[bytes]
    progress: bytes | None = None


async def read_jobs(
    client: AsyncCommands, keys: QueueKeys, ids: Sequence[str]
) -> list[StoredJob | None]:
    """Each of `ids` as it is stored, in order; `None` for one that the queue does not hold.

    A hundred are read at one moment, in one round trip.
    """
    found: list[StoredJob | None] = []
    for at in range(0, len(ids), MAX_ITEMS):
        page = ids[at : at + MAX_ITEMS]
        flat = await script("look")(client, keys, (), page)
        found += [_stored(job_id, *flat[6 * n : 6 * n + 6]) for n, job_id in enumerate(page)]
    return found


def _stored(  # noqa: PLR0913 -- the six values of look.lua
    job_id: str,
    state: bytes,
    place: bytes | None,
    body: bytes | None,
    record: bytes | None,
    result: bytes | None,
    progress: bytes | None,
) -> StoredJob | None:
    if body is None or place is None:
        return None
    score = float(place)
    enqueued_ms, envelope = split_body(body)
    packed = unpack_record(record) if record else first_record(score, enqueued_ms)
    lines = result.split(b"\n") if result else []
    known = State(state.decode())
    return StoredJob(job_id, known, score, enqueued_ms, envelope, packed, lines, progress)


async def read_flow(client: AsyncCommands, keys: QueueKeys, job_id: str) -> Flow:
    """What the record of a job says of groups and keys; empty for a plain or unknown one."""
    return flow_of(await client.execute_command("HGET", keys.record, job_id) or b"")


async def read_bodies(
    client: AsyncCommands, keys: QueueKeys, ids: Sequence[str]
) -> list[bytes | None]:
    """The envelopes of up to 100 jobs, in order; `None` where there is none."""
    stored = await client.execute_command("HMGET", keys.body, *ids)
    return [data and split_body(data)[1] for data in stored]


async def page_ids(
    client: Redis, keys: QueueKeys, state: State, start: int, count: int
) -> list[str]:
    """Ids of one state: live ones in the order in which they run, ended ones newest first."""
    key = getattr(keys, STATE_KEYS[state])
    desc = state in _NEWEST_FIRST
    ids: list[bytes] = await client.zrange(key, start, start + count - 1, desc=desc)
    read = late_id if state is State.delayed else bytes.decode
    found = [read(job_id) for job_id in ids]
    if state is State.waiting and len(found) < count:
        alone = await client.zcard(keys.ready)
        at = max(0, start - alone)
        members = await client.zrange(keys.grouped, at, at + count - len(found) - 1)
        found += map(grouped_id, members)
    return found


class Size(NamedTuple):
    """How full a queue is at one moment, by the server's clock."""

    counts: dict[State, int]
    now_ms: int
    oldest_ms: int | None  #: when the first waiting job became free to run


async def size(client: AsyncCommands, keys: QueueKeys, *, now_ms: int = 0) -> Size:
    """How many jobs are in each state, and how long the first one waits."""
    now, oldest, *numbers = await script("size")(client, keys, (now_ms,))
    counts = dict.fromkeys(State, 0) | dict(zip(STATE_KEYS, numbers, strict=True))
    return Size(counts, now, None if oldest < 0 else oldest)


async def levels(client: Redis, keys: QueueKeys) -> dict[int, int]:
    """How many jobs wait at each priority, the first to run first; those of a queue with ageing,
    which stand in line by time, count as priority 0.
    """
    found: Counter[int] = Counter()
    below = 0
    ask: Any = client  # redis-py's hints know no "+inf"
    while head := await ask.zrange(
        keys.ready, below, "+inf", byscore=True, withscores=True, offset=0, num=1
    ):
        level = int(head[0][1] // SPAN)
        below = (level + 1) * SPAN
        found[level] += await client.zcount(keys.ready, level * SPAN, f"({below}")
    for start in count(0, PAGE):
        members = await client.zrange(keys.grouped, start, start + PAGE - 1)
        found.update(int(grouped_score(member) // SPAN) for member in members)
        if len(members) < PAGE:
            return dict(sorted(found.items()))
    return {}


async def memory(client: Redis, keys: QueueKeys) -> int:
    """Bytes of all keys of the queue; large ones are estimated from samples by the server."""
    async with client.pipeline(transaction=False) as pipe:
        for key in keys.all():
            pipe.memory_usage(key)
        found = await pipe.execute()
    return sum(number or 0 for number in found)


async def minute_counters(
    client: Redis, keys: QueueKeys, since_minute: int
) -> dict[int, dict[str, int]]:
    """The counters of every minute from `since_minute` on, over all functions: minute -> name ->
    count; minutes older than three hours may have been moved to their hours.
    """
    minutes: dict[int, dict[str, int]] = {}
    since_ms = since_minute * MINUTE_MS - 1
    for cell in await read_since(client, keys, since_ms, since_ms):
        counters = minutes.setdefault(cell.start_ms // MINUTE_MS, {})
        counters[cell.counter] = counters.get(cell.counter, 0) + cell.number
    return minutes
