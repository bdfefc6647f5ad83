"""What a function is given as its first argument."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, cast

from jobs import clock
from jobs.durations import Duration, to_seconds
from jobs.errors import RateLimited
from jobs.notes import NOTED, Noted, NoteTaker, check_level, line_json, progress_json
from jobs.once import once

if TYPE_CHECKING:
    from arq.connections import ArqRedis

    from jobs.durations import Duration


class Scheduled(NamedTuple):
    """What a job knows of the schedule that made it.

    Args:
        name: the schedule's.
        at: the instant that the job stands for; `jitter` may make it due later.
        last: the instant of the run before; `None` for the first.
    """

    name: str
    at: datetime
    last: datetime | None

    @classmethod
    def of(cls, wire: Sequence[Any] | None) -> Scheduled | None:
        """What stands in the body of a job: name, instant, last one (ms, 0 for none)."""
        if wire is None:
            return None
        name, at, last = wire
        return cls(str(name), clock.from_ms(at), clock.from_ms(last) if last else None)


class Attempt(Protocol):
    """The attempt behind a context: what it knows of itself while it runs."""

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the job."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the job."""

    @property
    def cancelled(self) -> bool:
        """Whether it is to stop."""

    @property
    def soft_timeout(self) -> asyncio.Event:
        """Set when the soft timeout is over."""

    def extend(self, seconds: float) -> float | None:
        """Give it more time."""


class Unattended:
    """The attempt of a context that no worker made: nothing limits or stops it."""

    __slots__ = ("cancelled", "headers", "soft_timeout", "tags")

    def __init__(self, tags: Iterable[str] = (), headers: Mapping[str, str] | None = None) -> None:
        self.tags = tuple(tags)
        self.headers: Mapping[str, str] = headers or {}
        self.cancelled = False
        self.soft_timeout = asyncio.Event()

    def extend(self, seconds: float) -> float | None:
        """There is no limit."""
        del seconds
        return None


