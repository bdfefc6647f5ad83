"""Code around every enqueue and every run: an onion of async functions.

    async def timed(call: RunCall, call_next: CallNext) -> Any:
        begun = time.perf_counter()
        try:
            return await call_next()
        finally:
            logger.info("%s took %.3f s", call.function, time.perf_counter() - begun)

The first one given is the outermost. What a middleware raises by mistake harms nothing: it is
logged, and the job goes on without it. What it raises on purpose counts: an outcome (`Skip`,
`Fail`, `Retry` …) round a run, an error of this package round an enqueue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from arq.worker import Retry, RetryJob

from jobs.context import Context
from jobs.errors import ConfigurationError, JobsError, Outcome
from jobs.handle import Job
from jobs.requests import Prepared, Request
from jobs.tasks import end_tasks

if TYPE_CHECKING:
    from jobs.options import EnqueueOptions

logger = logging.getLogger("jobs.middleware")

C = TypeVar("C")
R = TypeVar("R")

#: What a middleware awaits to go on inwards.
CallNext = Callable[[], Awaitable[Any]]


@dataclass
class RunCall:
    """One attempt, as a middleware round the run sees it; it may change args and kwargs.

    Args:
        ctx: the context of the attempt.
        function: the name of the function.
        args, kwargs: its arguments behind `ctx`, validated.
    """

    ctx: Context
    function: str
    args: list[Any]
    kwargs: dict[str, Any]


@dataclass
class EnqueueCall:
    """One job on its way into a queue; a middleware may change everything but the name.

    Args:
        function: the name of the function.
        args, kwargs: its arguments, not validated yet.
        options: the options of the call, see `EnqueueOptions`.
    """

    function: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)


RunMiddleware = Callable[[RunCall, CallNext], Awaitable[Any]]
EnqueueMiddleware = Callable[[EnqueueCall, CallNext], Awaitable[Any]]
Middleware = Callable[[C, CallNext], Awaitable[Any]]

#: What a middleware raises on purpose.
MEANT_AT_RUN: tuple[type[BaseException], ...] = (Outcome, Retry, RetryJob)
MEANT_AT_ENQUEUE: tuple[type[BaseException], ...] = (JobsError,)


def check_middleware(given: object, what: str = "middleware") -> tuple[Any, ...]:
    """Middleware as a tuple.

    Raises:
        ConfigurationError: it is no sequence of functions.
    """
    if not isinstance(given, Iterable) or not all(callable(item) for item in given):
        raise ConfigurationError(
            f"`{what}` is a sequence of async functions (call, call_next), not {given!r:.80}"
        )
    return tuple(given)


class _Next(Generic[R]):
    """The way inwards for one middleware: gone once, and remembered."""

    def __init__(self, inner: Callable[[], Awaitable[R]]) -> None:
        self._inner = inner
        self.called = False
        self.error: BaseException | None = None
        self._result: R | None = None

    async def __call__(self) -> R:
        if self.called:
            raise RuntimeError("`call_next` was called twice: a job runs once for each attempt")
        self.called = True
        try:
            self._result = await self._inner()
        except BaseException as error:
            self.error = error
            raise
        return self._result

    async def outcome(self) -> Any:
        """What is inside this middleware, as if it were not there."""
        if not self.called:
            return await self()
        if self.error is not None:
            raise self.error
        return self._result


async def surround(
    middleware: Sequence[Middleware[C]],
    call: C,
    inmost: Callable[[], Awaitable[Any]],
    meant: tuple[type[BaseException], ...],
) -> Any:
    """The result of `inmost` inside all the middleware.

    Raises:
        BaseException: what `inmost` raises, or what a middleware raises on purpose.
    """
    if not middleware:
        return await inmost()
    outermost, *others = middleware
    step = _Next(lambda: surround(others, call, inmost, meant))
    try:
        return await outermost(call, step)
    except Exception as error:
        if error is step.error or isinstance(error, meant) or _gave_up(step.error):
            raise
        name = getattr(outermost, "__qualname__", repr(outermost))
        logger.exception("the middleware %s failed; the job goes on without it", name)
        return await step.outcome()


def _gave_up(error: BaseException | None) -> bool:
    """Whether a middleware itself has cancelled what is inside, as by `asyncio.timeout`.

    Nothing is left then to go on with, and the error that it raises instead is the one that counts.
    A cancellation from outside, such as that of the job, stays what it is.
    """
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and not (task and task.cancelling())


# -- enqueue --------------------------------------------------------------------------------


class _Gate:
    """Brings many onions together: each waits in its middle until all are there or have ended,
    so that their jobs still travel a hundred at a time.
    """

    def __init__(self, number: int) -> None:
        self._missing = number
        self._there = asyncio.Event()
        self._jobs: asyncio.Future[dict[int, Job[Any]]] = asyncio.Future()
        self.ready: dict[int, Prepared] = {}
        self.errors: dict[int, BaseException] = {}

    def arrive(self) -> None:
        """One more waits, or will not come any more."""
        self._missing -= 1
        if self._missing == 0:
            self._there.set()

    async def job(self, at: int) -> Job[Any]:
        """Wait in the middle for the handle of one's own job."""
        return (await asyncio.shield(self._jobs))[at]

    async def send(self, send: Send) -> None:
        """When all are there, send what is ready; a failure of one sends nothing.

        Raises:
            BaseException: what the first of those that failed has raised.
        """
        await self._there.wait()
        if self.errors:
            raise self.errors[min(self.errors)]
        order = sorted(self.ready)
        try:
            jobs = await send([self.ready[at] for at in order]) if order else []
            self._jobs.set_result(dict(zip(order, jobs, strict=True)))
        except Exception as error:  # noqa: BLE001 -- raised in the middle of each onion
            self._jobs.set_exception(error)
            self._jobs.exception()  # asyncio complains of errors that nobody looked at


