"""The slot of a worker of our own: the peers' layout (peers/_harness.py) and a few cells more.

A worker counts in it, and the bench reads it while the worker runs. The cells behind the peers'
hold the starting gun, which lets several workers begin at once, and the moment at which a given
number of jobs had ended, for drains that leave most of the queue behind.
"""

from __future__ import annotations

import mmap
import time
from enum import IntEnum
from pathlib import Path
from struct import pack_into, unpack_from

from benchmarks.processes import SLOT_BYTES, Crew

WAIT_S = 0.004
"""Between two looks for the starting gun: workers that wait must not cost those that run."""


class Cell(IntEnum):
    """What stands in which of a slot's numbers."""

    finished = 0
    first = 1  # monotonic ns at which the first job began
    last = 2  # monotonic ns at which the last one ended
    cpu_first = 3  # the process's CPU ns at the first job
    cpu_last = 4  # the same, sampled every hundred jobs
    ready = 5  # 1: everything is imported, the worker waits for `go`
    go = 6  # 1: begin
    target = 8  # note the moment at which so many jobs have ended
    mark = 9  # that moment, monotonic ns
    cpu_mark = 10  # the process's CPU ns then


class Meter:
    """One slot, as its worker writes it."""

    def __init__(self, path: Path, slot: int) -> None:
        with path.open("r+b") as file:
            whole = memoryview(mmap.mmap(file.fileno(), 0))
        self._cells = whole[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES].cast("q")

    def wait_for_go(self) -> None:
        """Say that everything is ready and wait until the bench says go."""
        self._cells[Cell.ready] = 1
        while not self._cells[Cell.go]:
            time.sleep(WAIT_S)

    def begin(self) -> None:
        """A job begins."""
        cells = self._cells
        if not cells[1]:
            cells[3] = time.process_time_ns()
            cells[1] = time.monotonic_ns()

    def end(self) -> None:
        """A job ended; counted last, since the bench goes by the count."""
        cells = self._cells
        finished = cells[0] + 1
        cells[2] = now = time.monotonic_ns()
        if finished % 100 == 0 or finished == cells[8]:
            cells[4] = time.process_time_ns()
            if finished == cells[8]:
                cells[9], cells[10] = now, cells[4]
        cells[0] = finished


def go(crew: Crew, target: int = 0) -> None:
    """Let all workers of a crew begin, and note when each has ended `target` jobs."""
    for slot in range(len(crew.processes)):
        _write(crew, slot, Cell.target, target)
        go_one(crew, slot)


def go_one(crew: Crew, slot: int) -> None:
    """Let one worker begin."""
    _write(crew, slot, Cell.go, 1)


def read(crew: Crew, slot: int, cell: Cell) -> int:
    """One number of one worker."""
    (value,) = unpack_from("=q", crew.shared, slot * SLOT_BYTES + cell * 8)
    return int(value)


def _write(crew: Crew, slot: int, cell: Cell, value: int) -> None:
    pack_into("=q", crew.shared, slot * SLOT_BYTES + cell * 8, value)
