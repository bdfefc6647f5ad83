"""The whole keyspace of queues as plain Python, and the audit of its invariants."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any

from redis.asyncio import Redis

from jobs.keys import PREFIX, QueueKeys
from jobs.states import TERMINAL, State
from jobs.store.audit_flow import check_flow, read_flow
from jobs.store.record import (
    AGED,
    ENQUEUED_BYTES,
    SPAN,
    Record,
    grouped_id,
    late_id,
    late_name,
    split_body,
    unpack_record,
)
from jobs.store.show import STATE_KEYS
from tests.helpers.servers import ttls_of

Dump = dict[str, Any]

_ZSETS = (
    *STATE_KEYS.values(), "expiry", "taken", "uniques", "turns", "alarms", "grouped", "holding",
)  # fmt: skip
_HASHES = (
    "body", "record", "result", "config", "ticks", "stats", "waiters", "claims", "workers",
    "unique", "limits", "progress", "logs", "schedules",
)  # fmt: skip
_GLOBAL = ("queues", "schema", "limits:holding", "limits:starts", "on")
#: Keys beside the queues whose names go on; markers of what was done once are meant to expire.
_OPEN = ("on:", "once:")
_TAGGED = re.compile(r"^(?P<tag>.*:\{[^{}]*\}:)(?P<name>[a-z]+)$")

#: arq's own health key lives outside the prefix and expires by design.
HEALTH_KEYS = ("*:health-check",)


async def dump(client: Redis, keys: QueueKeys) -> Dump:
    """Every key of a queue by its name, unpacked; empty ones are left out."""
    async with client.pipeline(transaction=True) as pipe:
        for name in _ZSETS:
            pipe.zrange(getattr(keys, name), 0, -1, withscores=True)
        for name in _HASHES:
            pipe.hgetall(getattr(keys, name))
        pipe.lrange(keys.rate, 0, -1)
        pipe.llen(keys.wake)
        *raw, rate, wake = await pipe.execute()
    found: Dump = {"rate": [int(at) for at in rate], "wake": wake}
    for name, pairs in zip(_ZSETS, raw, strict=False):
        read = _MEMBERS.get(name, bytes.decode)
        found[name] = {read(member): _whole(score) for member, score in pairs}
    for name, flat in zip(_HASHES, raw[len(_ZSETS) :], strict=True):
        found[name] = {field.decode(): _value(name, data) for field, data in flat.items()}
    return {name: value for name, value in found.items() if value}


async def changes(client: Redis, keys: QueueKeys, before: Dump) -> Dump:
    """What became different since `before`: name -> its whole new value (empty if it is gone)."""
    after = await dump(client, keys)
    empty: Dump = {name: type(value)() for name, value in (before | after).items()}
    return {
        name: after.get(name, empty[name])
        for name in empty
        if after.get(name, empty[name]) != before.get(name, empty[name])
    }


def _whole(number: float) -> int | float:
    return int(number) if isfinite(number) and number == int(number) else number


def _held(member: bytes) -> str:
    """A place of a limit: gate and job."""
    return member.replace(b"\x01", b" by ").decode()


_MEMBERS = {"later": late_id, "grouped": grouped_id, "holding": _held}


def _value(name: str, data: bytes) -> Any:
    match name:
        case "body":
            return split_body(data)
        case "record":
            return unpack_record(data)._replace(size=0)  # the audit checks it
        case "result":
            return data.split(b"\n")
        case "waiters":
            return sorted(data.decode().split(" "))
        case "claims":
            return _request(data)
        case "schedules":
            line, *documents = data.decode().split("\n")
            return [int(number) for number in line.split()], *documents
        case "workers":
            return struct.unpack_from(">d", data)[0], data[8:]
        case "config" if not data.isdigit():
            return data.decode()
        case _:
            return int(data) if data.lstrip(b"-").isdigit() else data.decode()


def _request(data: bytes) -> int:
    """The first element of the packed answer of a step: the number of the request."""
    kind = data[1]
    sizes = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}
    return kind if kind not in sizes else int(struct.unpack_from(sizes[kind], data, 2)[0])


def untyped(client: Redis) -> Any:
    """The client for hash commands: redis-py's hints know neither bytes nor `await` there."""
    return client


# -- audit ---------------------------------------------------------------------------------


async def audit(
    client: Redis, *, prefix: str = PREFIX, allowed: Iterable[str] = HEALTH_KEYS
) -> list[str]:
    """What is wrong with the keys of this database, a sentence each; an empty list is the aim.

    Every job is in exactly one state and has a body, every lease has a record, kept bytes are
    what is kept, nothing of a queue has a TTL, and no key lies outside the prefix.

    Args:
        client: a client of the database.
        prefix: first part of every key.
        allowed: patterns of foreign keys that may be there.
    """
    findings: list[str] = []
    tags: set[str] = set()
    for key, ttl in sorted((await ttls_of(client)).items()):
        if any(fnmatchcase(key, pattern) for pattern in allowed):
            continue
        match = _TAGGED.match(key) if key.startswith(f"{prefix}:") else None
        known = match is not None and match["name"] in QueueKeys.__dataclass_fields__
        if match is not None and known:
            tags.add(match["tag"])
        elif key.startswith(tuple(f"{prefix}:{name}" for name in _OPEN)):
            pass
        elif key not in {f"{prefix}:{name}" for name in _GLOBAL}:
            findings.append(f"{key} is no key of this layout")
        if ttl >= 0 and not key.startswith(f"{prefix}:once:"):
            findings.append(f"{key} has a TTL")
    for tag in sorted(tags):
        findings += [f"{tag} {text}" for text in await audit_queue(client, _keys(tag))]
    return findings


