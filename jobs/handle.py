"""The handle of one job: what it is, how it stands, and its result, awaited by push."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, cast, overload

import arq.jobs
from arq.jobs import JobDef, JobResult, JobStatus
from pydantic import TypeAdapter

from jobs.durations import Duration
from jobs.errors import JobCancelled, JobExpired, JobFailed, JobNotFound, ResultTimeout
from jobs.notes import JobLog
from jobs.operations.editing import Payload
from jobs.operations.explain import Explanation
from jobs.operations.job_control import JobControl, QueueOfJobs
from jobs.states import TERMINAL, State
from jobs.store.results import End

R = TypeVar("R")
T = TypeVar("T")


class ResultNotFound(JobNotFound, arq.jobs.ResultNotFound):
    """`JobNotFound` under arq's name, so that code written for arq catches it."""


@dataclass(frozen=True, slots=True)
class JobInfo:
    """Everything that a queue knows about one job.

    `history` has one entry for each ended attempt (the newest 64 KiB), oldest first: a dict with
    `outcome`, `attempt`, `at` (ms), `ran` (ms), `worker`, and `error` or `result`.
    """

    id: str
    queue: str
    state: State
    function: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    priority: int
    failures: int
    losses: int
    interruptions: int
    enqueued_at: datetime
    due_at: datetime | None
    finished_at: datetime | None
    history: list[dict[str, Any]] = field(default_factory=list)
    #: What the job told last with `ctx.progress`, as JSON data; `None` if nothing.
    progress: Any = None

    @property
    def attempt(self) -> int:
        """The attempt that runs, or the last one that ran; 0 before the first."""
        return int(self.history[-1].get("attempt", 0)) if self.history else self.failures

    @property
    def snoozes(self) -> int:
        """How often it was put off by `Snooze`, as far as `history` goes back."""
        return sum(entry.get("outcome") == "snoozed" for entry in self.history)

    @property
    def tags(self) -> list[str]:
        """The tags of the job: those of its call and of its function."""
        return list(self.options.get("tags", ()))

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the job."""
        return dict(self.options.get("headers", {}))

    @property
    def result(self) -> Any:
        """What the function returned; `None` unless the job is completed."""
        return self.history[-1].get("result") if self.state is State.completed else None

    @property
    def error(self) -> dict[str, Any] | None:
        """The last error (`type`, `message`, `traceback`), if any attempt had one."""
        errors = [entry["error"] for entry in self.history if entry.get("error")]
        return errors[-1] if errors else None

    @property
    def status_body(self) -> dict[str, Any]:
        """The job in BullMQ's words, as a status page answers: `id`, `name`, `state`, `progress`,
        `data`, `returnvalue`, `attemptsMade`, `failedReason`.
        """
        ran = self.failures + (self.state is State.completed)
        error = self.error if self.state is not State.completed else None
        return {
            "id": self.id,
            "name": self.function,
            "state": str(self.state),
            "progress": 0 if self.progress is None else self.progress,
            "data": _data(self.args, self.kwargs),
            "returnvalue": self.result,
            "attemptsMade": ran,
            "failedReason": error and error.get("message"),
        }


class JobSource(Protocol):
    """What a handle needs from its client."""

    async def wait_end(self, queue: str, job_id: str, timeout_s: float | None) -> End:
        """Wait for the end of a job."""

    async def cancel_job(self, queue: str, job_id: str, reason: str = ...) -> State | None:
        """Cancel a job."""

    async def job_info(self, queue: str, job_id: str) -> JobInfo:
        """Everything about a job."""

    async def job_logs(self, queue: str, job_id: str, attempt: int | None = ...) -> JobLog:
        """The log of a job."""

    def read_end(self, end: End) -> dict[str, Any]:
        """The last entry of a job's history."""


