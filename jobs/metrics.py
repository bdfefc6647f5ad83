"""The figures of a queue, from counters kept by the minute and from the sizes of its sets.

What has ended is counted in windows of time, never by the size of a set: retention removes jobs
and must not change what happened.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from jobs.clock import from_ms
from jobs.durations import format_ms
from jobs.errors import InvalidOption
from jobs.keys import QueueKeys
from jobs.states import State
from jobs.store import show
from jobs.store.stats import DAY_MS, DAYS_MS, HOUR_MS, MINUTE_MS, Cell, grain_of, read_since

if TYPE_CHECKING:
    from redis.asyncio import Redis

#: Bucket n of a histogram holds times from sqrt(2)**n - 1 ms to sqrt(2)**(n + 1) - 1 ms.
BUCKET_BASE = 2**0.5
#: An estimate looks so far back.
PACE_MS = 5 * MINUTE_MS
#: The counters of a window, by the names of their fields in the metrics.
COUNTED = ("enqueued", "completed", "failed", "retried", "cancelled", "expired", "lost")


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took in the window, in ms; `None` where nothing was counted.

    The percentiles come from a histogram whose buckets grow by the square root of 2, so they are
    right to within a fifth.
    """

    count: int
    average: float | None
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class FunctionMetrics:
    """What the jobs of one function did in the window; see `QueueMetrics`."""

    function: str
    enqueued: int
    completed: int
    failed: int
    retried: int
    cancelled: int
    expired: int
    lost: int
    wait: Times
    run: Times


@dataclass(frozen=True, slots=True)
class Point:
    """One minute, hour or day of a queue, for charts; `run_ms` is the average of an attempt."""

    at: datetime
    enqueued: int
    completed: int
    failed: int
    retried: int
    run_ms: float | None


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a queue is worked off: claims a ms, and the average ms of an attempt."""

    per_ms: float
    run_ms: float | None


@dataclass(frozen=True, slots=True)
class QueueMetrics:
    """One queue at one moment; what is counted over time is that of the last `window_ms`.

    `failed` counts jobs that ended failed, `retried` failed attempts that will be repeated;
    `dead` is how many failed jobs are kept now. `oldest_waiting_ms` is how long the oldest
    waiting job has been free to run. `per_minute` is how many jobs were completed a minute.
    `functions` are ordered by name, `series` has one point a minute (an hour for windows over
    3 hours, a day over 7 days), the oldest first and the last one still growing.
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
    window_ms: int
    per_minute: float
    functions: list[FunctionMetrics]
    series: list[Point]

    @property
    def avg_processing_ms(self) -> float | None:
        """The average running time of an attempt in the window (seed 001's figure)."""
        return self.run.average

    @property
    def total(self) -> int:
        """Waiting, active, delayed, completed and failed together (seed 003's figure)."""
        return self.waiting + self.active + self.delayed + self.completed + self.failed


async def read_metrics(
    client: Redis, name: str, keys: QueueKeys, window_ms: int = HOUR_MS
) -> QueueMetrics:
    """The figures of one queue over the last `window_ms`.

    Raises:
        InvalidOption: the window is shorter than a minute or longer than 90 days.
    """
    check_window(window_ms)
    size = await show.size(client, keys)
    cells = await read_since(client, keys, size.now_ms - window_ms, size.now_ms)
    total = _sums(cells)[None]
    return QueueMetrics(
        queue=name,
        waiting=size.counts[State.waiting],
        active=size.counts[State.active],
        delayed=size.counts[State.delayed],
        parked=size.counts[State.parked],
        dead=size.counts[State.failed],
        **_counts(total),
        oldest_waiting_ms=None if size.oldest_ms is None else max(0, size.now_ms - size.oldest_ms),
        wait=times(total, "wait"),
        run=times(total, "run"),
        window_ms=window_ms,
        per_minute=total["completed"] * MINUTE_MS / window_ms,
        functions=by_function(cells),
        series=series(cells, size.now_ms - window_ms, size.now_ms),
    )


