"""Why a job is not running, in sentences, and when it will.

Everything that may keep it is read at one moment; what is measured (how fast the queue is worked
off, how long jobs run) comes from the counters of the last minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from math import ceil
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from jobs.clock import from_ms
from jobs.codec import Deserializer, decode_body
from jobs.durations import format_ms
from jobs.errors import JobNotFound, UnreadableBody, did_you_mean
from jobs.keys import queue_keys
from jobs.metrics import Pace, read_pace
from jobs.states import TERMINAL, State
from jobs.store import limits
from jobs.store.explain import GateView, Obstacles, read_obstacles
from jobs.store.pausing import Note
from jobs.store.workers import WorkerInfo

if TYPE_CHECKING:
    from redis.asyncio import Redis

SECOND_MS = 1000
SHOWN_IDS = 5
#: What a job takes at least, with all that the worker does for it.
LEAST_RUN_MS = 1.0


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that keeps a job from running.

    `code` is for programs: ended, active, parked, scheduled, paused, function_paused, closed,
    rate, concurrency, order, unique, no_worker, unknown_function, workers_quiet, workers_stuck,
    workers_busy, behind, next. `facts` are the numbers and ids in `text`. `until_ms` is the
    moment at which it ends by itself, if that is known; `blocks` is whether it lasts until
    somebody or something else ends it.
    """

    code: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)
    until_ms: float | None = None
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job is not running, the weightiest reason first.

    `ahead` is how many jobs come before it (`None` if it does not wait, or a limit holds its
    group back). `starts_at` is an estimate: the jobs ahead take as long as jobs took in the last
    minutes, on the slots of the live workers; `None` when something must change first, or
    nothing was measured.
    """

    id: str
    queue: str
    function: str
    state: State
    at: datetime
    reasons: list[Reason]
    ahead: int | None
    starts_at: datetime | None

    @property
    def summary(self) -> str:
        """The weightiest reason."""
        return self.reasons[0].text

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self) | {"summary": self.summary}


async def explain_job(
    client: Redis, queue: str, prefix: str, job_id: str, deserializer: Deserializer | None = None
) -> Explanation:
    """Why a job of this queue is not running.

    Raises:
        JobNotFound: the queue does not hold it.
    """
    keys = queue_keys(queue, prefix)
    rules = await limits.read_rules(client, keys)
    if any("@" in text for scope, text in rules.items() if not scope.startswith("p:")):
        keys = queue_keys(queue, prefix, shared=True)  # these stand in another slot of a cluster
    seen = await read_obstacles(client, keys, job_id)
    if seen is None:
        raise JobNotFound(queue, job_id)
    try:
        function = decode_body(job_id, seen.body, deserializer).function
    except UnreadableBody:
        function = "?"
    return explain(job_id, queue, function, seen, await read_pace(client, keys, seen.now_ms))


def explain(job_id: str, queue: str, function: str, seen: Obstacles, pace: Pace) -> Explanation:
    """Why a job is not running, from what was seen of it at one moment."""
    reasons = list(_reasons(job_id, queue, function, seen))
    ahead = _ahead(seen)
    if not reasons:
        reasons.append(_next(ahead))
    elif ahead:
        reasons.append(_behind(seen, ahead))
    starts_ms = _starts_ms(seen, reasons, ahead, pace)
    return Explanation(
        id=job_id,
        queue=queue,
        function=function,
        state=seen.state,
        at=from_ms(seen.now_ms),
        reasons=reasons,
        ahead=ahead,
        starts_at=None if starts_ms is None else from_ms(starts_ms),
    )


def _reasons(job_id: str, queue: str, function: str, seen: Obstacles) -> Iterator[Reason]:
    """All but the place in line, from those that need somebody to those that end by themselves."""
    if seen.state in TERMINAL:
        yield _ended(seen)
        return
    if seen.state is State.active:
        yield _active(job_id, seen)
        return
    if seen.state is State.parked:
        yield _parked(seen)
    if seen.paused is not None:
        yield _paused("paused", f"the queue {queue} is paused", seen.paused)
    if seen.function_paused is not None:
        yield _paused("function_paused", f"the function {function} is paused", seen.function_paused)
    yield from _of_workers(queue, function, seen)
    if seen.state is State.delayed:
        yield _scheduled(seen)
    elif seen.state is State.waiting:
        yield from _of_limits(job_id, queue, seen)
        yield from _busy(seen)


# -- states --------------------------------------------------------------------------------


def _ended(seen: Obstacles) -> Reason:
    last = from_json(seen.history[-1]) if seen.history and seen.history[-1] else {}
    error = last.get("error") or {}
    why = error.get("type", "") + (f": {error['message']}" if error.get("message") else "")
    why = why or str(last.get("reason") or "")
    at = from_ms(seen.score)
    text = f"it is {seen.state} since {_clock(at)}" + (f": {why}" if why else "")
    return Reason("ended", text, {"state": seen.state, "at": at, "why": why}, blocks=True)


def _active(job_id: str, seen: Obstacles) -> Reason:
    for worker in seen.workers:
        for job in worker.data.get("jobs", ()):
            if job["id"] == job_id:
                since = from_ms(job["since_ms"])
                facts = {"worker": worker.id, "since": since}
                return Reason("active", f"it runs on {worker.id} since {_clock(since)}", facts)
    left_ms = seen.score - seen.now_ms
    if left_ms < 0:
        text = f"its worker has not renewed its lease for {_span(-left_ms)}: it will be taken back"
    else:
        text = f"a worker has claimed it; its lease holds for {_span(left_ms)} without renewal"
    return Reason("active", text, {"lease_until": from_ms(seen.score)})


def _parked(seen: Obstacles) -> Reason:
    last = from_json(seen.history[-1]) if seen.history and seen.history[-1] else {}
    why = str(last.get("reason") or "no worker can run or read it")
    return Reason("parked", f"it is parked: {why}", {"why": why}, blocks=True)


def _scheduled(seen: Obstacles) -> Reason:
    due = from_ms(seen.score)
    failures = seen.record.failures
    again = f", after {failures} failed attempt{'s' * (failures > 1)}" if failures else ""
    left_ms = seen.score - seen.now_ms
    text = (
        f"it is scheduled for {_clock(due)}, in {_span(left_ms)}{again}"
        if left_ms > 0
        else f"it is due since {_clock(due)} and about to wait in line{again}"
    )
    return Reason("scheduled", text, {"due": due, "failures": failures}, until_ms=seen.score)


# -- switches and limits -------------------------------------------------------------------


def _paused(code: str, what: str, note: Note) -> Reason:
    at = from_ms(note.at_ms)
    text = f"{what} since {_clock(at)}" + (f": {note.reason}" if note.reason else "")
    return Reason(code, text, {"since": at, "reason": note.reason}, blocks=True)


def _of_limits(job_id: str, queue: str, seen: Obstacles) -> Iterator[Reason]:
    if seen.closed_ms > seen.now_ms:
        yield _closed(queue, seen)
    for gate in seen.gates:
        if gate.is_full and job_id not in gate.holders:
            yield _full(gate, seen)


def _closed(queue: str, seen: Obstacles) -> Reason:
    left_ms = seen.closed_ms - seen.now_ms
    text = f"a job told the queue {queue} to slow down (429); it goes on in {_span(left_ms)}"
    return Reason("closed", text, {"until": from_ms(seen.closed_ms)}, until_ms=seen.closed_ms)


def _full(gate: GateView, seen: Obstacles) -> Reason:
    facts = {"gate": gate.gate, "limit": gate.limit, "used": gate.used, "held_by": gate.holders}
    held = ", ".join(gate.holders[:SHOWN_IDS])
    more = f" and {gate.used - SHOWN_IDS} more" if gate.used > SHOWN_IDS else ""
    match gate.gate[:2], gate.kind:
        case _, "r":
            facts |= {"period_ms": gate.period_ms}
            left_ms = (gate.opens_ms or seen.now_ms) - seen.now_ms
            text = (
                f"the rate limit of {gate_text(gate.gate)} ({gate.limit} in "
                f"{format_ms(gate.period_ms)}) is used up and frees in {_span(left_ms)}"
            )
            return Reason("rate", text, facts, until_ms=gate.opens_ms)
        case "o:", _:
            text = f"the jobs of key {gate.gate[2:]} run in order, and {held} is not over"
            return Reason("order", text, facts)
        case "u:", _:
            text = f"another job with the same unique key runs: {held}"
            return Reason("unique", text, facts)
        case _:
            text = (
                f"the concurrency limit of {gate_text(gate.gate)} is full: {gate.used} of "
                f"{gate.limit} run, held by {held}{more}"
            )
            return Reason("concurrency", text, facts)


def gate_text(gate: str) -> str:
    """What a gate is the limit of, in words."""
    kind, _, rest = gate.partition(":")
    match kind:
        case "q":
            return "the queue"
        case "f":
            return f"the function {rest}"
        case "k":
            return f"key {rest}"
        case "fk":
            function, _, key = rest.partition("\2")
            return f"key {key} of the function {function}"
        case "s":
            return f"{rest} (shared)"
        case _:
            return gate


# -- workers -------------------------------------------------------------------------------


def _of_workers(queue: str, function: str, seen: Obstacles) -> Iterator[Reason]:
    if not seen.workers:
        text = f"no live worker serves the queue {queue}"
        yield Reason("no_worker", text, blocks=True)
        return
    known = {name for worker in seen.workers for name in worker.data.get("functions", ())}
    able = [worker for worker in seen.workers if _knows(worker, function)]
    if function != "?" and not able:
        text = (
            f"none of the {len(seen.workers)} live workers of the queue {queue} has the function "
            f"{function!r}{did_you_mean(function, known)}; one that claims it parks it"
        )
        yield Reason("unknown_function", text, {"known": sorted(known)}, blocks=True)
        return
    taking = [worker for worker in seen.workers if _takes(worker)]
    if not taking:
        states = sorted({_mood(worker) for worker in seen.workers})
        names = ", ".join(worker.id for worker in seen.workers[:SHOWN_IDS])
        code = "workers_stuck" if states == ["blocked"] else "workers_quiet"
        text = f"every live worker of the queue {queue} is {' or '.join(states)}: {names}"
        yield Reason(code, text, {"workers": [w.id for w in seen.workers]}, blocks=True)


def _busy(seen: Obstacles) -> Iterator[Reason]:
    slots = _slots(seen)
    if slots and seen.active >= slots:
        names = ", ".join(seen.running[:SHOWN_IDS])
        more = f" and {seen.active - SHOWN_IDS} more" if seen.active > SHOWN_IDS else ""
        text = f"all {slots} slots of the live workers are taken, by {names}{more}"
        yield Reason("workers_busy", text, {"slots": slots, "active": seen.active})


def _slots(seen: Obstacles) -> int:
    return sum(worker.data.get("concurrency", 0) for worker in seen.workers if _takes(worker))


def _takes(worker: WorkerInfo) -> bool:
    return _mood(worker) == "taking"


def _mood(worker: WorkerInfo) -> str:
    return "blocked" if worker.data.get("stuck") else str(worker.data.get("state", "taking"))


def _knows(worker: WorkerInfo, function: str) -> bool:
    data = worker.data
    return "functions" not in data or function in data["functions"] or bool(data.get("fallback"))


# -- place and time ------------------------------------------------------------------------


def _ahead(seen: Obstacles) -> int | None:
    """Jobs that come before, at most all that wait: with turns, every other group takes one for
    each job of the own group.
    """
    if seen.state is not State.waiting or seen.before is None:
        return None
    turns = seen.place * max(1, seen.groups)
    return max(0, min(seen.size - 1, seen.before + turns))


def _next(ahead: int | None) -> Reason:
    if ahead:
        return Reason("behind", f"{_jobs(ahead)} ahead", {"ahead": ahead})
    return Reason("next", "nothing holds it back: the next free slot is its own")


def _behind(seen: Obstacles, ahead: int) -> Reason:
    group = f", {seen.place} of them of its own group {seen.group}" if seen.place else ""
    facts = {"ahead": ahead, "group": seen.group, "of_group": seen.place}
    return Reason("behind", f"{_jobs(ahead)} ahead{group}", facts)


def _starts_ms(
    seen: Obstacles, reasons: list[Reason], ahead: int | None, pace: Pace
) -> float | None:
    if seen.state not in {State.waiting, State.delayed} or any(r.blocks for r in reasons):
        return None
    first_ms = max([seen.now_ms, *(r.until_ms for r in reasons if r.until_ms is not None)])
    if any(reason.code in {"concurrency", "order", "unique"} for reason in reasons):
        # a place is free when one of those that run ends; on average half of one is over
        if pace.run_ms is None:
            return None
        first_ms = max(first_ms, seen.now_ms + pace.run_ms / 2)
        ahead = ahead or seen.place
    wait_ms = _wait_ms(seen, ahead or 0, pace)
    return None if wait_ms is None else first_ms + wait_ms


def _wait_ms(seen: Obstacles, ahead: int, pace: Pace) -> float | None:
    """How long the jobs ahead take: each as long as jobs took lately, on all the slots, and not
    faster than the limits let them start.
    """
    slots = _slots(seen)
    if seen.active + ahead < slots or (ahead == 0 and seen.state is State.delayed):
        return 0.0
    if pace.run_ms is None or not slots:
        return (ahead + 1) / pace.per_ms if pace.per_ms else None
    places = min(
        [slots, *(gate.limit for gate in seen.gates if gate.gate == "q" and gate.kind == "c")]
    )
    rounds = (seen.active + ahead + 1 - places) / places
    starts = [gate.period_ms / gate.limit for gate in seen.gates if gate.kind == "r"]
    return max(rounds * max(pace.run_ms, LEAST_RUN_MS), ahead * max(starts, default=0))


def _jobs(number: int) -> str:
    return f"{number:,} job{'s' if number != 1 else ''}"


def _clock(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="seconds")


def _span(ms: float) -> str:
    """`4.2 s`, `3 m`, `250 ms`."""
    if SECOND_MS <= ms < 60 * SECOND_MS:
        return f"{ms / SECOND_MS:.1f} s"
    return format_ms(max(1, ceil(ms)), parts=2)
