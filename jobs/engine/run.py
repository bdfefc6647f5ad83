"""One attempt in progress on this worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from jobs import clock
from jobs.durations import format_ms
from jobs.engine.awaits import chain_of
from jobs.engine.deadlines import LATENESS
from jobs.engine.outcome import Resolution, Stop, Why
from jobs.engine.softly import Soft
from jobs.store.queue import Ack, Claimed
from jobs.store.record import CANCEL_ASKED, record_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobs.context import Context
    from jobs.engine.plans import Plan

#: A stuck loop lets go of a job this long after the job's own timeout.
GIVE_UP_MARGIN_S = 1.0
#: A limit that is nearer than this is over: deadlines are met to a slot of the wheel.
_OVER_S = 0.002


def _nothing(run: Run) -> None:
    """Nobody watches."""


class Run:
    """A claimed job, its task, and the order to stop, if somebody gave one.

    It is also the subject of the log lines of its attempt.
    """

    #: Set when the body is read.
    plan: Plan
    #: Set when the function asks for more time: most never do.
    extended_s: float

    __slots__ = (
        "attempt",
        "available_ms",
        "cancel_asked",
        "claimed",
        "claimed_ms",
        "context",
        "deadline",
        "extended_s",
        "function",
        "give_up_s",
        "job_id",
        "plan",
        "queue",
        "resolution",
        "soft",
        "started_s",
        "stop",
        "task",
        "timeout_s",
        "token",
        "watch",
        "worker",
    )

    def __init__(
        self, claimed: Claimed, queue: str, worker: str, claimed_ms: float, started_s: float
    ) -> None:
        self.claimed = claimed
        self.claimed_ms = claimed_ms
        self.job_id = claimed.id
        self.queue = queue
        self.worker = worker
        self.started_s = started_s
        _, token, failures, _, _, flags, _, self.available_ms, _ = record_fields(claimed.packed)
        self.token = int(token)
        self.attempt: int = failures + 1
        self.cancel_asked = bool(flags & CANCEL_ASKED)
        #: Limit of the attempt from its start; `None` before it begins, when it has none, and
        #: after its function has ended.
        self.timeout_s: float | None = None
        self.soft: Soft | None = None
        self.deadline: int | None = None
        self.function = "?"
        self.give_up_s = float("inf")
        self.context: Context | None = None
        self.task: asyncio.Task[Ack | None] | None = None
        self.stop: Stop | None = None
        #: How the attempt ended, for listeners; `None` when there are none.
        self.resolution: Resolution | None = None
        #: Called when the time of an attempt begins later than the attempt itself.
        self.watch: Callable[[Run], None] = _nothing

    def stop_for(self, why: Why, detail: str = "") -> None:
        """Cancel the attempt; the first reason holds, but a lost lease overrides every other.

        The same reason again changes nothing: a clean-up in progress is not disturbed.
        """
        if self.stop is not None and self.stop.why is why:
            return
        if self.soft is not None:
            self.soft.give_way()
        if self.stop is None or why is Why.lost:
            self.stop = Stop(why, detail)
        if self.task is not None:
            self.task.cancel()

    # -- time ------------------------------------------------------------------------------

    def begin_time(self, plan: Plan) -> None:
        """The time of the attempt begins to count."""
        if plan.soft_s is not None:
            self.soft = Soft(plan.soft_s, raises=plan.soft_raises)
            self.timeout_s = float("inf")
        if plan.timeout_s is not None:
            self.timeout_s = plan.timeout_s
            self.give_up_s = self.started_s + plan.timeout_s * (1 + LATENESS) + GIVE_UP_MARGIN_S

    def next_limit_s(self) -> float:
        """When the next of its limits is over, in seconds from now."""
        limit_s = float("inf") if self.timeout_s is None else self.timeout_s
        if self.soft is not None and not self.soft.struck:
            limit_s = min(limit_s, self.soft.limit_s)
        return self.started_s + limit_s - clock.mono()

    def time_out(self) -> None:
        """A limit is over, unless the time was extended; nothing to do when the function has
        just ended.
        """
        self.deadline = None
        if self.timeout_s is None:
            return
        if self.next_limit_s() <= _OVER_S:
            if self.soft is None or self.soft.struck:
                self._end_time()
                return
            self.soft.strike(self.task if self.stop is None else None)
        self.watch(self)

    def _end_time(self) -> None:
        if self.stop is None:
            if self.soft is not None:
                self.soft.give_way()
            extended_s = getattr(self, "extended_s", 0.0)
            extended = format_ms(round(extended_s * 1000))
            detail = f", extended by {extended}" if extended_s else ""
            self.stop = Stop(Why.timeout, detail, chain_of(self.task))
            if self.task is not None:
                self.task.cancel()
        else:
            self.stop_for(Why.timeout)

    # -- what its function may ask and wish ------------------------------------------------

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the job."""
        return self.plan.tags

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the job."""
        return self.plan.headers

    @property
    def cancelled(self) -> bool:
        """Whether the attempt is to stop."""
        return self.stop is not None

    @property
    def soft_timeout(self) -> asyncio.Event:
        """Set when the soft timeout is over."""
        return self.soft.event if self.soft is not None else asyncio.Event()

    def extend(self, seconds: float) -> float | None:
        """Give the attempt more time; the seconds that are left, `None` for no limit."""
        if self.timeout_s is None or self.timeout_s == float("inf") or self.stop is not None:
            return 0.0 if self.stop is not None else None
        self.timeout_s += seconds
        self.give_up_s += seconds * (1 + LATENESS)
        self.extended_s = getattr(self, "extended_s", 0.0) + seconds
        if self.soft is not None and not self.soft.struck:
            self.soft.limit_s += seconds
        return max(0.0, self.started_s + self.timeout_s - clock.mono())
