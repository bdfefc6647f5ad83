"""The packed record of a job, as the scripts write it (lua/lib/record.lua)."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

_FORMAT = struct.Struct(">HdHHHBddI")
_PLACE = struct.Struct(">d")
#: Bytes before an envelope: when it was enqueued, in ms since 1970 (until the year 10889).
ENQUEUED_BYTES = 6
#: AGED: the sequence is a moment, by which the job stands in line whatever its priority.
CANCEL_ASKED, HAS_HISTORY, AGED = 1, 2, 8
_NEW = (3, 0, 0, 0, 0, HAS_HISTORY, 0, 0, 0)
#: Sequence numbers of one priority: score = priority * SPAN + sequence.
SPAN = 2**42


class Record(NamedTuple):
    """What the queue itself knows of a job."""

    priority: int
    token: int  #: grows with every claim of the queue; proves whose lease it is
    failures: int  #: failed attempts, compared with `attempts`
    losses: int  #: deliveries whose lease was lost; the poison limit counts them
    interruptions: int  #: attempts given back: by a worker that stopped, a snooze, a 429
    flags: int
    sequence: float  #: place in line among its priority
    available_ms: float  #: when it last became free to run
    size: int = 0  #: bytes of the body, with the result once the job has ended; 0 for unknown

    @property
    def starts(self) -> int:
        """How often the job was handed out and began, whatever came of it."""
        return self.failures + self.losses + self.interruptions

    @property
    def cancel_asked(self) -> bool:
        """Whether somebody asked for this job to stop."""
        return bool(self.flags & CANCEL_ASKED)


def record_fields(data: bytes) -> tuple[Any, ...]:
    """The fields of the record in `data`, in the order of `Record` and quicker to have; those
    of a new job when it is damaged, as the scripts have it.
    """
    return _FORMAT.unpack_from(data) if len(data) >= _FORMAT.size else _NEW


def unpack_record(data: bytes) -> Record:
    """The record in `data`; that of a new job when it is damaged."""
    priority, token, *rest = record_fields(data)
    return Record(priority, int(token), *rest)


class Flow(NamedTuple):
    """What a record says of groups, limits and uniqueness, in the tail behind its fields."""

    group: str = ""
    key: str = ""
    unique: str = ""
    gates: tuple[str, ...] = ()  #: limits of which the job holds a place


def flow_of(data: bytes) -> Flow:
    """The tail of the record in `data`; empty for a plain job."""
    if len(data) <= _FORMAT.size:
        return Flow()
    group, key, unique, gates = data[_FORMAT.size :].decode().split("\0", 3)
    return Flow(group, key, unique, tuple(filter(None, gates.split("\0"))))


def score_of(record: Record) -> float:
    """The place in line of a waiting job with this record."""
    aged = bool(record.flags & AGED)
    return record.sequence if aged else record.priority * SPAN + record.sequence


def pack_record(record: Record) -> bytes:
    """The bytes of `record`; only tests write records from Python."""
    return _FORMAT.pack(*record)


def first_record(score: float, enqueued_ms: float) -> Record:
    """The record of a job that waits for its first claim, which the queue has not written yet."""
    priority, sequence = divmod(score, SPAN)
    return Record(int(priority), 0, 0, 0, 0, 0, sequence, enqueued_ms)


def late_name(sequence: float, job_id: str) -> bytes:
    """The name of a delayed job in `later`: jobs due in one millisecond sort by sequence."""
    return _PLACE.pack(sequence) + job_id.encode()


def late_id(name: bytes) -> str:
    """The id of a job by its name in `later`."""
    return name[_PLACE.size :].decode()


def grouped_id(member: bytes) -> str:
    """The id of a waiting job by its name in `grouped`."""
    return member[member.index(b"\x01") + 1 + _PLACE.size :].decode()


def grouped_score(member: bytes) -> float:
    """The place in line of a waiting job by its name in `grouped`."""
    place: float = _PLACE.unpack_from(member, member.index(b"\x01") + 1)[0]
    return place


def split_body(data: bytes) -> tuple[int, bytes]:
    """(time of enqueue in ms by the server's clock, envelope) of a stored body."""
    return int.from_bytes(data[:ENQUEUED_BYTES]), data[ENQUEUED_BYTES:]
