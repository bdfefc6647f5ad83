"""Reads what queues hold: single jobs, pages of one state, counts and statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from jobs.keys import QueueKeys
from jobs.states import State
from jobs.store._script import AsyncCommands
from jobs.store.record import (
    Record,
    first_record,
    late_id,
    late_name,
    split_body,
    unpack_record,
)

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

#: How often a job that moves between two round trips is looked up.
_LOOKS = 5

_BY_ID = tuple(state for state in STATE_KEYS if state is not State.delayed)

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


async def read_jobs(client: Redis, keys: QueueKeys, ids: Sequence[str]) -> list[StoredJob | None]:
    """Each of `ids` as it is stored, in order; `None` for one that the queue does not hold.

    It takes two round trips, between which a job may move; one that was there and is in no state
    is looked up again.
    """
    stored: dict[str, StoredJob | None] = {}
    left = list(ids)
    for _ in range(_LOOKS):
        if not left:
            break
        stored |= (found := await _look(client, keys, left))
        left = [job_id for job_id in left if job_id not in found]
    return [stored.get(job_id) for job_id in ids]


async def _look(client: Redis, keys: QueueKeys, ids: Sequence[str]) -> dict[str, StoredJob | None]:
    """What one look finds; a job that moved meanwhile is left out."""
    async with client.pipeline(transaction=True) as pipe:
        pipe.hmget(keys.body, list(ids))
        pipe.hmget(keys.record, list(ids))
        pipe.hmget(keys.result, list(ids))
        for state, name in STATE_KEYS.items():
            if state is not State.delayed:
                pipe.execute_command("ZMSCORE", getattr(keys, name), *ids)
        bodies, records, results, *scores = await pipe.execute()
    found = dict(zip(_BY_ID, scores, strict=True))
    found[State.delayed] = await _due(client, keys, ids, records)
    looked: dict[str, StoredJob | None] = {}
    for n, job_id in enumerate(ids):
        places = {state: column[n] for state, column in found.items()}
        job = _stored(job_id, bodies[n], records[n], results[n], places)
        if job is not None or bodies[n] is None:
            looked[job_id] = job
    return looked


async def _due(
    client: Redis, keys: QueueKeys, ids: Sequence[str], records: Sequence[bytes | None]
) -> list[Any]:
    """When each job is due, for those that are delayed; their names hold their sequence."""
    names = [
        late_name(unpack_record(packed).sequence, job_id) if packed else b"-"
        for job_id, packed in zip(ids, records, strict=True)
    ]
    commands: AsyncCommands = client
    due: list[Any] = await commands.execute_command("ZMSCORE", keys.later, *names)
    return due


def _stored(
    job_id: str,
    body: bytes | None,
    record: bytes | None,
    result: bytes | None,
    scores: Mapping[State, Any],
) -> StoredJob | None:
    found = next(((s, v) for s, v in scores.items() if v is not None), None)
    if body is None or found is None:
        return None
    state, score = found[0], float(found[1])
    enqueued_ms, envelope = split_body(body)
    packed = unpack_record(record) if record else first_record(score, enqueued_ms)
    lines = result.split(b"\n") if result else []
    return StoredJob(job_id, state, score, enqueued_ms, envelope, packed, lines)


async def page_ids(
    client: Redis, keys: QueueKeys, state: State, start: int, count: int
) -> list[str]:
    """Ids of one state: live ones in the order in which they run, ended ones newest first."""
    key = getattr(keys, STATE_KEYS[state])
    desc = state in _NEWEST_FIRST
    ids: list[bytes] = await client.zrange(key, start, start + count - 1, desc=desc)
    read = late_id if state is State.delayed else bytes.decode
    return [read(job_id) for job_id in ids]


async def counts(client: Redis, keys: QueueKeys) -> dict[State, int]:
    """How many jobs are in each state, at one moment."""
    async with client.pipeline(transaction=True) as pipe:
        for name in STATE_KEYS.values():
            pipe.zcard(getattr(keys, name))
        numbers = await pipe.execute()
    return dict.fromkeys(State, 0) | dict(zip(STATE_KEYS, map(int, numbers), strict=True))


async def oldest_ms(client: Redis, keys: QueueKeys) -> tuple[float | None, float]:
    """(when the first waiting job became free to run, now), in ms by the server's clock."""
    async with client.pipeline(transaction=True) as pipe:
        pipe.zrange(keys.ready, 0, 0)
        pipe.time()
        head, (seconds, micros) = await pipe.execute()
    now = seconds * 1000 + micros / 1000
    if not head:
        return None, now
    job = (await read_jobs(client, keys, [head[0].decode()]))[0]
    return (job.record.available_ms or job.enqueued_ms) if job else None, now


async def minute_counters(
    client: Redis, keys: QueueKeys, since_minute: int
) -> dict[int, dict[str, int]]:
    """The counters of every minute from `since_minute` on: minute -> name -> count."""
    minutes: dict[int, dict[str, int]] = {}
    async for name, number in client.hscan_iter(keys.stats, count=1000):
        minute, _, counter = name.decode().partition(":")
        if int(minute) >= since_minute:
            minutes.setdefault(int(minute), {})[counter] = int(number)
    return minutes
