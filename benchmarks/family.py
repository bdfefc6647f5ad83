"""CPU time of a process and all that it started, wherever their process groups are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from benchmarks.model import Failed

PROC = Path("/proc")


def cpu_s(roots: Iterable[int]) -> float:
    """CPU seconds that the living processes of these families have used so far.

    Raises:
        Failed: this system has no /proc.
    """
    if not (PROC / "self" / "schedstat").exists():
        raise Failed("the CPU time of process trees is read from /proc, which is not here")
    return sum(_own_ns(pid) for pid in members(roots)) / 1e9


def members(roots: Iterable[int]) -> set[int]:
    """The processes and their descendants."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for pid, parent in _parents():
        children[parent].append(pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children[pid]
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for stat in PROC.glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name in parentheses may hold anything, also spaces: fields count from its end.
            fields = stat.read_text().rpartition(")")[2].split()
            yield int(stat.parent.name), int(fields[1])


def _own_ns(pid: int) -> int:
    total = 0
    for file in PROC.glob(f"{pid}/task/*/schedstat"):
        with suppress(OSError):
            total += int(file.read_text().split()[0])
    return total
