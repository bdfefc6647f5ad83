"""One attempt in progress on this worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from jobs.engine.outcome import Resolution, Stop, Why
from jobs.store.queue import Ack, Claimed
from jobs.store.record import CANCEL_ASKED, record_fields

if TYPE_CHECKING:
    from jobs.context import Context


def _nothing(run: Run) -> None:
    """Nobody watches."""


class Run:
    """A claimed job, its task, and the order to stop, if somebody gave one.

    It is also the subject of the log lines of its attempt.
    """

    __slots__ = (
        "attempt",
        "available_ms",
        "cancel_asked",
        "claimed",
        "claimed_ms",
        "context",
        "deadline",
        "function",
        "give_up_s",
        "job_id",
        "queue",
        "resolution",
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
        self.timeout_s: float | None = None
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
        if self.stop is None or why is Why.lost:
            self.stop = Stop(why, detail)
        if self.task is not None:
            self.task.cancel()

    def time_out(self) -> None:
        """The attempt has used its time; nothing to do when its function has just ended."""
        if self.timeout_s is not None:
            self.stop_for(Why.timeout)
