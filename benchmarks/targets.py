"""What the comparison must reach: the last column of the table, and the verdict on a ratio."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from benchmarks.model import Figures, Target

OURS = "jobs"
RIVALS = ("arq_stock", "arq_tuned", "saq", "taskiq", "streaq", "huey", "ardiq", "bullmq")
TIE = 1.3
"""Repetitions differ by 10 to 30 %: a smaller ratio says nothing."""


def spread(values: list[float]) -> tuple[float, float, float]:
    """Median, least and greatest."""
    return median(values), min(values), max(values)


def best(figures: Figures, row: str, *, less: bool = False) -> float | None:
    """The best of the peers in a row; None if none was measured."""
    found = [figures[f"{row}.{peer}"] for peer in RIVALS if f"{row}.{peer}" in figures]
    if not found:
        return None
    return min(found) if less else max(found)


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """So many times theirs; None if either is missing."""
    return None if ours is None or not theirs else ours / theirs


def advantage(ours: float | None, theirs: float | None, *, less: bool) -> float | None:
    """How many times better ours is: over 1 is better, whichever way is better here."""
    return ratio(theirs, ours) if less else ratio(ours, theirs)


def called(times: float) -> str:
    """A ratio as it is shown: a tie is called one."""
    shown = number(times, 2 if times < 10 else 0) + "x"
    return f"tie ({shown})" if 1 / TIE < times < TIE else shown


def number(value: float, digits: int) -> str:
    """With a comma between thousands."""
    return f"{value:,.{digits}f}"


def own(row: str) -> Callable[[Figures], float | None]:
    """Our figure of a row."""
    return lambda figures: figures.get(f"{row}.{OURS}")


def against(row: str, peer: str) -> Callable[[Figures], float | None]:
    """Ours as a multiple of one peer's."""
    return lambda figures: ratio(own(row)(figures), figures.get(f"{row}.{peer}"))


def against_best(row: str, *, less: bool = False) -> Callable[[Figures], float | None]:
    """Ours as a multiple of the best peer's."""
    return lambda figures: ratio(own(row)(figures), best(figures, row, less=less))


def share_of(row: str, other: str) -> Callable[[Figures], float | None]:
    """Ours as a multiple of another figure, named in full."""
    return lambda figures: ratio(own(row)(figures), figures.get(other))


def _least(name: str, text: str, bound: float, value: Callable[[Figures], float | None]) -> Target:
    return Target(name, text, bound, value, unit="x")


def _most(row: str, name: str, text: str, bound: float, unit: str) -> Target:
    return Target(name, text, bound, own(row), less=True, unit=unit)


TARGETS = (
    _least("drain", "≥ 2.5x BullMQ", 2.5, against("drain", "bullmq")),
    _least("drain", "≥ 3x ardiq", 3, against("drain", "ardiq")),
    _least("drain", "≥ 15x arq tuned", 15, against("drain", "arq_tuned")),
    _least("enqueue one by one", "≥ 1.2x the best", 1.2, against_best("enqueue")),
    _least(
        "enqueue one by one",
        "≥ 0.85x bare round trips of the same client",
        0.85,
        share_of("enqueue", "round_trips.bare"),
    ),
    _least("enqueue in bulk", "≥ 2x ardiq", 2, against("bulk", "ardiq")),
    Target(
        "pick-up, p50",
        "≤ 0.7x the best",
        0.7,
        against_best("pickup_p50", less=True),
        less=True,
        unit="x",
    ),
    Target(
        "pick-up, p99",
        "≤ 2x own p50",
        2,
        share_of("pickup_p99", f"pickup_p50.{OURS}"),
        less=True,
        unit="x",
    ),
    Target(
        "await the result, p50",
        "≤ the best",
        1,
        against_best("roundtrip", less=True),
        less=True,
        unit="x",
    ),
    _least("two workers", "≥ 2.5x ardiq", 2.5, against("two_workers", "ardiq")),
    Target("jobs that sleep 50 ms", "≥ 1,940 jobs/s", 1940, own("sleep"), unit=" jobs/s"),
    _most("bytes_redis7", "bytes a queued job, Redis 7", "≤ 400", 400, " bytes"),
    _most("bytes_valkey9", "bytes a queued job, Valkey 9", "≤ 350", 350, " bytes"),
    _most("memory", "worker peak memory", "≤ 60 MB", 60, " MB"),
    _most("worker_cpu", "worker CPU a job", "≤ 35 µs", 35, " µs"),
    _most("server_cpu", "server CPU a job", "≤ 25 µs", 25, " µs"),
    _most("idle_commands", "idle worker, commands", "≤ 1 a second", 1, "/s"),
    _most("idle_cpu", "idle worker, CPU", "≤ 0.1 %", 0.1, " %"),
)
