"""Groups, limits and unique keys as plain Python: what a queue may give out, and what it must."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from jobs.states import TERMINAL, State
from jobs.store.queue import Limits, Once

PERIOD = 1000
#: A rule of a limit: its letter, its number (1 for an order), and the name that queues share.
Rule = tuple[str, int, str]


@dataclass
class Job:
    """What is known of one job."""

    id: str
    function: str
    key: str
    own: str
    priority: int
    enqueued: int
    state: State = State.waiting
    place: int = 0
    at: int = 0  #: due, deadline or moment of the end
    token: int = 0
    losses: int = 0
    cancel_asked: bool = False
    expires: int | None = None
    follows: bool = False  #: it may only begin when no other job of its unique key runs
    holds: set[str] = field(default_factory=set)  #: gates of which it has a place

    @property
    def line(self) -> tuple[int, int]:
        """Its place in line."""
        return self.priority, self.place


def parse(rules: str) -> list[Rule]:
    """`c3 r2/1000@name o` as rules."""
    found = []
    for text in rules.split():
        rule, _, name = text.partition("@")
        number = rule[1:].partition("/")[0]
        found.append((rule[0], int(number or 1), name))
    return found


@dataclass
class FlowModel:
    """A queue. Only `start` and what frees places changes what `may_run` says."""

    jobs: dict[str, Job] = field(default_factory=dict)
    rules: dict[str, list[Rule]] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    starts: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    unique: dict[str, tuple[str, float]] = field(default_factory=dict)
    is_paused: bool = False
    closed: int = 0
    now: int = 0
    place: int = 0

    # -- who may run -----------------------------------------------------------------------

    def of(self, *states: State) -> list[Job]:
        """The jobs in these states."""
        return [job for job in self.jobs.values() if job.state in states]

    def gates(self, job: Job) -> dict[str, list[Rule]]:
        """The limits of a job, by the names that the server gives them."""
        scopes = {"q": "q", f"f:{job.function}": f"f:{job.function}"}
        if job.key:
            scopes["k"] = f"k:{job.key}"
            scopes[f"fk:{job.function}"] = f"fk:{job.function}\x02{job.key}"
        found: dict[str, list[Rule]] = defaultdict(list)
        for scope, gate in scopes.items():
            for rule in self.rules.get(scope, []):
                if rule[2]:
                    found[f"s:{rule[2]}"] = self.shared(rule[2])
                elif scope != "q" or rule[0] == "r":
                    found[gate].append(rule)
        return found

    def shared(self, name: str) -> list[Rule]:
        """All rules of this name, wherever they stand."""
        return [rule for rules in self.rules.values() for rule in rules if rule[2] == name]

    def orders(self, job: Job) -> set[str]:
        """The orders in which a job stands."""
        return {
            f"o:{gate.partition(':')[2]}"
            for gate, rules in self.gates(job).items()
            if any(kind == "o" for kind, *_ in rules)
        }

    def holders(self, gate: str) -> list[Job]:
        """The jobs that have a place of a limit."""
        return [job for job in self.jobs.values() if gate in job.holds]

    def room(self) -> int:
        """How many more jobs may run by the numbers of the whole queue."""
        if self.is_paused or self.closed > self.now:
            return 0
        own = [n for kind, n, name in self.rules.get("q", []) if kind == "c" and not name]
        return min([n - len(self.of(State.active)) for n in own], default=100)

    def may_run(self, job: Job, now: int | None = None) -> bool:
        """Whether nothing keeps a waiting job from its start."""
        now = self.now if now is None else now
        if job.function in self.paused or (job.follows and self.holders(f"u:{job.own}")):
            return False
        for gate, rules in self.gates(job).items():
            recent = sum(at > now - PERIOD for at in self.starts[gate])
            held = len(self.holders(gate))
            if any(n <= {"r": recent, "c": held}.get(kind, 0) for kind, n, _ in rules):
                return False
        return all(self.is_first(job, order) for order in self.orders(job) - job.holds)

    def is_first(self, job: Job, order: str) -> bool:
        """Whether a job is the next one of an order, and the one before has ended.

        A job that holds a place between its attempts stands by itself, whatever its line says.
        """
        if self.holders(order):
            return False
        line = [other for other in self.of(State.waiting) if not other.holds]
        ahead = [other for other in line if other.line < job.line and not job.holds]
        return not any(order in self.orders(other) for other in ahead)

    def opens_at(self) -> float:
        """When the first job may run if only time passes; inf for never."""
        ends = {at + PERIOD for times in self.starts.values() for at in times}
        waiting = self.of(State.waiting)
        for moment in sorted(end for end in {*ends, self.closed} if end > self.now):
            if self.closed <= moment and any(self.may_run(job, moment) for job in waiting):
                return moment
        return math.inf

    # -- moves -----------------------------------------------------------------------------

    def wait(self, job: Job) -> None:
        """To the end of its priority."""
        self.place += 1
        job.state, job.place = State.waiting, self.place

    def stage(self) -> None:
        """What is due waits."""
        due = [job for job in self.of(State.delayed) if job.at <= self.now]
        for job in sorted(due, key=lambda job: (job.at, job.place)):
            self.wait(job)

    def start(self, job: Job) -> None:
        """A job begins: it takes its places and counts as a start."""
        for gate, rules in self.gates(job).items():
            kinds = {kind for kind, *_ in rules}
            if "c" in kinds:
                job.holds.add(gate)
            if "r" in kinds:
                self.starts[gate].append(self.now)
        job.holds |= self.orders(job)
        if job.follows:
            job.holds.add(f"u:{job.own}")
        job.follows, job.state = False, State.active

    def back(self, job: Job, state: State) -> None:
        """An attempt is over and the job is not: it keeps its place in orders."""
        job.holds = {gate for gate in job.holds if gate[:2] in ("o:", "u:")}
        job.state = state

    def end(self, job: Job, state: State, keep: Limits) -> None:
        """A job ends, and all that it holds is free."""
        if self.unique.get(job.own, ("", 0))[0] == job.id:
            before = [other for other in self.holders(f"u:{job.own}") if other is not job]
            if self.unique[job.own][1] == math.inf or self.unique[job.own][1] <= self.now:
                del self.unique[job.own]
                if job.follows and before:
                    self.unique[job.own] = before[0].id, math.inf
        job.holds, job.follows = set(), False
        age, most, _ = keep
        if age == 0 or most == 0:
            del self.jobs[job.id]
            return
        job.state, job.at = state, self.now
        job.expires = self.now + age if age > 0 else None

    # -- unique keys -----------------------------------------------------------------------

    def owner_of(self, own: str, once: Once) -> str | None:
        """The job that stands in the way of another one with this key."""
        owner, until = self.unique.get(own, ("", 0))
        if not owner:
            return None
        if until != math.inf:
            return owner if until > self.now else None
        job = self.jobs.get(owner)
        if job is None or (once is Once.trailing and job.state is State.active):
            return None
        return owner

    def is_taken(self, job: Job, once: Once, ms: int, most: int) -> str | None:
        """Take a unique key, or say who has it."""
        owner = self.owner_of(job.own, once)
        holder = self.jobs.get(owner) if owner else None
        if once is Once.following and holder is not None and holder.state is State.active:
            holder.holds.add(f"u:{job.own}")
            owner = None
        if owner:
            if once is Once.leading:
                first = holder.enqueued if holder else self.now
                until = min(self.now + ms, first + most) if most else self.now + ms
                self.unique[job.own] = owner, max(until, self.unique[job.own][1])
            return owner
        timed = once in (Once.period, Once.leading)
        self.unique[job.own] = job.id, self.now + ms if timed else math.inf
        job.follows = once is Once.following
        return None

    def is_free(self, job_id: str) -> bool:
        """Whether a new job may have an id."""
        job = self.jobs.get(job_id)
        return job is None or job.state in TERMINAL
