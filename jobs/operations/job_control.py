"""What is done to one job through its handle: the verbs of its queue, for this job alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Protocol

from jobs.durations import Duration
from jobs.errors import JobNotFound, WrongState
from jobs.operations.editing import Payload
from jobs.operations.explain import Explanation
from jobs.states import TERMINAL, State


class QueueOfJobs(Protocol):
    """What a handle needs from the view of its queue."""

    async def retry(
        self, ids: Sequence[str], *, reset_attempts: bool = ..., payload: Payload | None = ...
    ) -> list[State | None]:
        """Make ended jobs wait again."""

    async def promote(self, ids: Sequence[str]) -> list[State | None]:
        """Make delayed jobs wait now."""

    async def remove(self, ids: Sequence[str]) -> list[State | None]:
        """Remove jobs that do not run."""

    async def change(self, job_id: str, **changes: Any) -> State:
        """Edit a job that waits."""

    async def explain(self, job_id: str) -> Explanation:
        """Why a job is not running."""

    async def duplicate(self, job_id: str, **changes: Any) -> Any:
        """Enqueue a copy; its handle."""


class JobControl:
    """Retry, promote, change and remove one job."""

    __slots__ = ()

    job_id: str
    _queue_name: str

    @property
    def _view(self) -> QueueOfJobs:
        raise NotImplementedError

    async def retry(self, *, reset_attempts: bool = True, payload: Payload | None = None) -> None:
        """Make the ended job wait again, a completed one too; body and history stay.

        Args:
            reset_attempts: whether it gets all its attempts again (default); else one more.
            payload: other arguments, all of them; default its own.

        Raises:
            JobNotFound: the queue does not hold it.
            WrongState: it has not ended.
            InvalidPayload, PayloadTooLarge: the payload does not fit the function.
        """
        found = await self._view.retry(
            [self.job_id], reset_attempts=reset_attempts, payload=payload
        )
        self._check(found, TERMINAL, "retried: only jobs that have ended can be")

    async def promote(self) -> None:
        """Make the delayed job wait now, at the end of its priority.

        Raises:
            JobNotFound: the queue does not hold it.
            WrongState: it is not delayed.
        """
        found = await self._view.promote([self.job_id])
        self._check(found, {State.delayed}, "promoted: only delayed jobs can be")

    async def change(
        self,
        *,
        payload: Payload | None = None,
        priority: int | None = None,
        delay: Duration | None = None,
        run_at: datetime | None = None,
    ) -> State:
        """Edit the job while it waits, is delayed or is parked; see `QueueView.change`.

        Raises:
            The same as there.
        """
        return await self._view.change(
            self.job_id, payload=payload, priority=priority, delay=delay, run_at=run_at
        )

    async def remove(self) -> bool:
        """Remove the job with its body, result and history.

        Whoever waits for it hears that it was cancelled, with the reason "removed".

        Returns:
            Whether it was there.

        Raises:
            WrongState: it runs; cancel it first.
        """
        (found,) = await self._view.remove([self.job_id])
        if found is State.active:
            self._check([found], (), "removed: cancel it first")
        return found is not None

    def _check(self, found: list[State | None], fitting: Collection[State], why: str) -> None:
        (state,) = found
        if state is None:
            raise JobNotFound(self._queue_name, self.job_id)
        if state not in fitting:
            where = f"job {self.job_id!r} of queue {self._queue_name!r}"
            raise WrongState(f"{where} is {state} and was not {why}")
