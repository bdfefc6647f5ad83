"""Every Redis key: its name, its type, and who removes it.

All keys of a queue share the hash tag `{queue}`, so that a queue lives in one slot of a cluster
and a script can declare every key that it touches.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from urllib.parse import quote

from jobs.errors import InvalidOption

PREFIX = "jobs"
SCHEMA_VERSION = 3
MAX_NAME_BYTES = 128
MAX_ID_BYTES = 256
MAX_ONCE_BYTES = 1024
#: Signs that stand for themselves in keys; the others, `{ } : %` and blanks first, are quoted.
_SAFE = "!\"#$&'()*+,-./;<=>?@[\\]^_`|~"

#: arq's name for "no queue named"; here the same as `default`.
ARQ_DEFAULT_QUEUE = "arq:queue"
DEFAULT_QUEUE = "default"


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """The keys of one queue, by the names that the scripts use for them.

    None has a TTL: what is removed is removed by the script or command named here. The two
    `shared_` keys are the only ones that may stand in another slot of a cluster.
    """

    ready: str  #: zset id -> priority * 2**42 + sequence; claim takes from it
    grouped: str  #: zset, all scores 0: group, \x01, 8 bytes of score, id; waiting jobs of a group
    turns: str  #: zset group -> score of its next turn, inf while a limit blocks it; claim
    blocked: str  #: zset, all scores 0: gate, \x01, 8 bytes of turn, group; gone when it opens
    alarms: str  #: zset gate -> ms at which a limit that is a rate may open; claim
    holding: str  #: zset, all scores 0: gate, \x01, id of each job that holds a place; ack
    starts: str  #: zset, all scores 0: gate, \x01, 8 bytes of ms, token; starts that a rate counts
    limits: str  #: hash scope -> its rules, or the reason of a pause; workers and operators write
    later: str  #: zset 8 bytes of sequence + id -> due ms; staging moves what is due to `ready`
    leases: str  #: zset id -> deadline ms of active jobs; ack and rescue remove
    body: str  #: hash id -> 6 bytes of enqueue ms + envelope; with the job
    record: str  #: hash id -> packed record (see store/record.py); with the job
    result: str  #: hash id -> one JSON line per ended attempt; with the job
    completed: str  #: zset id -> finished ms; trimmed by count, age and bytes
    failed: str  #: the same: the dead letters
    cancelled: str  #: the same
    expired: str  #: the same
    parked: str  #: zset id -> parked ms; leaves when a worker knows the function
    expiry: str  #: zset id -> ms at which a kept terminal job is removed; prune
    config: str  #: hash: last sequence, last token, bytes kept for each state; never
    taken: str  #: zset job id -> ms until which the id stays taken; prune
    unique: str  #: hash unique key -> id of the job that has it; its end, prune
    uniques: str  #: zset unique key -> ms until which it holds, inf: until the job ends; the same
    claims: str  #: hash worker (and worker#: naps) -> last request and its answer; leave, beat
    workers: str  #: hash worker -> JSON of its last heartbeat; leave, prune
    schedules: str  #: hash name -> lines: what it did (numbers), its rule, the rest (JSON); removal
    ticks: str  #: hash schedule -> last fired instant, ms; never
    stats: str  #: hash `<minute>:<counter>|<function>`, then by hour, by day and for ever; prune
    progress: str  #: hash id -> JSON of the last progress; with the job
    logs: str  #: hash id -> lines that the job wrote, the newest; with the job
    events: str  #: stream of transitions, bounded; written while somebody listens
    waiters: str  #: hash job id -> inboxes that wait for its end; ack
    rate: str  #: list of the times of the last claims, ms; bounded by the limit
    wake: str  #: list of at most one element; wakes one blocked worker; a pop removes
    shared_holding: str  #: zset as `holding`, of the limits that several queues share
    shared_starts: str  #: zset as `starts`, of the limits that several queues share

    def all(self) -> list[str]:
        """Every key of the queue, for removal and audits."""
        return [getattr(self, field.name) for field in fields(self)]


@lru_cache(maxsize=4096)
def queue_keys(queue: str, prefix: str = PREFIX, *, shared: bool = False) -> QueueKeys:
    """The keys of `queue` (its public name) under `prefix`.

    Args:
        queue: the name.
        prefix: first part of every key.
        shared: whether the queue takes part in limits that several queues share. Their keys
            stand apart from every queue then, which a cluster cannot have in one script.

    Raises:
        InvalidOption: the name is empty, too long, or holds control characters.
    """
    tag = f"{prefix}:{{{quote_name(queue)}}}:"
    names = {field.name: tag + field.name for field in fields(QueueKeys)}
    return QueueKeys(**names | (shared_keys(prefix) if shared else {}))


def shared_keys(prefix: str = PREFIX) -> dict[str, str]:
    """The keys of the limits that several queues share, by the names of `QueueKeys`."""
    return {
        "shared_holding": f"{prefix}:limits:holding",
        "shared_starts": f"{prefix}:limits:starts",
    }


def control_channel(queue: str, prefix: str = PREFIX) -> str:
    """Pub/sub channel on which the workers of a queue hear that a job is to be cancelled."""
    return f"{prefix}:{{{quote_name(queue)}}}:control"


def inbox_channel(client: str, prefix: str = PREFIX) -> str:
    """Pub/sub channel on which one client hears of the ends of the jobs that it waits for."""
    return f"{prefix}:inbox:{client}"


def queues_key(prefix: str = PREFIX) -> str:
    """Set of the names of all queues that ever had a job; nothing removes from it."""
    return f"{prefix}:queues"


def schema_key(prefix: str = PREFIX) -> str:
    """String: the version of this layout; written by the first worker, never removed."""
    return f"{prefix}:schema"


def subscribed_events_key(prefix: str = PREFIX) -> str:
    """Set of the names of the application events that ever had a subscriber; never removed."""
    return f"{prefix}:on"


def subscribers_key(event: str, prefix: str = PREFIX) -> str:
    """Hash function -> queue: who is subscribed to an application event; starts of workers."""
    return f"{prefix}:on:{quote_name(event)}"


def once_key(name: str, prefix: str = PREFIX) -> str:
    """String: the marker of a thing to be done once; the only keys that expire by themselves.

    Raises:
        InvalidOption: the name is empty, not text, or longer than 1024 bytes.
    """
    if not isinstance(name, str) or not name:  # type: ignore[redundant-expr]  # callers without types
        raise InvalidOption(f"what is done once has a name, text, not {name!r}")
    if len(name.encode("utf-8", "replace")) > MAX_ONCE_BYTES:
        raise InvalidOption(f"the name of a marker has at most {MAX_ONCE_BYTES} bytes")
    return f"{prefix}:once:{quote(name, safe=_SAFE, errors='backslashreplace')}"


def quote_name(name: str) -> str:
    """`name` as it stands in a key: `{ } : %`, blanks and all but ASCII percent-encoded.

    So no two names share a key, and no name reaches another queue's keys (FAULTS X23).
    """
    return quote(check_name(name), safe=_SAFE)


def check_name(name: str, what: str = "queue") -> str:
    """`name`, if a queue or schedule can be called so; arq's default name is turned into ours.

    Raises:
        InvalidOption: the name is empty, longer than 128 bytes, or holds control characters.
    """
    if name == ARQ_DEFAULT_QUEUE:
        return DEFAULT_QUEUE
    if type(name) is str:
        return _known_name(name, what)
    return _check_text(name, what, MAX_NAME_BYTES)


@lru_cache(maxsize=4096)
def _known_name(name: str, what: str) -> str:
    """The same, remembered: names are few, and each comes with every job."""
    return _check_text(name, what, MAX_NAME_BYTES)


def check_job_id(job_id: str) -> str:
    """`job_id`, if it can be one: 1 to 256 bytes of any text.

    Raises:
        InvalidOption: it is empty, too long, not text, or not encodable as UTF-8.
    """
    if not isinstance(job_id, str):
        raise InvalidOption(f"a job id is a string, not {type(job_id).__name__}: {job_id!r}")
    if job_id.isascii() and 0 < len(job_id) <= MAX_ID_BYTES:
        return job_id
    try:
        size = len(job_id.encode())
    except UnicodeEncodeError:
        raise InvalidOption(f"the job id {job_id!r} is not valid Unicode text") from None
    if not 0 < size <= MAX_ID_BYTES:
        raise InvalidOption(
            f"a job id has 1 to {MAX_ID_BYTES} bytes, this one has {size}; use a hash of it"
        )
    return job_id


def _check_text(name: str, what: str, limit: int) -> str:
    if not isinstance(name, str) or not name.strip():  # type: ignore[redundant-expr]  # callers without types
        raise InvalidOption(f"the name of a {what} is non-empty text, not {name!r}")
    if not name.isprintable():
        raise InvalidOption(f"the name of a {what} holds no control characters: {name!r}")
    if len(name.encode()) > limit:
        raise InvalidOption(f"the name of a {what} has at most {limit} bytes: {name[:40]!r}…")
    return name
