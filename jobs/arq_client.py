"""What arq's users call on a client: `enqueue_job`, and arq's questions."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from arq.connections import ArqRedis
from arq.jobs import JobDef, JobResult

from jobs import keys
from jobs.errors import InvalidOption
from jobs.handle import Job
from jobs.requests import Request, arq_options
from jobs.states import TERMINAL, State

if TYPE_CHECKING:
    from jobs.queues import QueueView


class ArqClient(ArqRedis):
    """The half of the client that speaks arq's language; the other half is `Client`."""

    if TYPE_CHECKING:  # of the other half

        async def _submit(self, request: Request, *, first_attempt: int = 1) -> Job[Any]:
            """Enqueue one job."""

        def job(self, job_id: str, queue: str = ...) -> Job[Any]:
            """The handle of a job."""

        def queue(self, name: str = ...) -> QueueView:
            """The view of a queue."""

        async def queues(self) -> list[str]:
            """The names of all queues."""

    async def enqueue_job(
        self,
        function: str,
        *args: Any,
        _job_id: str | None = None,
        _queue_name: str | None = None,
        _defer_until: datetime | None = None,
        _defer_by: float | timedelta | None = None,
        _expires: float | timedelta | None = None,
        _job_try: int | None = None,
        **kwargs: Any,
    ) -> Job[Any] | None:
        """Enqueue one job in arq's way.

        Args:
            function: the function's name.
            *args: its positional arguments.
            _job_id: the job's id; by default a new one.
            _queue_name: the queue; by default the function's own, else the client's default.
            _defer_until: the moment before which it does not run; naive means local time.
            _defer_by: seconds or timedelta to wait.
            _expires: not started this long after now, it ends `expired`, arguments kept.
            _job_try: the number of its first attempt.
            **kwargs: its keyword arguments.

        Returns:
            The job's handle, or `None` if a job that has not ended holds the id.

        Raises:
            The same as `enqueue`.
        """
        if _defer_until and _defer_by:
            raise InvalidOption("use either '_defer_until' or '_defer_by' or neither, not both")
        options = arq_options(_job_id, _queue_name, _defer_until, _defer_by, _expires)
        request = Request(function, args, kwargs, options)
        job = await self._submit(request, first_attempt=_job_try or 1)
        return None if job.duplicate else job

    async def all_job_results(self) -> list[JobResult]:
        """arq's list of the results of all ended jobs of all queues, by time of enqueue."""
        found = [
            await self.job(info.id, info.queue).result_info()
            for name in await self.queues()
            async for info in self.queue(name).iterate(*TERMINAL)
        ]
        return sorted((r for r in found if r is not None), key=lambda r: r.enqueue_time)

    async def queued_jobs(self, *, queue_name: str | None = None) -> list[JobDef]:
        """arq's list of the jobs of a queue that wait for a time or a worker."""
        name = keys.check_name(queue_name or self.default_queue_name)
        found = [
            await self.job(info.id, name).info()
            async for info in self.queue(name).iterate(State.waiting, State.delayed)
        ]
        return [definition for definition in found if definition is not None]
