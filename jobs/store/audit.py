"""The audit of a queue: whether what is stored fits together, found without knowing its past.

It reads every id of the queue and sees one moment of it. It writes nothing, and is meant for
tests, for `arq-jobs` commands and for the hour after an accident, not for every minute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import WatchError

from jobs.keys import QueueKeys
from jobs.states import TERMINAL, State
from jobs.store.audit_flow import check_flow, read_flow
from jobs.store.record import (
    AGED,
    SPAN,
    Record,
    grouped_id,
    late_id,
    late_name,
    score_of,
    unpack_record,
)
from jobs.store.schedules import read_stored
from jobs.store.show import STATE_KEYS

if TYPE_CHECKING:
    from redis.asyncio import Redis

#: Ids that a finding names; the number of all of them is always told.
NAMED = 5
#: States whose jobs always have a record: others may never have been claimed.
RECORDED = frozenset({State.active, State.delayed, State.parked})
#: Times that the bytes of a busy state are read before the audit goes on without them.
TRIES = 5
#: Instead of the score of a waiting job that stands in a group; audit_flow looks at those.
IN_GROUP = -1.0


@dataclass(frozen=True)
class Snapshot:
    """The names in a queue at one moment, without bodies and results themselves."""

    states: Mapping[State, Mapping[bytes, float]]
    late_names: frozenset[bytes]
    bodies: frozenset[bytes]
    records: Mapping[bytes, bytes]
    results: frozenset[bytes]
    notes: frozenset[bytes]
    expiry: frozenset[bytes]
    waiters: frozenset[bytes]
    stats: Mapping[bytes, bytes]
    sequence: int
    token: int
    wakes: int

    @property
    def of_state(self) -> dict[bytes, list[State]]:
        """The states in which each id stands."""
        found: dict[bytes, list[State]] = {}
        for state, ids in self.states.items():
            for job_id in ids:
                found.setdefault(job_id, []).append(state)
        return found


async def audit(client: Redis, keys: QueueKeys) -> list[str]:
    """What does not fit together in a queue, in sentences; empty if all is well.

    Checked are: every id is in exactly one state, with a body; no body, result, record, expiry
    or waiter is left without its job; running jobs have a record with a token; places in line,
    times and counters agree with the records; the bytes counted for each terminal state are
    those that are stored; at most one wake-up lies ready; no key has a TTL.

    Args:
        client: any client of the server.
        keys: the queue's.

    Returns:
        One sentence a finding. The bytes of a state that changes all the time may go unchecked.
    """
    snapshot = await _read(client, keys)
    flow = [(what, list(names)) for what, names in check_flow(await read_flow(client, keys))]
    bytes_found = [await _check_bytes(client, keys, state) for state in sorted(TERMINAL)]
    return [
        *_check_states(snapshot),
        *_check_leftovers(snapshot),
        *_check_records(snapshot),
        *_check_counters(snapshot),
        *(f"{what}: {_some(sorted(names))}" for what, names in flow if names),
        *filter(None, bytes_found),
        *await _check_schedules(client, keys),
        *await _check_ttls(client, keys),
    ]


async def _read(client: Redis, keys: QueueKeys) -> Snapshot:
    async with client.pipeline(transaction=True) as pipe:
        for name in STATE_KEYS.values():
            pipe.zrange(getattr(keys, name), 0, -1, withscores=True)
        pipe.zrange(keys.grouped, 0, -1)
        pipe.hkeys(keys.body)
        pipe.hgetall(keys.record)
        pipe.hkeys(keys.result)
        pipe.hkeys(keys.progress)
        pipe.hkeys(keys.logs)
        pipe.zrange(keys.expiry, 0, -1)
        pipe.hkeys(keys.waiters)
        pipe.hgetall(keys.stats)
        pipe.hmget(keys.config, ["sequence", "token"])
        pipe.llen(keys.wake)
        (
            *sets,
            grouped,
            bodies,
            records,
            results,
            progress,
            logs,
            expiry,
            waiters,
            stats,
            last,
            wakes,
        ) = await pipe.execute()
    sequence, token = (int(number or 0) for number in last)
    states = {state: dict(ids) for state, ids in zip(STATE_KEYS, sets, strict=True)}
    names = states[State.delayed]
    aside = {grouped_id(member).encode(): IN_GROUP for member in grouped}
    return Snapshot(
        states={
            **states,
            State.waiting: states[State.waiting] | aside,
            State.delayed: {late_id(name).encode(): at for name, at in names.items()},
        },
        late_names=frozenset(names),
        bodies=frozenset(bodies),
        records=records,
        results=frozenset(results),
        notes=frozenset([*progress, *logs]),
        expiry=frozenset(expiry),
        waiters=frozenset(waiters),
        stats=stats,
        sequence=sequence,
        token=token,
        wakes=wakes,
    )


def _check_states(snapshot: Snapshot) -> list[str]:
    """Exactly one state, with a body; and no body without a state."""
    found = snapshot.of_state
    twice = {i: states for i, states in found.items() if len(states) > 1}
    several = [f"{_text(i)} ({', '.join(states)})" for i, states in twice.items()]
    return _findings(
        ("in several states", several),
        ("in a state without a body", found.keys() - snapshot.bodies),
        ("with a body and in no state", snapshot.bodies - found.keys()),
    )


def _check_leftovers(snapshot: Snapshot) -> list[str]:
    """Nothing belongs to a job that is not there, or not there any more."""
    ended = {i for state in TERMINAL for i in snapshot.states[state]}
    return _findings(
        ("with a record and no body", snapshot.records.keys() - snapshot.bodies),
        ("with a result and no body", snapshot.results - snapshot.bodies),
        ("with progress or a log and no body", snapshot.notes - snapshot.bodies),
        ("ended without a history", ended - snapshot.results),
        ("to be pruned that have not ended", snapshot.expiry - ended),
        ("awaited that are not there", snapshot.waiters - snapshot.bodies),
        ("awaited that have ended", snapshot.waiters & ended),
    )


def _check_records(snapshot: Snapshot) -> list[str]:
    """Records say the same as the sets in which their jobs stand."""
    records = {i: unpack_record(packed) for i, packed in snapshot.records.items()}
    states = snapshot.states
    delayed = {i: at for i, at in states[State.delayed].items() if i in records}
    return _findings(
        (
            "without the record that their state needs",
            {i for state in RECORDED for i in states[state]} - records.keys(),
        ),
        (
            "waiting at another place than their record says",
            [i for i, at in states[State.waiting].items() if _is_misplaced(at, records.get(i))],
        ),
        (
            "delayed to another time than their record says",
            [i for i, at in delayed.items() if records[i].available_ms != at],
        ),
        (
            "delayed under another name than their record says",
            [i for i in delayed if _late_name(i, records[i]) not in snapshot.late_names],
        ),
        *_token_checks(snapshot, records),
    )


def _token_checks(
    snapshot: Snapshot, records: Mapping[bytes, Record]
) -> Iterator[tuple[str, Iterable[bytes]]]:
    """No two claims have one token, and none is greater than the last one given out."""
    held = {i: records[i].token for i in snapshot.states[State.active] if i in records}
    holders = Counter(held.values())
    yield "running without a token", [i for i, token in held.items() if token < 1]
    yield "running with the token of another job", [i for i, t in held.items() if holders[t] > 1]
    yield (
        "with a token that was not given out yet",
        [i for i, record in records.items() if record.token > snapshot.token],
    )


def _late_name(job_id: bytes, record: Record) -> bytes:
    return late_name(record.sequence, job_id.decode())


def _is_misplaced(score: float, record: Record | None) -> bool:
    return record is not None and score not in (IN_GROUP, score_of(record))


def _is_aged(packed: bytes | None) -> bool:
    return packed is not None and bool(unpack_record(packed).flags & AGED)


def _check_counters(snapshot: Snapshot) -> list[str]:
    in_line = snapshot.states[State.waiting].items()
    waiting = {i: score for i, score in in_line if score != IN_GROUP}
    records = snapshot.records
    ahead = [
        i
        for i, score in waiting.items()
        if score % SPAN > snapshot.sequence and not _is_aged(records.get(i))
    ]
    places = Counter(waiting.values())
    shared = [i for i, score in waiting.items() if places[score] > 1]
    broken = [name for name, number in snapshot.stats.items() if not number.isdigit()]
    findings = _findings(
        ("waiting at a place that was not given out yet", ahead),
        ("waiting at a place of another job", shared),
    )
    if broken:
        findings.append(f"{len(broken)} counters are no counts: {_some(broken)}")
    if snapshot.wakes > 1:
        findings.append(f"{snapshot.wakes} wake-ups lie ready, at most one may")
    return findings


async def _check_bytes(client: Redis, keys: QueueKeys, state: State) -> str | None:
    """Compare the bytes that are counted for a terminal state with those that are stored."""
    zset = getattr(keys, STATE_KEYS[state])
    async with client.pipeline(transaction=True) as pipe:
        for _ in range(TRIES):
            await pipe.watch(zset, keys.config)
            ids = await _immediate(pipe.zrange(zset, 0, -1))
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py has no types here
            pipe.hget(keys.config, f"bytes:{state}")
            for job_id in ids:
                pipe.execute_command("HSTRLEN", keys.body, job_id)
                pipe.execute_command("HSTRLEN", keys.result, job_id)
                pipe.execute_command("HGET", keys.record, job_id)
            try:
                counted, *found = await pipe.execute()
            except WatchError:
                continue
            stored = [one + other for one, other in zip(found[::3], found[1::3], strict=True)]
            return _compare_bytes(state, int(counted or 0), stored, found[2::3])
    return None


def _compare_bytes(
    state: State, counted: int, stored: list[int], records: list[bytes | None]
) -> str | None:
    if counted != sum(stored):
        return f"{counted} bytes are counted as {state}, {sum(stored)} are stored"
    noted = [unpack_record(record).size if record else 0 for record in records]
    wrong = sum(size not in (0, true) for size, true in zip(noted, stored, strict=True))
    return f"{wrong} jobs {state} with another size than their record says" if wrong else None


async def _immediate(call: Any) -> list[bytes]:
    """The answer of a command on a watching pipeline, which redis-py types as the pipeline."""
    answer: list[bytes] = await call
    return answer


async def _check_schedules(client: Redis, keys: QueueKeys) -> list[str]:
    """Every schedule can be read, and waits for no instant that is not decided."""
    stored: Mapping[bytes, bytes] = await client.execute_command("HGETALL", keys.schedules)  # type: ignore[no-untyped-call]  # redis-py has no types here
    unreadable, ahead = [], []
    for name, value in stored.items():
        try:
            state = read_stored(name.decode(), value).state
        except (TypeError, ValueError):
            unreadable.append(name)
        else:
            ahead += [name] if state.held > state.after else []
    found = {"cannot be read": unreadable, "hold a run that has not come": ahead}
    return [
        f"{len(names)} schedules {what}: {_some(names)}" for what, names in found.items() if names
    ]


async def _check_ttls(client: Redis, keys: QueueKeys) -> list[str]:
    names = keys.all()
    async with client.pipeline(transaction=True) as pipe:
        for name in names:
            pipe.pttl(name)
        ttls = await pipe.execute()
    return [
        f"the key {name} expires in {ttl} ms, but nothing of a queue may"
        for name, ttl in zip(names, ttls, strict=True)
        if ttl >= 0
    ]


def _findings(*checks: tuple[str, Iterable[bytes | str]]) -> list[str]:
    """A sentence for each check that found something."""
    found = [(what, sorted(map(_text, ids))) for what, ids in checks]
    return [f"{len(ids)} jobs {what}: {_some(ids)}" for what, ids in found if ids]


def _some(names: Iterable[bytes | str]) -> str:
    texts = [_text(name) for name in names]
    return ", ".join(texts[:NAMED]) + (" …" if len(texts) > NAMED else "")


def _text(name: bytes | str) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name