Prepare = Callable[[Request], Prepared]
Send = Callable[[Sequence[Prepared]], Awaitable[list[Job[Any]]]]


async def enqueue_through(
    middleware: Sequence[EnqueueMiddleware],
    requests: Iterable[Request],
    prepare: Prepare,
    send: Send,
) -> list[Job[Any]]:
    """Enqueue jobs, each inside its own onion; those of one call go on at the same time.

    Args:
        middleware: the outermost first.
        requests: the jobs.
        prepare: checks and encodes one job, in the middle of its onion.
        send: sends them all.

    Raises:
        BaseException: what the first onion raises. When one fails before they are sent, none is.
    """
    asked = list(requests)
    gate = _Gate(len(asked))
    strict = [_returning_a_job(item) for item in middleware]
    tasks = [
        asyncio.create_task(_enqueue(strict, request, at, gate, prepare))
        for at, request in enumerate(asked)
    ]
    try:
        if tasks:
            await gate.send(send)
        return await asyncio.gather(*tasks)
    finally:
        await end_tasks(*tasks)


async def _enqueue(
    middleware: Sequence[EnqueueMiddleware],
    request: Request,
    at: int,
    gate: _Gate,
    prepare: Prepare,
) -> Job[Any]:
    function, args, kwargs, options, target = request
    call = EnqueueCall(function, list(args), dict(kwargs), dict(options))

    async def inmost() -> Job[Any]:
        options = cast("EnqueueOptions", call.options)
        gate.ready[at] = prepare(Request(function, call.args, call.kwargs, options, target))
        gate.arrive()
        return await gate.job(at)

    try:
        return cast("Job[Any]", await surround(middleware, call, inmost, MEANT_AT_ENQUEUE))
    except BaseException as error:
        gate.errors[at] = error
        raise
    finally:
        if at not in gate.ready:
            gate.arrive()


def _returning_a_job(middleware: EnqueueMiddleware) -> EnqueueMiddleware:
    @wraps(middleware)
    async def strict(call: EnqueueCall, call_next: CallNext) -> Job[Any]:
        job = await middleware(call, call_next)
        if not isinstance(job, Job):
            raise TypeError(f"expected the job that `call_next` gives, got {job!r:.80}")
        return job

    return strict
