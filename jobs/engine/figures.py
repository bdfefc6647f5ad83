"""arq's counters, read from the account that the producers keep."""

from __future__ import annotations

from jobs.engine.producer import Counters


class Figures:
    """The counters of a worker under arq's names; arq's constructor sets them to 0."""

    _counters: Counters

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
