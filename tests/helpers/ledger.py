"""What really happened, written outside the server, and the judgement of it.

Workers and producers append one line for each thing that they do. The judgement is that of
Jepsen's total-queue: lost, unexpected, duplicated, recovered (FAULTS section 2).
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

PRODUCER = ("attempt", "ack", "fail", "unknown")
"""A producer tries to enqueue a job; it is told that it is queued, that it is not, or neither."""

WORKER = ("start", "effect", "finish", "cancelled", "written")
"""An attempt begins, does what jobs do, returns, is cancelled, and has its end recorded."""

PROCESS = ("up", "kill")
"""A worker process works; it was killed."""


class Entry(NamedTuple):
    """One line; `mono_ns` is the machine's monotonic clock, the same in all processes."""

    kind: str
    job_id: str
    token: int
    pid: int
    mono_ns: int


class Ledger:
    """A file that many processes append to; a line is written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._read_to = 0
        self._entries: list[Entry] = []
        self._ids: dict[str, set[str]] = defaultdict(set)
        self._counts: Counter[str] = Counter()

    def note(self, kind: str, job_id: str, token: int = 0, *, pid: int | None = None) -> None:
        """Append one line with a single `write`, so that a killed process leaves no half of it."""
        assert kind in {*PRODUCER, *WORKER, *PROCESS}, kind
        pid = os.getpid() if pid is None else pid
        line = f"{kind} {job_id} {token} {pid} {time.monotonic_ns()}\n".encode()
        assert os.write(self._file, line) == len(line)

    def note_all(self, kind: str, job_ids: Iterable[str]) -> None:
        """One line for each job."""
        for job_id in job_ids:
            self.note(kind, job_id)

    def close(self) -> None:
        """Close the file; it stays."""
        os.close(self._file)

    def read(self) -> list[Entry]:
        """Everything written so far, in the order of writing."""
        while chunk := os.pread(self._file, 1 << 20, self._read_to):
            whole = chunk[: chunk.rfind(b"\n") + 1]
            self._read_to += len(whole)
            for line in whole.decode().splitlines():
                self._take(_entry(line))
        return list(self._entries)

    def _take(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._ids[entry.kind].add(entry.job_id)
        self._counts[entry.kind] += 1

    def ids(self, kind: str) -> set[str]:
        """The jobs with a line of this kind."""
        self.read()
        return set(self._ids[kind])

    def count(self, kind: str) -> int:
        """How many lines of this kind there are."""
        self.read()
        return self._counts[kind]


def _entry(line: str) -> Entry:
    kind, job_id, token, pid, mono_ns = line.split(" ")
    return Entry(kind, job_id, int(token), int(pid), int(mono_ns))


@dataclass(frozen=True)
class Judgement:
    """The four numbers, what they are measured against, and two more that tell much."""

    lost: list[str]  #: acknowledged to the producer, and without any effect
    unexpected: list[str]  #: an effect that nobody asked for, or that was refused
    recovered: list[str]  #: the producer was told nothing, and the job ran
    duplicates: dict[str, int]  #: effects beyond the first, by job
    in_flight: int  #: attempts that were under way at the kills: the most that may run twice
    attempts: Counter[str]  #: starts by job
    max_concurrency: int  #: most attempts under way at one time
    overlaps: list[str]  #: jobs of which two attempts were under way at one time
    reused_tokens: list[str] = field(default_factory=list)  #: jobs with one token given out twice

    @property
    def duplicated(self) -> int:
        """Effects beyond the first, of all jobs."""
        return sum(self.duplicates.values())

    def problems(self, *, most_duplicates: int | None = None) -> list[str]:
        """What is wrong; by default as many duplicates are allowed as were in flight at kills."""
        most = self.in_flight if most_duplicates is None else most_duplicates
        found = [
            _listed("lost", self.lost),
            _listed("unexpected", self.unexpected),
            _listed("one token for two attempts", self.reused_tokens),
        ]
        if self.duplicated > most:
            found.append(f"{self.duplicated} duplicated effects, at most {most} allowed")
        return [problem for problem in found if problem]

    def __str__(self) -> str:
        return (
            f"lost {len(self.lost)}, unexpected {len(self.unexpected)}, "
            f"duplicated {self.duplicated} (in flight at kills {self.in_flight}), "
            f"recovered {len(self.recovered)}, attempts {self.attempts.total()} of "
            f"{len(self.attempts)} jobs, max concurrency {self.max_concurrency}"
        )


def judge(entries: list[Entry]) -> Judgement:
    """Compare what producers were told with what workers did."""
    jobs = {kind: {e.job_id for e in entries if e.kind == kind} for kind in PRODUCER}
    effects = Counter(e.job_id for e in entries if e.kind == "effect")
    starts = Counter((e.job_id, e.token) for e in entries if e.kind == "start")
    spans = list(_spans(entries))
    return Judgement(
        lost=sorted(jobs["ack"] - effects.keys()),
        unexpected=sorted(effects.keys() - (jobs["attempt"] - jobs["fail"])),
        recovered=sorted(jobs["unknown"] & effects.keys()),
        duplicates={job_id: number - 1 for job_id, number in effects.items() if number > 1},
        in_flight=_in_flight(entries),
        attempts=Counter(e.job_id for e in entries if e.kind == "start"),
        max_concurrency=_most_at_once((begin, end) for _, begin, end in spans),
        overlaps=_overlaps(spans),
        reused_tokens=sorted({job_id for (job_id, _), number in starts.items() if number > 1}),
    )


def _in_flight(entries: list[Entry]) -> int:
    """Attempts of killed processes that began and whose end they did not hear to be recorded.

    An attempt that returned counts too: its end was perhaps still on its way to the server.
    """
    begun: dict[int, set[tuple[str, int]]] = defaultdict(set)
    total = 0
    for entry in entries:
        if entry.kind == "start":
            begun[entry.pid].add((entry.job_id, entry.token))
        elif entry.kind == "written":
            begun[entry.pid].discard((entry.job_id, entry.token))
        elif entry.kind == "kill":
            total += len(begun.pop(entry.pid, ()))
    return total


def _spans(entries: list[Entry]) -> Iterator[tuple[str, int, int]]:
    """(job, begin, end) of every attempt; one without an end ends with its process, or never."""
    ends = {
        (e.job_id, e.token, e.pid): e.mono_ns for e in entries if e.kind in ("finish", "cancelled")
    }
    killed = {e.pid: e.mono_ns for e in entries if e.kind == "kill"}
    last = max((e.mono_ns for e in entries), default=0)
    for e in entries:
        if e.kind == "start":
            end = ends.get((e.job_id, e.token, e.pid), killed.get(e.pid, last))
            yield e.job_id, e.mono_ns, end


def _most_at_once(spans: Iterable[tuple[int, int]]) -> int:
    """A sweep line; at the same instant an end counts before a begin."""
    changes = sorted(change for begin, end in spans for change in ((begin, 1), (end, -1)))
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def _overlaps(spans: list[tuple[str, int, int]]) -> list[str]:
    of_job: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for job_id, begin, end in spans:
        of_job[job_id].append((begin, end))
    return sorted(job_id for job_id, own in of_job.items() if _most_at_once(own) > 1)


def _listed(what: str, job_ids: list[str]) -> str:
    if not job_ids:
        return ""
    return f"{len(job_ids)} {what}: {', '.join(job_ids[:5])}{' …' if len(job_ids) > 5 else ''}"
