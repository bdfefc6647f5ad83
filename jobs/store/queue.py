"""The life of jobs in one queue: enqueue, step (ack, stage, claim), renew, rescue, park, prune."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from jobs.keys import QueueKeys
from jobs.store._script import MAX_ITEMS, AsyncCommands, SyncCommands, script
from jobs.store.record import Record, split_body, unpack_record
from jobs.store.stats import DAYS_MS, HOURS_MS, MINUTES_MS

#: Retention as the scripts take it: age in ms, count, bytes; -1 for no limit.
Limits = tuple[int, int, int]


class Verb(StrEnum):
    """How an attempt ends, in the letters of lua/lib/ack.lua."""

    complete = "c"
    fail = "f"
    cancel = "x"
    expire = "e"
    retry = "r"
    snooze = "s"
    interrupt = "i"
    park = "p"
    release = "u"  #: it never began: back to its place, as if it had not been claimed
    limited = "l"  #: back to its place, and the queue gives out nothing for the delay


_LETTERS = {verb: verb.encode() for verb in Verb}
#: Token, verb, delay in ms, number of the policy, run time in ms, number of the function, as
#: lua/lib/ack.lua reads them.
_FACTS = struct.Struct(">dcdHdH")
#: Instead of the time for which an id stays taken: the id was made for this job alone.
NEW_ID = -1


class Once(StrEnum):
    """How long a unique key is held, in the letters of lua/submit.lua."""

    unfinished = "u"  #: until the job ends
    period = "t"  #: for a time from its enqueue, whatever becomes of the job
    leading = "d"  #: until nobody asked for a time; the first job runs at once
    trailing = "p"  #: until nobody asked for a time; then the job runs, with the last payload
    following = "n"  #: until the job ends; while it runs, one more may wait behind it


class Flow(NamedTuple):
    """What makes a job wait for others, or stand for them."""

    group: str = ""  #: jobs of a group take turns with other groups
    key: str = ""  #: whose limits hold
    unique: str = ""
    once: Once = Once.unfinished
    once_ms: int = 0
    most_ms: int = 0  #: longest delay of a trailing job, or time of a leading one; 0 for no limit


class Entry(NamedTuple):
    """One job on its way into a queue."""

    id: str
    body: bytes
    priority: int
    delay_ms: int = 0
    due_ms: int = 0
    id_ttl_ms: int = 0
    flow: Flow | None = None


class Added(StrEnum):
    """What became of an entry."""

    added = "+"
    held = "="
    taken = "-"
    not_unique = "u"


_ADDED = {added.value: added for added in Added}
_PLAIN = Flow()
_ONCE = {once: once.encode() for once in Once}
#: Priority, delay and due in ms, as lua/enqueue.lua reads them; lua/submit.lua also reads how long
#: the id stays taken, how the job is unique and the ms of that.
_PLACE = struct.Struct(">Hdd")
_ENTRY = struct.Struct(">Hdddcdd")


class Ack(NamedTuple):
    """The end of one attempt."""

    id: str
    token: int
    verb: Verb
    delay_ms: int
    keep: Limits
    run_ms: int
    line: bytes
    function: str = ""


class Claimed(NamedTuple):
    """One job that is now leased to the caller."""

    id: str
    enqueued_ms: float
    body: bytes
    packed: bytes

    @property
    def record(self) -> Record:
        """What the queue knows of the job."""
        return unpack_record(self.packed)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a worker sends in one step."""

    worker: str
    request: int
    lease_ms: int
    want: int
    acks: Sequence[Ack] = ()
    rate_limit: int = 0
    rate_period_ms: int = 0
    quiet: bool = False  #: do nothing at all unless a job waits; the answer has `now_ms` 0 then


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker gets from one step; times are ms, -1 stands for none."""

    now_ms: int
    next_due_ms: int
    waiting: int
    rate_wait_ms: int
    accepted: str
    jobs: list[Claimed] = field(default_factory=list)


async def enqueue(
    client: AsyncCommands,
    keys: QueueKeys,
    entries: Sequence[Entry],
    *,
    again: bool,
    now_ms: int = 0,
) -> list[Added]:
    """Add up to 100 jobs in one round trip; the answers are in the order of `entries`.

    `again` says that the same call is repeated because its answer was lost.
    """
    if are_plain(entries):
        return await enqueue_plain(client, keys, entries, again=again, now_ms=now_ms)
    return [added for added, _ in await submit(client, keys, entries, again=again, now_ms=now_ms)]


def are_plain(entries: Sequence[Entry]) -> bool:
    """Whether all have ids that were made for them and nothing of groups and uniqueness."""
    return all(entry.id_ttl_ms == NEW_ID and entry.flow is None for entry in entries)


async def enqueue_plain(
    client: AsyncCommands,
    keys: QueueKeys,
    entries: Sequence[Entry],
    *,
    again: bool,
    now_ms: int = 0,
) -> list[Added]:
    """The same, quicker, where all `are_plain`."""
    rest: list[Any] = []
    for job_id, body, *place, _, _ in entries:
        rest += (job_id, body, _PLACE.pack(*place))
    answer = await script("enqueue")(client, keys, (now_ms, int(again)), rest)
    return [_ADDED[letter] for letter in answer.decode()]


async def submit(
    client: AsyncCommands,
    keys: QueueKeys,
    entries: Sequence[Entry],
    *,
    again: bool,
    now_ms: int = 0,
) -> list[tuple[Added, str]]:
    """The same with all that an entry may ask for.

    Returns:
        (what became of it, the id of the job that has its unique key, or "") for each entry.
    """
    rest: list[Any] = []
    for job_id, body, *numbers, flow in entries:
        group, key, unique, once, once_ms, most_ms = flow or _PLAIN
        facts = _ENTRY.pack(*numbers, _ONCE[once], once_ms, most_ms)
        rest += (job_id, body, group, key, unique, facts)
    reply = await script("submit")(client, keys, (now_ms, int(again)), rest)
    answers = [_ADDED[letter] for letter in reply[0].decode()]
    holders = iter(reply[1:])
    return [(a, next(holders).decode() if a is Added.not_unique else "") for a in answers]


async def step(client: AsyncCommands, keys: QueueKeys, turn: Turn, *, now_ms: int = 0) -> Answer:
    """Write acks, stage what is due and claim up to `turn.want` jobs, in one round trip."""
    policies: dict[Limits, int] = {}
    functions: dict[str, int] = {}
    rest: list[Any] = []
    for ack in turn.acks:
        policy = policies.setdefault(ack.keep, len(policies) + 1)
        of = functions.setdefault(ack.function, len(functions) + 1)
        facts = _FACTS.pack(ack.token, _LETTERS[ack.verb], ack.delay_ms, policy, ack.run_ms, of)
        rest += (ack.id, facts, ack.line)
    tables = [*(number for keep in policies for number in keep), *functions]
    args = (
        now_ms,
        turn.worker,
        turn.request,
        turn.lease_ms,
        min(turn.want, MAX_ITEMS),
        turn.rate_limit,
        turn.rate_period_ms,
        int(turn.quiet),
        len(policies),
        len(functions),
        len(turn.acks),
    )
    return _answer(await script("step")(client, keys, args, tables + rest))


def _answer(reply: list[Any]) -> Answer:
    now, due, waiting, wait, accepted = reply[:5]
    jobs = []
    for at in range(5, len(reply), 3):
        enqueued_ms, body = split_body(reply[at + 1])
        jobs.append(Claimed(reply[at].decode(), enqueued_ms, body, reply[at + 2]))
    return Answer(now, due, waiting, wait, accepted.decode(), jobs)


async def step_when_woken(
    lane: Lane, keys: QueueKeys, turn: Turn, timeout_s: float
) -> tuple[bool, Answer]:
    """A step that the server makes at the moment of a wake-up, or when the time is over.

    It stands behind the blocking call in the pipeline of one connection: the server reads it when
    that call is over. So a job is on its way as soon as it is enqueued, without a further round
    trip, and no wake-up is taken by a worker that does not come to its step.

    Returns:
        (whether there was a wake-up, the answer of the step).
    """
    woken = await lane.begin("BLPOP", keys.wake, timeout_s)
    try:
        answer = await step(lane, keys, turn)
    except BaseException:
        woken.cancel()
        raise
    return await woken is not None, answer


class Lane(AsyncCommands, Protocol):
    """A connection on which calls may follow each other without waiting for answers."""

    async def begin(self, *args: Any) -> asyncio.Future[Any]:
        """Send one command; its future answer."""


class Verdict(StrEnum):
    """What `renew` says of one lease."""

    lost = "0"
    extended = "1"
    cancel_asked = "2"


def renew(
    client: SyncCommands, keys: QueueKeys, held: Sequence[tuple[str, int]], lease_ms: int
) -> list[Verdict]:
    """Extend up to 100 leases, given as (id, token); blocking, for the lease thread."""
    rest = [value for pair in held for value in pair]
    answer: bytes = script("renew").call(client, keys, (0, lease_ms), rest)
    return [Verdict(letter) for letter in answer.decode()]


async def oldest_leases(
    client: AsyncCommands, keys: QueueKeys, count: int = 1000
) -> dict[str, int]:
    """The leases that end first: id -> deadline in ms."""
    pairs = await client.execute_command("ZRANGE", keys.leases, 0, count - 1, "WITHSCORES")
    return {job_id.decode(): int(float(score)) for job_id, score in _pairs(pairs)}


async def rescue(  # noqa: PLR0913 -- the policy of the queue, each part named at the call
    client: AsyncCommands,
    keys: QueueKeys,
    seen: Iterable[tuple[str, int]],
    *,
    most_losses: int,
    keep: Limits,
    line: bytes,
    keep_cancelled: Limits | None = None,
    now_ms: int = 0,
) -> dict[str, str]:
    """Take back jobs whose deadline is still the one that was `seen`: up to 100 (id, deadline).

    `keep` is the retention of those that fail by it, `keep_cancelled` (the same by default) of
    those that somebody had asked to stop.

    Returns:
        What became of each id: "waiting", "failed" (poison), "cancelled", or "alive".
    """
    pairs = list(seen)
    rest = [value for pair in pairs for value in pair]
    args = (now_ms, most_losses, *keep, *(keep_cancelled or keep), line)
    answer = await script("rescue")(client, keys, args, rest)
    words = {"0": "alive", "1": "waiting", "2": "failed", "3": "cancelled"}
    return {
        job_id: words[letter] for (job_id, _), letter in zip(pairs, answer.decode(), strict=True)
    }


async def parked_page(
    client: AsyncCommands, keys: QueueKeys, start: int
) -> list[tuple[str, bytes | None]]:
    """(id, body) of up to 100 parked jobs, oldest first, from position `start`."""
    ids = await client.execute_command("ZRANGE", keys.parked, start, start + MAX_ITEMS - 1)
    if not ids:
        return []
    bodies = await client.execute_command("HMGET", keys.body, *ids)
    return [
        (job_id.decode(), body and split_body(body)[1])
        for job_id, body in zip(ids, bodies, strict=True)
    ]


async def unpark(client: AsyncCommands, keys: QueueKeys, ids: Sequence[str]) -> int:
    """Make up to 100 parked jobs wait again; returns how many were parked."""
    moved: int = await script("unpark")(client, keys, (0,), ids)
    return moved


async def prune(
    client: AsyncCommands, keys: QueueKeys, *, cursor: str = "0", now_ms: int = 0
) -> tuple[int, str]:
    """Remove what is over its age; (jobs removed, cursor of the next call, "0" at the end)."""
    args = (now_ms, MINUTES_MS, HOURS_MS, DAYS_MS, cursor)
    removed, after = await script("prune")(client, keys, args)
    return removed, after.decode()


def _pairs(flat: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    """Pairs of a reply that is flat in RESP2; some clients pair the scores already."""
    if flat and isinstance(flat[0], (tuple, list)):
        return flat
    return zip(flat[::2], flat[1::2], strict=True)