async def audit_queue(client: Redis, keys: QueueKeys) -> list[str]:
    """The findings of one queue."""
    found = await dump(client, keys)
    late = await client.zrange(keys.later, 0, -1)
    places = {state: found.get(name, {}) for state, name in STATE_KEYS.items()}
    alone = places[State.waiting]
    places[State.waiting] = alone | found.get("grouped", {})
    flow = [(what, list(names)) for what, names in check_flow(await read_flow(client, keys))]
    return [
        *_in_one_state(places, found),
        *_complete(places, found),
        *_in_order(alone, found),
        *(f"{what}: {names}" for what, names in flow if names),
        *_accounts(places, found),
        *_named(late, found),
    ]


def _keys(tag: str) -> QueueKeys:
    return QueueKeys(**{name: tag + name for name in QueueKeys.__dataclass_fields__})


def _in_one_state(places: dict[State, Dump], found: Dump) -> list[str]:
    held = Counter(job_id for ids in places.values() for job_id in ids)
    bodies = found.get("body", {})
    return [
        *(f"{job_id} is in {number} states" for job_id, number in held.items() if number > 1),
        *(f"{job_id} is in a state and has no body" for job_id in held if job_id not in bodies),
        *(f"{job_id} has a body and no state" for job_id in bodies if job_id not in held),
    ]


def _complete(places: dict[State, Dump], found: Dump) -> list[str]:
    bodies, records = found.get("body", {}), found.get("record", {})
    ended = {job_id for state in TERMINAL for job_id in places[state]}
    needy = [State.active, State.delayed, State.parked]
    return [
        *(f"{i} is {s} without a record" for s in needy for i in places[s] if i not in records),
        *(
            f"{i} has a {n} and no body"
            for n in ("record", "result", "progress", "logs")
            for i in found.get(n, {})
            if i not in bodies
        ),
        *(
            f"{i} has an expiry and has not ended"
            for i in found.get("expiry", {})
            if i not in ended
        ),
        *(f"{i} has ended and is waited for" for i in found.get("waiters", {}) if i in ended),
    ]


def _in_order(alone: Dump, found: Dump) -> list[str]:
    records: dict[str, Record] = found.get("record", {})
    last = found.get("config", {}).get("sequence", 0)
    wrong = []
    for job_id, score in alone.items():
        if job_id in records and records[job_id].flags & AGED:
            continue
        priority, sequence = divmod(score, SPAN)
        record = records.get(job_id)
        if record and (record.priority, record.sequence) != (priority, sequence):
            wrong.append(f"{job_id} waits at {priority}/{sequence}, its record says {record}")
        if not 0 < sequence <= last:
            wrong.append(f"{job_id} has the sequence {sequence} of 1 to {last}")
    if len(set(alone.values())) < len(alone):
        wrong.append("two waiting jobs share a place in line")
    return wrong


def _named(late: list[bytes], found: Dump) -> list[str]:
    """Delayed jobs stand in `later` under the sequence of their record, and tokens grow."""
    records: dict[str, Record] = found.get("record", {})
    named = {late_id(name): name for name in late}
    last = found.get("config", {}).get("token", 0)
    return [
        *(
            f"{i} is delayed under another sequence than that of its record"
            for i, name in named.items()
            if i in records and late_name(records[i].sequence, i) != name
        ),
        *(
            f"{i} has the token {r.token} of 0 to {last}"
            for i, r in records.items()
            if not 0 <= r.token <= last
        ),
    ]


def _accounts(places: dict[State, Dump], found: Dump) -> list[str]:
    wrong = []
    for state in sorted(TERMINAL):
        kept = sum(_kept(found, job_id) for job_id in places[state])
        noted = found.get("config", {}).get(f"bytes:{state}", 0)
        if kept != noted:
            wrong.append(f"bytes:{state} is {noted}, but {kept} bytes are kept")
    if found.get("wake", 0) > 1:
        wrong.append(f"the wake list has {found['wake']} elements")
    return wrong


def _kept(found: Dump, job_id: str) -> int:
    """The bytes that a kept job takes in `body` and `result`."""
    body = found.get("body", {}).get(job_id)
    lines = found.get("result", {}).get(job_id)
    return (ENQUEUED_BYTES + len(body[1]) if body else 0) + (len(b"\n".join(lines)) if lines else 0)
