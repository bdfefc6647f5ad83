"""What really happened, written outside the server by everybody who does something.

One line for each thing done, appended with a single write, so that a killed process leaves no
half of it. Kinds: `attempt` and `ack` of a producer, `start` and `effect` of a job, `written`
when the server recorded an end, `kill` of a process.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """One line; `mono_ns` is the machine's monotonic clock, the same in all processes."""

    kind: str
    job_id: str
    token: int
    pid: int
    mono_ns: int


class Ledger:
    """A file that many processes append to."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, kind: str, job_id: str, token: int = 0, *, pid: int = 0) -> None:
        """Append one line."""
        self.note_all(kind, [job_id], token, pid=pid)

    def note_all(self, kind: str, job_ids: Iterable[str], token: int = 0, *, pid: int = 0) -> None:
        """Append one line for each job, with one write."""
        tail = f"{token} {pid or os.getpid()} {time.monotonic_ns()}\n"
        os.write(self._file, "".join(f"{kind} {job_id} {tail}" for job_id in job_ids).encode())

    def close(self) -> None:
        """Close the file; it stays."""
        os.close(self._file)


def read(path: Path) -> list[Entry]:
    """Every line, in the order of writing."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [
        Entry(kind, job_id, int(token), int(pid), int(mono_ns))
        for kind, job_id, token, pid, mono_ns in (line.split(" ") for line in lines)
    ]


@dataclass(frozen=True)
class Judgement:
    """What producers were told against what workers did."""

    lost: int  # acknowledged to a producer, and without any effect
    unexpected: int  # an effect that nobody asked for
    doubled: int  # ends beyond the first that the server recorded for one job
    reruns: int  # effects beyond the first, of all jobs
    in_flight: int  # attempts under way at the kills: the most that may run twice
    effects: int
    first_ns: int
    last_ns: int


def judge(entries: list[Entry]) -> Judgement:
    """The judgement of a whole run."""
    jobs = {kind: {e.job_id for e in entries if e.kind == kind} for kind in ("attempt", "ack")}
    effects = Counter(e.job_id for e in entries if e.kind == "effect")
    written = Counter(e.job_id for e in entries if e.kind == "written")
    times = [e.mono_ns for e in entries if e.kind in {"start", "effect"}] or [0]
    return Judgement(
        lost=len(jobs["ack"] - effects.keys()),
        unexpected=len(effects.keys() - jobs["attempt"]),
        doubled=_beyond_first(written),
        reruns=_beyond_first(effects),
        in_flight=_in_flight(entries),
        effects=effects.total(),
        first_ns=times[0],
        last_ns=max(times),
    )


def _beyond_first(counts: Counter[str]) -> int:
    return counts.total() - len(counts)


def _in_flight(entries: list[Entry]) -> int:
    """Attempts of killed processes that began, and whose end they did not hear to be recorded."""
    begun: dict[int, set[tuple[str, int]]] = {}
    total = 0
    for entry in entries:
        attempt = (entry.job_id, entry.token)
        if entry.kind == "start":
            begun.setdefault(entry.pid, set()).add(attempt)
        elif entry.kind == "written":
            begun.get(entry.pid, set()).discard(attempt)
        elif entry.kind == "kill":
            total += len(begun.pop(entry.pid, ()))
    return total