class Job(JobControl, arq.jobs.Job, Generic[R]):
    """A reference to one job; arq's `Job`, with typed results that arrive by push.

    Args:
        job_id: the job's id.
        redis: the client.
        _queue_name: the queue that holds it.
        duplicate: whether `enqueue` found the job instead of making it.
        convert: turns the JSON value of the result into the function's return type.
    """

    __slots__ = ("_convert", "duplicate")

    def __init__(
        self,
        job_id: str,
        redis: Any,
        _queue_name: str = "default",
        _deserializer: Any = None,
        *,
        duplicate: bool = False,
        convert: Callable[[Any], R] | None = None,
    ) -> None:
        super().__init__(job_id, redis, _queue_name, _deserializer)
        self.duplicate = duplicate
        self._convert = convert

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job_id

    @property
    def queue(self) -> str:
        """The queue that holds the job."""
        return self._queue_name

    @property
    def _source(self) -> JobSource:
        return self._redis  # type: ignore[return-value]  # the client is both: ArqRedis and source

    @property
    def _view(self) -> QueueOfJobs:
        view: QueueOfJobs = cast("Any", self._redis).queue(self._queue_name)
        return view

    async def result(
        self,
        timeout: float | None = None,
        *,
        poll_delay: float = 0,
        pole_delay: float | None = None,
    ) -> R:
        """Wait for the end of the job and return what its function returned; `None` if it was
        skipped, or its result was too large to be stored.

        Args:
            timeout: seconds to wait; `None` (default) waits for ever.
            poll_delay: accepted for arq's sake and not needed: the end is pushed.
            pole_delay: the same, by arq's older name.

        Raises:
            JobFailed: the job failed for good; `JobCancelled`, `JobExpired` are its kinds.
            JobNotFound: the queue does not hold the job, or not any more; it is arq's
                `ResultNotFound` too.
            ResultTimeout: it did not end in time.
        """
        try:
            end = await self._source.wait_end(self._queue_name, self.job_id, timeout)
        except JobNotFound:
            raise ResultNotFound(self._queue_name, self.job_id) from None
        line = self._source.read_end(end)
        if end.state is State.completed:
            value = line.get("result")
            has_value = "unstored" not in line and line.get("outcome") != "skipped"
            if self._convert is not None and has_value:
                return self._convert(value)
            return cast("R", value)
        raise _failure(end.state, line)

    async def state(self) -> State:
        """Where the job is now.

        Raises:
            JobNotFound: the queue does not hold it.
        """
        return (await self._source.job_info(self._queue_name, self.job_id)).state

    async def details(self) -> JobInfo:
        """Everything that the queue knows about the job.

        Raises:
            JobNotFound: the queue does not hold it.
        """
        return await self._source.job_info(self._queue_name, self.job_id)

    async def explain(self) -> Explanation:
        """Why the job is not running, and when it will.

        Raises:
            JobNotFound: the queue does not hold it.
        """
        return await self._view.explain(self.job_id)

    @overload
    async def progress(self) -> Any: ...
    @overload
    async def progress(self, kind: type[T]) -> T | None: ...
    async def progress(self, kind: Any = None) -> Any:
        """What the job told last with `ctx.progress`; `None` if nothing.

        Args:
            kind: the type of it, such as a model; default plain JSON data.

        Raises:
            JobNotFound: the queue does not hold it.
            pydantic.ValidationError: it is no such thing.
        """
        told = (await self.details()).progress
        return told if kind is None or told is None else TypeAdapter(kind).validate_python(told)

    async def logs(self, attempt: int | None = None) -> JobLog:
        """The job's log: what it wrote with `ctx.log`, and captured records of `logging`.

        Args:
            attempt: only the lines of this attempt; default all.

        Raises:
            JobNotFound: the queue does not hold it.
        """
        return await self._source.job_logs(self._queue_name, self.job_id, attempt)

    async def status(self) -> JobStatus:
        """The state in arq's words."""
        try:
            return _ARQ_STATUS[await self.state()]
        except JobNotFound:
            return JobStatus.not_found

    async def info(self) -> JobDef | None:
        """arq's `JobDef`, or `JobResult` when the job has ended; `None` if it is not there."""
        try:
            details = await self.details()
        except JobNotFound:
            return None
        return _job_result(details) if details.state in TERMINAL else JobDef(**_definition(details))

    async def result_info(self) -> JobResult | None:
        """arq's `JobResult` of an ended job; never raises the job's own error."""
        info = await self.info()
        return info if isinstance(info, JobResult) else None

    async def cancel(self, reason: str = "cancelled") -> State | None:
        """Stop the job where it is: at once if it waits, else by asking its worker.

        Returns:
            The state in which it was found; `None` if the queue does not hold it.
        """
        return await self._source.cancel_job(self._queue_name, self.job_id, reason)

    async def copy(
        self,
        *,
        payload: Payload | None = None,
        id: str | None = None,  # noqa: A002 -- the word of `enqueue`
        delay: Duration | None = None,
        run_at: datetime | None = None,
    ) -> Job[R]:
        """Enqueue a copy of the job, optionally with another payload; see `QueueView.duplicate`.

        Raises:
            The same as there.
        """
        made = await self._view.duplicate(
            self.job_id, payload=payload, id=id, delay=delay, run_at=run_at
        )
        return Job(made.job_id, self._redis, self._queue_name, convert=self._convert)

    async def abort(self, *, timeout: float | None = None, poll_delay: float = 0) -> bool:
        """arq's name for `cancel`, waiting for the end.

        Args:
            timeout: seconds to wait; `None` (default) waits for ever.
            poll_delay: accepted for arq's sake and not needed.

        Returns:
            Whether the job ended cancelled; `False` for an unknown or otherwise ended job.

        Raises:
            ResultTimeout: it did not end in time.
        """
        if await self.cancel("aborted") is None:
            return False
        try:
            end = await self._source.wait_end(self._queue_name, self.job_id, timeout)
        except JobNotFound:
            return False
        return end.state is State.cancelled

    def __repr__(self) -> str:
        return f"<Job {self.job_id} in {self._queue_name}>"


