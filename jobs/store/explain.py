"""Reads at one moment everything that may keep a job from running."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from jobs.keys import QueueKeys
from jobs.states import State
from jobs.store._script import AsyncCommands, script
from jobs.store.pausing import Note, read_note
from jobs.store.record import Record, first_record, split_body, unpack_record
from jobs.store.workers import WorkerInfo, read_worker


@dataclass(frozen=True, slots=True)
class GateView:
    """One rule of a limit, for one job.

    `gate` is named as in lua/lib/gates.lua; `kind` is c (concurrency), r (rate) or o (order of a
    key). `used` is how much of `limit` is used, by `holders` (the first ten ids); a rate opens at
    `opens_ms`.
    """

    gate: str
    kind: str
    limit: int
    used: int
    period_ms: int = 0
    opens_ms: float | None = None
    holders: tuple[str, ...] = ()

    @property
    def is_full(self) -> bool:
        """Whether no further job passes."""
        return self.used >= self.limit


@dataclass(frozen=True, slots=True)
class Obstacles:
    """A job and what stands in its way; times are the server's, in ms."""

    now_ms: int
    state: State
    score: float
    body: bytes
    record: Record
    history: list[bytes]
    workers: list[WorkerInfo]  #: the live ones
    paused: Note | None
    function_paused: Note | None
    closed_ms: float
    active: int
    running: list[str]
    gates: list[GateView] = field(default_factory=list)
    size: int = 0  #: waiting jobs of the queue
    before: int | None = None  #: jobs and groups whose turn comes first
    group: str | None = None
    place: int = 0  #: jobs of the same group before this one
    groups: int = 0
    first: str | None = None  #: the first job of the group
    gate: str | None = None  #: what the group waits for


async def read_obstacles(
    client: AsyncCommands, keys: QueueKeys, job_id: str, *, now_ms: int = 0
) -> Obstacles | None:
    """The job and its obstacles; `None` if the queue does not hold it."""
    now, state, *rest = await script("explain")(client, keys, (now_ms, job_id))
    if not state:
        return None
    score, body, packed, result, flat, document = rest
    told = from_json(document)
    enqueued_ms, envelope = split_body(body or b"")
    place = float(score)
    found = [read_worker(*pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
    return Obstacles(
        now_ms=now,
        state=State(state.decode()),
        score=place,
        body=envelope,
        record=unpack_record(packed) if packed else first_record(place, enqueued_ms),
        history=result.split(b"\n") if result else [],
        workers=sorted(one for one in found if one.is_alive(now) and one.runs_jobs),
        paused=_note(told["paused"]),
        function_paused=_note(told["function_paused"]),
        closed_ms=float(told["closed"] or 0),
        active=told["active"],
        running=list(told["running"]),
        gates=sorted(map(_gate, told.get("gates") or ()), key=lambda view: view.gate),
        size=told.get("size", 0),
        before=told.get("before"),
        group=told.get("group"),
        place=told.get("place", 0),
        groups=told.get("groups", 0),
        first=told.get("first") or None,
        gate=told.get("gate"),
    )


def _gate(told: dict[str, Any]) -> GateView:
    return GateView(
        gate=told["gate"],
        kind=told["kind"],
        limit=int(told["limit"]),
        used=int(told["used"]),
        period_ms=int(told.get("period") or 0),
        opens_ms=told.get("opens"),
        holders=tuple(told.get("holders") or ()),
    )


def _note(text: str | bool | None) -> Note | None:
    return read_note(text.encode()) if isinstance(text, str) and text else None
