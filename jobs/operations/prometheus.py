"""The figures of queues and workers in Prometheus' text format.

Gauges are read at the moment of the call; counters and histograms are the queue's own totals,
which only grow, whatever is pruned.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobs.keys import QueueKeys
from jobs.metrics import BUCKET_BASE, buckets
from jobs.states import State
from jobs.store import show
from jobs.store.stats import Cell, read_totals
from jobs.store.workers import WorkerInfo, live_workers

if TYPE_CHECKING:
    from redis.asyncio import Redis

#: Every second bucket of the stored histograms is shown, from 1 ms to 2 h 20 min.
SHOWN_BUCKETS = range(1, 48, 2)
ENDS = ("completed", "failed", "cancelled", "expired")
AGAIN = ("retried", "snoozed", "interrupted", "lost", "parked")
HISTOGRAMS = {
    "run": "Seconds that an attempt ran.",
    "wait": "Seconds from when a job was free to run until it was claimed.",
}


@dataclass(frozen=True, slots=True)
class Exposed:
    """What is shown of one queue."""

    queue: str
    size: show.Size
    totals: list[Cell]
    workers: list[WorkerInfo]


@dataclass
class Family:
    """One metric: its help, its kind, and its samples, a line each."""

    name: str
    kind: str
    help: str
    lines: list[str] = field(default_factory=list)

    def add(self, value: float, suffix: str = "", **labels: str) -> None:
        """One sample."""
        shown = ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items())
        self.lines.append(f"{self.name}{suffix}{{{shown}}} {value:.15g}")


async def scrape(client: Redis, keys: Mapping[str, QueueKeys]) -> str:
    """The text of these queues, read now; `keys` are their keys by their names."""
    return render([await _read(client, name, names) for name, names in keys.items()])


async def _read(client: Redis, name: str, keys: QueueKeys) -> Exposed:
    return Exposed(
        name,
        await show.size(client, keys),
        await read_totals(client, keys),
        await live_workers(client, keys),
    )


def render(queues: Iterable[Exposed]) -> str:
    """The text for a scrape; families without samples are left out."""
    shown = list(queues)
    families = [*_gauges(shown), *_counters(shown), *_histograms(shown)]
    return "".join(
        f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n"
        + "".join(f"{line}\n" for line in family.lines)
        for family in families
        if family.lines
    )


def _gauges(queues: list[Exposed]) -> Iterator[Family]:
    jobs = Family("jobs_queue_jobs", "gauge", "Jobs of a queue in each state now.")
    oldest = Family(
        "jobs_queue_oldest_waiting_seconds",
        "gauge",
        "How long the first waiting job has been free to run; 0 when none waits.",
    )
    workers = Family("jobs_queue_workers", "gauge", "Live workers that serve a queue.")
    slots = Family("jobs_queue_slots", "gauge", "Jobs that the live workers can run at once.")
    lag = Family(
        "jobs_worker_loop_lag_seconds", "gauge", "How late a worker's event loop answered lately."
    )
    for one in queues:
        for state, number in one.size.counts.items():
            if state is not State.suspended:
                jobs.add(number, queue=one.queue, state=state)
        since = one.size.oldest_ms
        waited_ms = 0 if since is None else max(0, one.size.now_ms - since)
        oldest.add(waited_ms / 1000, queue=one.queue)
        workers.add(len(one.workers), queue=one.queue)
        slots.add(sum(worker.data.get("concurrency", 0) for worker in one.workers), queue=one.queue)
        for worker in one.workers:
            lag.add(worker.data.get("lag_ms", 0) / 1000, queue=one.queue, worker=worker.id)
    yield from (jobs, oldest, workers, slots, lag)


def _counters(queues: list[Exposed]) -> Iterator[Family]:
    enqueued = Family("jobs_enqueued_total", "counter", "Jobs that entered a queue.")
    ended = Family("jobs_ended_total", "counter", "Jobs that ended, by their last state.")
    again = Family(
        "jobs_attempts_again_total", "counter", "Attempts after which the job was put back."
    )
    for queue, function, counters in _sums(queues):
        labels = {"queue": queue, "function": function}
        enqueued.add(counters["enqueued"], **labels)
        for name in ENDS:
            ended.add(counters[name], **labels, state=name)
        for name in AGAIN:
            if counters[name]:
                again.add(counters[name], **labels, reason=name)
    yield from (enqueued, ended, again)


def _histograms(queues: list[Exposed]) -> Iterator[Family]:
    for name, text in HISTOGRAMS.items():
        family = Family(f"jobs_{name}_seconds", "histogram", text)
        for queue, function, counters in _sums(queues):
            if found := buckets(counters, name):
                _add_histogram(family, found, counters[f"{name}_ms"], queue, function)
        yield family


def _add_histogram(
    family: Family, found: list[tuple[int, int]], sum_ms: int, queue: str, function: str
) -> None:
    labels = {"queue": queue, "function": function}
    for last in SHOWN_BUCKETS:
        limit_s = (BUCKET_BASE ** (last + 1) - 1) / 1000
        below = sum(number for bucket, number in found if bucket <= last)
        family.add(below, "_bucket", **labels, le=f"{limit_s:.6g}")
    count = sum(number for _, number in found)
    family.add(count, "_bucket", **labels, le="+Inf")
    family.add(sum_ms / 1000, "_sum", **labels)
    family.add(count, "_count", **labels)


def _sums(queues: list[Exposed]) -> Iterator[tuple[str, str, Mapping[str, int]]]:
    """(queue, function, its counters); without a known function under the empty name."""
    for one in queues:
        sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for cell in one.totals:
            sums[cell.function][cell.counter] += cell.number
        for function, counters in sorted(sums.items()):
            yield one.queue, function, counters


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