def _data(args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The payload of a job: its model, or its arguments by name, those without one in a list."""
    if len(args) == 1 and not kwargs and isinstance(args[0], dict):
        return args[0]
    return kwargs if not args else {"args": args, **kwargs}


_ARQ_STATUS = {
    State.waiting: JobStatus.queued,
    State.delayed: JobStatus.deferred,
    State.active: JobStatus.in_progress,
    State.parked: JobStatus.queued,
    State.suspended: JobStatus.deferred,
    State.completed: JobStatus.complete,
    State.failed: JobStatus.complete,
    State.cancelled: JobStatus.complete,
    State.expired: JobStatus.complete,
}


def _failure(state: State, line: dict[str, Any]) -> JobFailed:
    error = line.get("error") or {}
    kinds = {State.cancelled: JobCancelled, State.expired: JobExpired}
    message = error.get("message") or line.get("reason") or ""
    return kinds.get(state, JobFailed)(error.get("type", state), message, error.get("traceback"))


def _definition(details: JobInfo) -> dict[str, Any]:
    due = details.due_at or details.enqueued_at
    return {
        "function": details.function,
        "args": tuple(details.args),
        "kwargs": details.kwargs,
        "job_try": details.attempt or None,
        "enqueue_time": details.enqueued_at,
        "score": None if details.state in TERMINAL else int(due.timestamp() * 1000),
        "job_id": details.id,
    }


def _job_result(details: JobInfo) -> JobResult:
    last = details.history[-1] if details.history else {}
    success = details.state is State.completed
    finished = details.finished_at or details.enqueued_at
    started = datetime.fromtimestamp(
        finished.timestamp() - last.get("ran", 0) / 1000, tz=finished.tzinfo
    )
    return JobResult(
        **_definition(details),
        success=success,
        result=last.get("result") if success else _failure(details.state, last),
        start_time=started,
        finish_time=finished,
        queue_name=details.queue,
    )


def timed_out(queue: str, job_id: str, timeout_s: float) -> ResultTimeout:
    """The error of a wait that was too short."""
    return ResultTimeout(
        f"job {job_id!r} in queue {queue!r} did not end within {timeout_s:g} s; "
        "is a worker serving that queue? `arq-jobs show` tells its state"
    )
