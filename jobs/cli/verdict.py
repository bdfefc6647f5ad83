"""The figures of `bench`, and what they mean in plain sentences.

Nothing here talks to a server. Each threshold has its reason beside it: a verdict that cries wolf
is worse than none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jobs.cli.context import PROGRAM

#: A core this full has no room: the rest goes to waking up, and is never got back.
BUSY = 0.85
#: Within one machine a round trip takes 0.05 to 0.2 ms, within one network up to 1 ms.
NEAR_MS = 1.0
#: An enqueue that waits for this share of its time waits more than it works.
MOSTLY = 0.5
#: One call in a hundred that takes ten times the usual, and longer than the scheduler lets a
#: process wait on a quiet machine, is no jitter: somebody stalls.
STALL_FACTOR, STALL_MS = 10, 5.0
#: A pick-up is an enqueue, a wake-up and a claim: three round trips. Five, and some milliseconds
#: for two processes to be scheduled, are too many.
PICKUP_TRIPS, PICKUP_SPARE_MS = 5, 5.0
#: One core of a server answers about 100,000 commands/s; one in a hundred for others is felt.
OTHERS_PER_S = 1_000
#: The most jobs of one round trip of a worker.
JOBS_A_TRIP = 100
#: More processes than one run can promise.
MANY = 20


@dataclass(frozen=True)
class Spread:
    """How long something took, over many times."""

    samples: int
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, times_s: Sequence[float]) -> Spread:
        """The spread of at least one time, by nearest rank."""
        ordered = sorted(times_s)
        p50, p99 = (ordered[math.ceil(len(ordered) * q) - 1] * 1000 for q in (0.5, 0.99))
        return cls(len(ordered), round(p50, 4), round(p99, 4))


@dataclass(frozen=True)
class Rate:
    """How many jobs in how many seconds."""

    jobs: int
    seconds: float

    @property
    def per_s(self) -> float:
        """Jobs a second."""
        return self.jobs / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class Drained(Rate):
    """What one worker worked off, and the CPU seconds that it cost; `None` if not told."""

    worker_cpu_s: float
    server_cpu_s: float | None

    @property
    def worker_share(self) -> float:
        """How much of a core the worker used."""
        return self.worker_cpu_s / self.seconds if self.seconds > 0 else 0.0

    @property
    def server_share(self) -> float | None:
        """How much of a core the server used, for whomever."""
        if self.server_cpu_s is None or self.seconds <= 0:
            return None
        return self.server_cpu_s / self.seconds


@dataclass(frozen=True)
class Place:
    """Where it was measured; `load` is that of this machine before, `others_per_s` what other
    clients asked of the server then.
    """

    server: str
    address: str
    append_only: bool
    others_per_s: int
    concurrency: int
    loop: str
    cores: int
    load: float


@dataclass(frozen=True)
class Figures:
    """Everything that one run found out."""

    place: Place
    ping: Spread
    write: Spread
    one_by_one: Rate
    bulk: Rate
    drain: Drained
    pickup: Spread
    awaited: Spread
    bytes_a_job: int | None


@dataclass(frozen=True)
class Finding:
    """One sentence; `level` is "ok", or "note" for what can be made better."""

    level: str
    topic: str
    text: str


def verdict(figures: Figures) -> list[Finding]:
    """What this server and worker carry, then what bounds them and what can be done."""
    found = [finding for rule in RULES if (finding := rule(figures)) is not None]
    fine = all(finding.level == "ok" for finding in found)
    return [_capacity(figures, fine=fine), *found]


def _capacity(f: Figures, *, fine: bool) -> Finding:
    begin = "Everything fine: this" if fine else "This"
    text = (
        f"{begin} server and one worker process carry about {about(f.drain.per_s)} jobs/s, "
        "if the jobs themselves take no time."
    )
    return Finding("ok", "capacity", text)


# -- what bounds the work ------------------------------------------------------------------


def _bound(f: Figures) -> Finding | None:
    worker, server = f.drain.worker_share, f.drain.server_share
    if server is not None and server > worker:
        return _server_bound(f, server)
    if worker + (server or 0) >= BUSY:
        return _worker_bound(worker, server)
    if _crowded(f) and f.write.p50_ms < NEAR_MS:
        return None  # `_machine` says why nobody got what it wanted
    if f.place.concurrency < JOBS_A_TRIP:
        return Finding("note", "concurrency", _few(f))
    told = "" if server is None else f", the server {server:.0%}"
    return Finding(
        "note",
        "round trip",
        f"The worker used {worker:.0%} of a core{told}: it waits for round trips of "
        f"{_ms(f.write.p50_ms)}. Place it nearer to the server, or run several: "
        f"`{PROGRAM} worker --processes 2`.",
    )


def _server_bound(f: Figures, share: float) -> Finding:
    mine, its = f.drain.worker_cpu_s, f.drain.server_cpu_s or 0.0
    jobs = max(1, f.drain.jobs)
    full = f", and its core is {share:.0%} full" if share >= BUSY else ""
    return Finding(
        "note",
        "server",
        f"The server uses more CPU than the worker ({its / jobs * 1e6:.0f} µs a job against "
        f"{mine / jobs * 1e6:.0f} µs){full}: a second worker process adds little, a faster core "
        "for the server adds more.",
    )


def _worker_bound(worker: float, server: float | None) -> Finding:
    """The good case: nobody waits for the network, and further processes add up."""
    more = f"`{PROGRAM} worker --processes N`"
    if server is None:
        text = f"The worker's CPU bounds the work ({worker:.0%} of a core): run several, {more}."
        return Finding("ok", "worker", text)
    most = math.floor(1 / max(server, 1 / MANY))
    begin = (
        f"The worker's CPU bounds the work ({worker:.0%} of a core, the server {server:.0%})"
        if worker >= BUSY
        else f"The worker ({worker:.0%} of a core) and the server ({server:.0%}) take turns"
    )
    if most <= 1:
        return Finding("ok", "worker", f"{begin}: a second process would fill the server's core.")
    count = f"{most}" if most < MANY else "many"
    text = f"{begin}: the server has room for about {count} such processes, {more}."
    return Finding("ok", "worker", text)


def _few(f: Figures) -> str:
    return (
        f"The concurrency of {f.place.concurrency} bounds the work: one round trip of "
        f"{_ms(f.write.p50_ms)} brings no more jobs than may run at once. Raise `max_jobs`, or try "
        f"`{PROGRAM} bench --concurrency {JOBS_A_TRIP}`."
    )


# -- the rest ------------------------------------------------------------------------------


def _one_by_one(f: Figures) -> Finding | None:
    rate, trip_ms = f.one_by_one.per_s, f.write.p50_ms
    if trip_ms * rate / 1000 < MOSTLY:
        return None
    text = (
        f"The server's round trip of {_ms(trip_ms)} bounds one-by-one enqueueing "
        f"({about(rate)} jobs/s): enqueue in bulk ({about(f.bulk.per_s)} jobs/s with "
        "`enqueue_many`)"
    )
    if trip_ms < NEAR_MS:
        return Finding("ok", "enqueue", f"{text} where you have many jobs at once.")
    return Finding("note", "enqueue", f"{text}, or place producers and workers nearer to it.")


def _stalls(f: Figures) -> Finding | None:
    worst = max(f.ping, f.write, key=lambda spread: spread.p99_ms)
    if worst.p99_ms < max(STALL_MS, STALL_FACTOR * worst.p50_ms):
        return None
    return Finding(
        "note",
        "stalls",
        f"One round trip in a hundred takes {_ms(worst.p99_ms)}, the usual one "
        f"{_ms(worst.p50_ms)}: the server or the network stalls. Look at its slow log, its disk "
        "(appendfsync always) and its neighbours.",
    )


def _pickup(f: Figures) -> Finding | None:
    if f.pickup.p50_ms <= PICKUP_TRIPS * f.write.p50_ms + PICKUP_SPARE_MS:
        return None
    return Finding(
        "note",
        "pick-up",
        f"A job of an idle queue begins only {_ms(f.pickup.p50_ms)} after it was enqueued, though "
        f"a round trip takes {_ms(f.write.p50_ms)}: this machine or the server's lets processes "
        "wait for a core.",
    )


def _loop(f: Figures) -> Finding | None:
    if f.place.loop != "asyncio":
        return None
    text = 'uvloop is not installed: workers are slower by a third (pip install "arq-jobs[uvloop]")'
    return Finding("note", "event loop", f"{text}.")


def _others(f: Figures) -> Finding | None:
    if f.place.others_per_s < OTHERS_PER_S:
        return None
    return Finding(
        "ok",
        "others",
        f"Other clients asked {about(f.place.others_per_s)} commands/s of the server before: "
        "the figures are what it had left beside them.",
    )


def _machine(f: Figures) -> Finding | None:
    if not _crowded(f):
        return None
    return Finding(
        "note",
        "machine",
        f"This machine was busy before (load {f.place.load:.1f} on {f.place.cores} cores): measure "
        "again when it is quiet.",
    )


def _crowded(f: Figures) -> bool:
    """Whether more processes wanted to run than there are cores, before this one began."""
    return f.place.load > f.place.cores


def _persistence(f: Figures) -> Finding | None:
    if f.place.append_only:
        return None
    text = "The server keeps no append-only file: with one (appendonly yes) the figures are lower"
    return Finding("ok", "persistence", f"{text}.")


RULES: list[Callable[[Figures], Finding | None]] = [
    _bound, _one_by_one, _stalls, _pickup, _loop, _others, _machine, _persistence,
]  # fmt: skip


def about(number: float) -> str:
    """A number for prose: two digits, as much as one run is worth."""
    if number < 10:  # noqa: PLR2004 -- two digits with its decimal
        return f"{number:.1f}"
    size = 10 ** (len(str(int(number))) - 2)
    return f"{round(number / size) * size:,}"


def _ms(ms: float) -> str:
    return f"{ms:.2f} ms" if ms < 10 else f"{ms:.0f} ms"  # noqa: PLR2004 -- as above
