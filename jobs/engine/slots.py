"""Runs the claimed jobs of a queue: as many as its concurrency allows, the others in line.

A worker claims a little ahead of need, so that a slot which gets free has its next job without
waiting for the server. Jobs in line are leased but have not begun; one that cannot begin soon
goes back to its place in the queue.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from jobs import clock
from jobs.engine.deadlines import Deadlines
from jobs.engine.executor import Executor, unbegun
from jobs.engine.outcome import Why
from jobs.engine.run import Run
from jobs.store.queue import Ack

#: Longest time that a job stands in line while other workers could run it.
LINE_S = 0.1
#: Jobs begun in one turn of the event loop, so that jobs that never wait do not hold it up.
BATCH = 32

#: Called with each attempt that ended, and the ack to write, if any.
OnEnd = Callable[[Run, Ack | None], None]

if sys.version_info >= (3, 12):

    def _start(
        loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Ack | None]
    ) -> asyncio.Task[Ack | None]:
        """A task whose first step is made here and now: one that never waits is done at once."""
        return asyncio.Task(work, loop=loop, eager_start=True)

else:

    def _start(
        loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Ack | None]
    ) -> asyncio.Task[Ack | None]:
        """A task that begins in the next turn of the loop."""
        return loop.create_task(work)


class Slots:
    """Duties: 1. begin jobs while slots are free; 2. report each end; 3. give back, unbegun, what
    stands in line too long or when the worker stops.

    Args:
        executor: runs one job.
        concurrency: how many run at once.
        deadlines: stops the jobs that run longer than their time.
        on_end: told of every end.
    """

    def __init__(
        self, executor: Executor, concurrency: int, deadlines: Deadlines, on_end: OnEnd
    ) -> None:
        self.concurrency = concurrency
        #: Every job whose lease is held here, by its id.
        self.runs: dict[str, Run] = {}
        self._executor = executor
        self._deadlines = deadlines
        self._on_end = on_end
        self._line: deque[Run] = deque()
        self._busy = 0
        self.started = 0
        self._loop = asyncio.get_running_loop()
        self._filling: asyncio.Handle | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._watcher = self._watch_one

    def add(self, runs: Iterable[Run]) -> None:
        """Take claimed jobs; they begin in the next turns of the loop."""
        for run in runs:
            if before := self.runs.get(run.job_id):
                before.stop_for(Why.lost)
            self.runs[run.job_id] = run
            self._line.append(run)
        self._fill_soon()
        if self._line and self._patience is None:
            self._patience = self._loop.call_later(LINE_S, self._lose_patience)

    def give_back(self, claimed_before_s: float = float("inf")) -> None:
        """Give back the jobs in line that were claimed before a moment; by default all."""
        while self._line and self._line[0].started_s < claimed_before_s:
            run = self._line.popleft()
            self._forget(run)
            self._on_end(run, unbegun(run))

    def resize(self, concurrency: int) -> None:
        """Run so many jobs at once from now on; what runs is not disturbed."""
        self.concurrency = concurrency
        self._fill_soon()

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks of the jobs that have begun."""
        return [run.task for run in self.runs.values() if run.task is not None]

    # -- begin and end ---------------------------------------------------------------------

    def _fill_soon(self) -> None:
        if self._filling is None and self._line and self._busy < self.concurrency:
            self._filling = self._loop.call_soon(self._fill)

    def _fill(self) -> None:
        begun = []
        for _ in range(BATCH):
            if not self._line or self._busy >= self.concurrency:
                break
            run = self._line.popleft()
            if not self._begin(run):
                begun.append(run)
        if begun:
            self._loop.call_soon(self._watch, begun)
        self._filling = None
        self._fill_soon()

    def _begin(self, run: Run) -> bool:
        """Begin a job; whether it has ended already."""
        self._busy += 1
        self.started += 1
        run.started_s = clock.mono()
        run.watch = self._watcher
        run.task = task = _start(self._loop, self._executor.run(run))
        if task.done():
            self._ended(run, task)
            return True
        task.add_done_callback(partial(self._ended, run))
        return False

    def _watch(self, begun: list[Run]) -> None:
        """Set a deadline for the jobs that have made their first step and wait for something: a
        deadline is of no use to the others, and most jobs that wait for nothing are short.
        """
        for run in begun:
            self._watch_one(run)

    def _watch_one(self, run: Run) -> None:
        if run.timeout_s is None or run.deadline is not None:
            return
        if run.task is not None and not run.task.done():
            run.task.set_name(f"job-{run.job_id}")
            left_s = run.next_limit_s()
            if left_s != math.inf:
                run.deadline = self._deadlines.add(run, max(0, left_s))

    def _ended(self, run: Run, task: asyncio.Task[Ack | None]) -> None:
        if run.deadline is not None:
            self._deadlines.remove(run, run.deadline)
        self._busy -= 1
        self._forget(run)
        ack = self._executor.released(run) if task.cancelled() else task.result()
        run.task = None  # its context variables name the run: a ring would be left to the collector
        self._on_end(run, ack)
        self._fill_soon()

    def _forget(self, run: Run) -> None:
        if self.runs.get(run.job_id) is run:
            del self.runs[run.job_id]

    def _lose_patience(self) -> None:
        self._patience = None
        self.give_back(clock.mono() - LINE_S)
        if self._line:
            left_s = self._line[0].started_s + LINE_S - clock.mono()
            self._patience = self._loop.call_later(max(left_s, 0.001), self._lose_patience)