async def read_history(client: Redis, keys: QueueKeys, days: int) -> list[Point]:
    """One point for each of the last `days` days (UTC), the oldest first, today the last.

    Raises:
        InvalidOption: fewer than 1 or more than 90 days.
    """
    if not 1 <= days * DAY_MS <= DAYS_MS:
        raise InvalidOption(f"`days` is 1 to {DAYS_MS // DAY_MS}, not {days}")
    now_ms = (await show.size(client, keys)).now_ms
    since_ms = (now_ms // DAY_MS - days + 1) * DAY_MS
    cells = await read_since(client, keys, since_ms - 1, now_ms)
    return series(cells, since_ms, now_ms, DAY_MS)


async def read_pace(client: Redis, keys: QueueKeys, now_ms: int) -> Pace:
    """How fast the queue was worked off in the last minutes, for estimates."""
    cells = await read_since(client, keys, now_ms - PACE_MS, now_ms)
    total = _sums(cells)[None]
    first_ms = min((cell.start_ms for cell in cells), default=now_ms)
    claimed = total["claimed"]
    return Pace(claimed / max(now_ms - first_ms, MINUTE_MS // 6), times(total, "run").average)


def check_window(window_ms: int) -> None:
    """Refuse a window for which nothing is counted.

    Raises:
        InvalidOption: it is shorter than a minute or longer than 90 days.
    """
    if not MINUTE_MS <= window_ms <= DAYS_MS:
        raise InvalidOption(
            f"`since` is 1 minute to {DAYS_MS // DAY_MS} days ago, not {format_ms(window_ms)}: "
            "counters are kept by the minute, by the hour and by the day"
        )


def by_function(cells: Iterable[Cell]) -> list[FunctionMetrics]:
    """The figures of each function, by name; jobs whose function is not known are left out."""
    return [
        FunctionMetrics(
            name, **_counts(counters), wait=times(counters, "wait"), run=times(counters, "run")
        )
        for name, counters in sorted(_sums(cells).items(), key=lambda item: item[0] or "")
        if name
    ]


def series(
    cells: Iterable[Cell], since_ms: int, now_ms: int, step_ms: int | None = None
) -> list[Point]:
    """A point for every step, also for those in which nothing happened."""
    step = step_ms or grain_of(since_ms, now_ms)
    sums: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for cell in cells:
        sums[cell.start_ms // step][cell.counter] += cell.number
    first = since_ms // step + (step == MINUTE_MS)
    return [_point(n * step, sums[n]) for n in range(first, now_ms // step + 1)]


def _point(start_ms: int, counters: Counter[str]) -> Point:
    return Point(
        at=from_ms(start_ms),
        enqueued=counters["enqueued"],
        completed=counters["completed"],
        failed=counters["failed"],
        retried=counters["retried"],
        run_ms=times(counters, "run").average,
    )


def _sums(cells: Iterable[Cell]) -> defaultdict[str | None, Counter[str]]:
    """The counters of each function, and of all under `None`."""
    sums: defaultdict[str | None, Counter[str]] = defaultdict(Counter)
    for cell in cells:
        sums[None][cell.counter] += cell.number
        sums[cell.function][cell.counter] += cell.number
    return sums


def _counts(counters: Counter[str]) -> dict[str, int]:
    return {name: counters[name] for name in COUNTED}


def times(counters: Mapping[str, int], name: str) -> Times:
    """The times of one histogram among counters named `<name>_ms` and `<name>:<bucket>`."""
    found = buckets(counters, name)
    count = sum(number for _, number in found)
    if not count:
        return Times(0, None, None, None, None)
    p50, p95, p99 = (_percentile(found, count * share) for share in (0.5, 0.95, 0.99))
    return Times(count, counters.get(f"{name}_ms", 0) / count, p50, p95, p99)


def buckets(counters: Mapping[str, int], name: str) -> list[tuple[int, int]]:
    """(bucket, how many times) of one histogram, the shortest times first."""
    prefix = f"{name}:"
    return sorted(
        (int(counter.removeprefix(prefix)), number)
        for counter, number in counters.items()
        if counter.startswith(prefix)
    )


def _percentile(found: list[tuple[int, int]], rank: float) -> float:
    """The middle of the bucket in which the value of this rank lies."""
    seen = 0
    for bucket, number in found:
        seen += number
        if seen >= rank:
            return float(BUCKET_BASE ** (bucket + 0.5) - 1)
    return float(BUCKET_BASE ** (found[-1][0] + 0.5) - 1)
