"""The audit of groups, limits and unique keys: whether what is stored fits together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import pack
from typing import TYPE_CHECKING

from jobs.keys import QueueKeys
from jobs.store.record import Flow, flow_of, grouped_id, score_of, unpack_record

if TYPE_CHECKING:
    from redis.asyncio import Redis

#: Between a group or a gate and what stands behind it.
SEPARATOR = b"\x01"


@dataclass(frozen=True)
class FlowSnapshot:
    """What is stored of groups, limits and unique keys at one moment."""

    grouped: list[bytes]
    turns: dict[bytes, float]
    blocked: list[bytes]
    holding: list[bytes]
    unique: dict[bytes, bytes]
    uniques: dict[bytes, float]
    records: dict[bytes, bytes]
    live: frozenset[bytes]  #: ids that have a body and have not ended


async def read_flow(client: Redis, keys: QueueKeys) -> FlowSnapshot:
    """The snapshot of a queue."""
    ended = (keys.completed, keys.failed, keys.cancelled, keys.expired)
    async with client.pipeline(transaction=True) as pipe:
        pipe.zrange(keys.grouped, 0, -1)
        pipe.zrange(keys.turns, 0, -1, withscores=True)
        pipe.zrange(keys.blocked, 0, -1)
        pipe.zrange(keys.holding, 0, -1)
        pipe.hgetall(keys.unique)
        pipe.zrange(keys.uniques, 0, -1, withscores=True)
        pipe.hgetall(keys.record)
        pipe.hkeys(keys.body)
        for key in ended:
            pipe.zrange(key, 0, -1)
        found = await pipe.execute()
    grouped, turns, blocked, holding, unique, uniques, records, bodies = found[:8]
    return FlowSnapshot(
        grouped,
        dict(turns),
        blocked,
        holding,
        unique,
        dict(uniques),
        records,
        frozenset(bodies).difference(*map(frozenset, found[8:])),
    )


def check_flow(snapshot: FlowSnapshot) -> Iterator[tuple[str, Iterable[bytes]]]:
    """(what is wrong, the names of which) for each check."""
    groups = {member.split(SEPARATOR, 1)[0] for member in snapshot.grouped}
    stuck = {member.split(SEPARATOR, 1)[1][8:] for member in snapshot.blocked}
    yield "groups have jobs and no turn", groups - snapshot.turns.keys()
    yield "groups have a turn and no jobs", _open(snapshot) - groups
    yield "groups are blocked by no limit", groups & _shut(snapshot) - stuck
    yield "waiting jobs stand elsewhere than their record says", _misplaced(snapshot)
    yield from _check_places(snapshot)
    yield from _check_unique(snapshot)


def _open(snapshot: FlowSnapshot) -> set[bytes]:
    return {group for group, turn in snapshot.turns.items() if turn != math.inf}


def _shut(snapshot: FlowSnapshot) -> set[bytes]:
    return {group for group, turn in snapshot.turns.items() if turn == math.inf}


def _misplaced(snapshot: FlowSnapshot) -> list[bytes]:
    return [m for m in snapshot.grouped if not _stands_right(m, snapshot.records)]


def _stands_right(member: bytes, records: dict[bytes, bytes]) -> bool:
    job_id = grouped_id(member)
    packed = records.get(job_id.encode())
    if packed is None:
        return False
    name = flow_of(packed).group.encode() + SEPARATOR
    return member == name + _eight(score_of(unpack_record(packed))) + job_id.encode()


def _eight(score: float) -> bytes:
    return pack(">d", score)


def _check_places(snapshot: FlowSnapshot) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Every place of a limit is held by a job that says so, and the reverse."""
    held = set(snapshot.holding)
    said = {
        f"{gate}\x01".encode() + job_id
        for job_id, flow in _flows(snapshot)
        for gate in flow.gates
        if gate != "n" and not gate.startswith("s:")
    }
    yield "places of limits are held by nobody", held - said
    yield "jobs say that they hold places which they do not", said - held


def _flows(snapshot: FlowSnapshot) -> Iterator[tuple[bytes, Flow]]:
    """The tails of jobs that may hold something: those that run or wait for another attempt."""
    for job_id, packed in snapshot.records.items():
        if job_id in snapshot.live:
            yield job_id, flow_of(packed)


def _check_unique(snapshot: FlowSnapshot) -> Iterator[tuple[str, Iterable[bytes]]]:
    """A key that is held until its job ends is that of a job which has not ended."""
    until_end = snapshot.unique.keys() - snapshot.uniques.keys()
    yield (
        "times of unique keys are there without the keys",
        snapshot.uniques.keys() - snapshot.unique.keys(),
    )
    yield (
        "unique keys are held by jobs that are not there",
        [key for key in until_end if snapshot.unique.get(key) not in snapshot.live],
    )
