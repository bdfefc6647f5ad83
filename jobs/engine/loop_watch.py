"""Watches the event loop from the lease thread: how late it answers, and what blocks it.

The thread asks the loop for a sign of life; while none comes, it looks at the stack of the loop's
thread and names the job and the line of the user's code that does not give the loop back.
"""

from __future__ import annotations

import asyncio
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import get_ident
from types import FrameType

from jobs import clock, logs
from jobs.engine.executor import Executor
from jobs.engine.run import Run

#: A loop that has not answered for so long is blocked.
BLOCKED_S = 0.5

_ENGINE = "jobs.engine"
_RUN = Executor.run.__code__
_LIBRARIES = tuple(
    str(Path(sysconfig.get_path(name))) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


@dataclass(frozen=True, slots=True)
class Blockage:
    """One time that the loop did not answer, and the job whose code was on its stack, if any."""

    where: str
    at_ms: int
    lasted_ms: int
    job: str | None = None
    function: str | None = None


class LoopWatch:
    """Duties: 1. measure how late the loop answers; 2. say once, while it is blocked, by what.

    Made in the loop's own thread; `look` is called by another.

    Args:
        loop: the loop.
        blocked_s: it counts as blocked when it has not answered for so many seconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, blocked_s: float = BLOCKED_S) -> None:
        self._loop = loop
        self._thread = get_ident()
        self._blocked_s = blocked_s
        self._asked_s: float | None = None
        self._answered_s = clock.mono()
        self._worst_s = 0.0
        self._told = False
        #: The last blockage, also when it is over.
        self.last: Blockage | None = None

    @property
    def silent_s(self) -> float:
        """Seconds since the loop's last sign of life."""
        return clock.mono() - self._answered_s

    @property
    def is_blocked(self) -> bool:
        """Whether the loop has not answered for long."""
        return self._told

    def take_worst_ms(self) -> int:
        """The longest time in ms that the loop took for an answer since this was last asked."""
        worst, self._worst_s = self._worst_s, 0.0
        return round(max(worst, self._waiting_s()) * 1000)

    def look(self) -> bool:
        """Ask the loop, or notice that it does not answer; whether a blockage was found now."""
        waiting_s = self._waiting_s()
        if self._asked_s is None:
            self._asked_s = clock.mono()
            self._loop.call_soon_threadsafe(self._answer)
        elif self._told:
            self._lasts(waiting_s)
        elif waiting_s >= self._blocked_s:
            return self._find(waiting_s)
        return False

    def _waiting_s(self) -> float:
        asked_s = self._asked_s
        return 0.0 if asked_s is None else clock.mono() - asked_s

    def _answer(self) -> None:
        """Called in the loop."""
        waited_s = self._waiting_s()
        self._worst_s = max(self._worst_s, waited_s)
        if self._told:
            self._lasts(waited_s)
        self._asked_s, self._told, self._answered_s = None, False, clock.mono()

    def _find(self, waited_s: float) -> bool:
        run, where = culprit(sys._current_frames().get(self._thread))  # noqa: SLF001 -- public in all but its name
        if self._asked_s is None or not where:  # it answered meanwhile, or waits for the machine
            return False
        waited_ms = round(waited_s * 1000)
        names = (run.job_id, run.function) if run else (None, None)
        self.last = Blockage(where, clock.now_ms() - waited_ms, waited_ms, *names)
        self._told = True
        logs.blocks(run, where, waited_s)
        return True

    def _lasts(self, waited_s: float) -> None:
        if self.last is not None:
            self.last = replace(self.last, lasted_ms=round(waited_s * 1000))


def culprit(frame: FrameType | None) -> tuple[Run | None, str]:
    """The job whose code is on this stack, and the place of its innermost line of user's code.

    Frames of libraries are passed over if others are there; without a job, frames of this package
    and of libraries say nothing, and the place is empty.
    """
    run: Run | None = None
    inner: list[FrameType] = []
    for one in _outwards(frame):
        if one.f_code is _RUN:
            run = one.f_locals.get("run")
            break
        if not str(one.f_globals.get("__name__", "")).startswith(_ENGINE):
            inner.append(one)
    own = [one for one in inner if not _is_library(one)]
    if own:
        return run, _place(own[0])
    # The function itself may be installed as a library: it is the outermost frame of its job.
    return run, _place(inner[-1]) if run is not None and inner else ""


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_library(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    module = str(frame.f_globals.get("__name__", ""))
    return name.startswith(("<frozen", *_LIBRARIES)) or module.partition(".")[0] == "jobs"


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
