"""The figures of a queue, from counters kept by the minute and from the sizes of its sets."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.keys import QueueKeys
from jobs.states import State
from jobs.store import show

if TYPE_CHECKING:
    from redis.asyncio import Redis

HOUR_MINUTES = 60
#: Bucket n of a histogram holds times from sqrt(2)**n - 1 ms to sqrt(2)**(n + 1) - 1 ms.
BUCKET_BASE = 2**0.5


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took in the last hour, in ms; `None` where nothing was counted.

    The percentiles come from a histogram whose buckets grow by the square root of 2, so they are
    right to within a fifth.
    """

    count: int
    average: float | None
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class QueueMetrics:
    """One queue at one moment; counts of ended jobs are those of the last hour.

    `failed` counts jobs that ended failed, `retried` failed attempts that will be repeated;
    `dead` is how many failed jobs are kept now. `oldest_waiting_ms` is how long the first
    waiting job has been free to run.
    """

    queue: str
    waiting: int
    active: int
    delayed: int
    parked: int
    dead: int
    enqueued: int
    completed: int
    failed: int
    retried: int
    cancelled: int
    expired: int
    lost: int
    oldest_waiting_ms: float | None
    wait: Times
    run: Times

    @property
    def avg_processing_ms(self) -> float | None:
        """The average running time of an attempt in the last hour (seed 001's figure)."""
        return self.run.average


async def read_metrics(client: Redis, name: str, keys: QueueKeys) -> QueueMetrics:
    """The figures of one queue."""
    counts, now_ms, oldest_ms = await show.size(client, keys)
    minutes = await show.minute_counters(client, keys, now_ms // 60_000 - HOUR_MINUTES + 1)
    total: Counter[str] = Counter()
    for counters in minutes.values():
        total.update(counters)
    return QueueMetrics(
        queue=name,
        waiting=counts[State.waiting],
        active=counts[State.active],
        delayed=counts[State.delayed],
        parked=counts[State.parked],
        dead=counts[State.failed],
        enqueued=total["enqueued"],
        completed=total["completed"],
        failed=total["failed"],
        retried=total["retried"],
        cancelled=total["cancelled"],
        expired=total["expired"],
        lost=total["lost"],
        oldest_waiting_ms=None if oldest_ms is None else max(0, now_ms - oldest_ms),
        wait=times(total, "wait"),
        run=times(total, "run"),
    )


def times(counters: Counter[str], name: str) -> Times:
    """The times of one histogram among counters named `<name>_ms` and `<name>:<bucket>`."""
    prefix = f"{name}:"
    buckets = sorted(
        (int(counter.removeprefix(prefix)), number)
        for counter, number in counters.items()
        if counter.startswith(prefix)
    )
    count = sum(number for _, number in buckets)
    if not count:
        return Times(0, None, None, None, None)
    p50, p95, p99 = (_percentile(buckets, count * share) for share in (0.5, 0.95, 0.99))
    return Times(count, counters[f"{name}_ms"] / count, p50, p95, p99)


def _percentile(buckets: list[tuple[int, int]], rank: float) -> float:
    """The middle of the bucket in which the value of this rank lies."""
    seen = 0
    for bucket, number in buckets:
        seen += number
        if seen >= rank:
            return float(BUCKET_BASE ** (bucket + 0.5) - 1)
    return float(BUCKET_BASE ** (buckets[-1][0] + 0.5) - 1)
