"""arq's counters, read from the account that the producers keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.engine.accounts import Counters

if TYPE_CHECKING:
    from jobs.engine.session import Session


class Figures:
    """The counters of a worker under arq's names; arq's constructor sets them to 0."""

    _counters: Counters
    _session: Session | None

    @property
    def jobs_complete(self) -> int:
        """Jobs completed by this worker."""
        return self._counters.complete

    @jobs_complete.setter
    def jobs_complete(self, value: int) -> None:
        self._counters.complete = value

    @property
    def jobs_failed(self) -> int:
        """Jobs that ended failed, cancelled or expired in this worker."""
        return self._counters.failed

    @jobs_failed.setter
    def jobs_failed(self, value: int) -> None:
        self._counters.failed = value

    @property
    def jobs_retried(self) -> int:
        """Attempts of this worker after which the job was put back."""
        return self._counters.retried

    @jobs_retried.setter
    def jobs_retried(self, value: int) -> None:
        self._counters.retried = value

    def _figures(self) -> str:
        """The figures of arq's health key."""
        return self._counters.figures(self._session.ongoing() if self._session else 0)

    def __repr__(self) -> str:
        return f"<Worker {self._figures()}>"