class Context(dict[Any, Any]):
    """arq's `ctx` dict of shared resources, with what a job should know about itself.

    As in arq, `ctx["redis"]` is the client, and `job_id`, `job_try`, `enqueue_time` and `score`
    are entries too; whatever `on_startup` put into the worker's `ctx` is there.

    Args:
        resources: the worker's own ctx; copied, so that a job cannot change it for others.
        job_id: the job's id.
        queue: the queue that it came from.
        function: the name of the function.
        attempt: which run this is, from 1.
        attempts: total runs allowed.
        token: grows with every claim of this job: hand it to a resource that must refuse a
            worker which has lost its lease (a fencing token).
        worker: the id of the worker.
        enqueued_at: when the job was enqueued, by the server's clock; default 1970, so that a
            context made by hand is the same every time.
        schedule: the schedule that made the job, with its instant; `None` for other jobs.
        due_ms: when this attempt was due, in ms since 1970: arq's `score`; default the same.
        tags, headers: those of the job, for a context made by hand.
        running: the attempt in progress; set by workers.
    """

    __slots__ = (
        "_running",
        "attempt",
        "attempts",
        "enqueued_at",
        "function",
        "job_id",
        "notes",
        "queue",
        "schedule",
        "token",
        "worker",
    )

    def __init__(  # noqa: PLR0913 -- the facts of one attempt, each by name
        self,
        resources: Mapping[Any, Any] | None = None,
        *,
        job_id: str = "test",
        queue: str = "default",
        function: str = "test",
        attempt: int = 1,
        attempts: int = 1,
        token: int = 1,
        worker: str = "test",
        enqueued_at: datetime | None = None,
        due_ms: int | None = None,
        tags: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
        running: Attempt | None = None,
        schedule: Scheduled | None = None,
    ) -> None:
        super().__init__(resources or {})
        self._running = Unattended(tags, headers) if running is None else running
        self.job_id = job_id
        self.queue = queue
        self.function = function
        self.attempt = attempt
        self.attempts = attempts
        self.token = token
        self.worker = worker
        self.schedule = schedule
        self.enqueued_at = enqueued_at or clock.from_ms(0)
        #: Where `progress` and `log` go; nowhere in a context made by hand.
        self.notes: NoteTaker | None = None
        self["job_id"] = job_id
        self["job_try"] = attempt
        self["enqueue_time"] = self.enqueued_at
        self["score"] = int(self.enqueued_at.timestamp() * 1000) if due_ms is None else due_ms

    @property
    def client(self) -> ArqRedis:
        """The client of the worker, to enqueue further jobs."""
        return cast("ArqRedis", self["redis"])

    @property
    def is_last_attempt(self) -> bool:
        """Whether a failure of this run is final."""
        return self.attempt >= self.attempts

    def rate_limited(self, delay: Duration, reason: str = "") -> NoReturn:
        """End this attempt, which is not counted, and begin no job of the queue for a time.

        Args:
            delay: how long the queue is closed, e.g. the `Retry-After` of a 429.
            reason: kept in the job's history.

        Raises:
            RateLimited: always; let it pass.
        """
        raise RateLimited(delay, reason)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the job: those of its call, its function and its queue."""
        return self._running.tags

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the job."""
        return self._running.headers

    @property
    def cancelled(self) -> bool:
        """Whether this attempt is to stop: cancelled, out of time, its lease lost (so that it may
        run elsewhere by now), or its worker stops. A coroutine meets `CancelledError` at the same
        time; a plain `def` in its thread has to look.
        """
        return self._running.cancelled

    @property
    def soft_timeout(self) -> asyncio.Event:
        """Set when the soft timeout of this attempt is over: `is_set()`, or `await ….wait()`."""
        return self._running.soft_timeout

    def extend(self, by: Duration) -> float | None:
        """Let this attempt run longer than its timeout allows, counted from the end it had.

        Args:
            by: a duration above zero. A soft timeout that is not over yet moves as well.

        Returns:
            The seconds that are left now; `None` for an attempt without a limit.

        Raises:
            InvalidOption: no duration.
            NotInProcess: with `executor="process"`, whose time cannot be extended.
        """
        return self._running.extend(to_seconds(by, what="extend"))

    @property
    def idempotency_key(self) -> str:
        """The same text for every attempt of this job, and for no other job: not for one that
        is given the same id later, either.
        """
        # Not from `score`: arq's is the time it was due, which is another at every attempt.
        return f"{self.queue}:{self.job_id}:{int(self.enqueued_at.timestamp() * 1000)}"

    def once(self, name: str, ttl: Duration = "24h") -> AbstractAsyncContextManager[bool]:
        """`async with ctx.once("send") as first:` -- whether no attempt of this job has done it.

        Done when the block ends, free again when it raises. A worker that dies in the block, or
        between its end and the marker, leaves it to the next attempt, which does it again.

        Args:
            name: what is done, apart from other things that the job does once.
            ttl: how long it stays done; longer than the job's attempts may take. Default 24 h.

        Raises:
            InvalidOption: an empty name, or a `ttl` that is not positive.
            ServerAway, ServerRefused: the server did not answer, or not well.
        """
        key = self.idempotency_key
        return once(self["redis"], f"{key}:{name}", ttl, ttl, owner=key, token=self.token)

    def progress(self, value: Any) -> Noted:
        """Tell how far the job is: `await ctx.progress(50)`.

        The newest value is kept with the job and told as the event `progress`. Calls cost next
        to nothing: values are written at most four times a second, and the last one always. A
        plain `def` calls it too, without `await`.

        Args:
            value: a number, a model, or other JSON data of at most 64 KiB.

        Raises:
            InvalidOption: it cannot be written as JSON, or is too large.
        """
        data = progress_json(value)
        if self.notes is not None:
            self.notes.progress(self, data)
        return NOTED

    def log(self, text: object, level: str = "INFO") -> Noted:
        """Write a line to the job's own log: `await ctx.log("resized 3 of 7")`.

        The newest 1,000 lines (64 KiB) of a job are kept with it. A plain `def` calls it too,
        without `await`.

        Args:
            text: the line; beyond 4,000 characters it is cut off.
            level: DEBUG, INFO (default), WARNING, ERROR or CRITICAL.

        Raises:
            InvalidOption: there is no such level.
        """
        line = line_json(self, str(text), check_level(level))
        if self.notes is not None:
            self.notes.line(self, line)
        return NOTED
