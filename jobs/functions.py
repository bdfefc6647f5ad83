"""`@job`: declares a function as a job, typed from its definition to the awaited result."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from pydantic import BaseModel

from jobs import registry
from jobs.asked import check_soft
from jobs.client import Client, current_client
from jobs.context import Context
from jobs.depends import Holder
from jobs.errors import InvalidOption, did_you_mean
from jobs.job_options import CODE_OPTIONS, OPTION_NAMES
from jobs.keys import check_name
from jobs.limits import Limit, limits_of
from jobs.notes import Capture, capture_level
from jobs.options import (
    EnqueueOptions,
    JobOptions,
    Place,
    Queue,
    Timeout,
    check_call_options,
    check_executor,
    job_options,
)
from jobs.requests import Request
from jobs.signature import Signature
from jobs.uniqueness import By, Unique, check_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Unpack

    from jobs.backoff import Backoff, RetryPolicy
    from jobs.durations import Duration
    from jobs.handle import Job
    from jobs.job_options import OnExhausted
    from jobs.options import Keep
    from jobs.retry_rules import Rules

#: What `@job` takes beside name, queue, description and executor.
FUNCTION_OPTIONS = frozenset({*OPTION_NAMES, *CODE_OPTIONS, "retry"})

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=BaseModel)


class CallOptions(EnqueueOptions, total=False):
    """Options of one call, with the client to enqueue through (default: the current one)."""

    client: Client


class JobFunction(Generic[P, R]):
    """A function declared with `@job`.

    Calling it runs the code here and now; `enqueue` puts a job into its queue. Arguments and
    result are checked by mypy and pyright as for the function itself.
    """

    def __init__(self, function: registry.Function, queue: Queue | None = None) -> None:
        self.function = function
        self.queue = queue
        self.__name__ = function.name
        self.__doc__ = function.call.__doc__
        self.__wrapped__ = function.call

    @property
    def name(self) -> str:
        """What producers call it."""
        return self.function.name

    async def __call__(self, ctx: Context, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the code here, without a queue; a plain `def` runs in a thread, whatever its
        `executor`. Dependencies that are not given are provided, for this call alone.
        """
        if not self.function.signature.dependencies:
            return cast("R", await self._run(ctx, args, kwargs))
        given = inspect.signature(self.function.call).bind_partial(ctx, *args, **kwargs).arguments
        wanted = self.function.signature.dependencies.items()
        async with Holder("job", ctx) as holder:
            filled = await holder.fill({name: item for name, item in wanted if name not in given})
            return cast("R", await self._run(ctx, args, {**kwargs, **filled}))

    async def _run(self, ctx: Context, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if self.function.is_async:
            return await self.function.call(ctx, *args, **kwargs)
        return await asyncio.to_thread(self.function.call, ctx, *args, **kwargs)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Enqueue one job; options go through `options(…)`.

        Raises:
            The same as `Client.enqueue`.
        """
        return await current_client().enqueue_one(self.request(*args, **kwargs))

    def options(self, **options: Unpack[CallOptions]) -> Call[P, R]:
        """This function with options for one call: `f.options(delay="5m").enqueue(…)`.

        Raises:
            InvalidOption: an option that does not exist, or a value that it cannot take.
        """
        return Call(self, options)

    def request(self, *args: P.args, **kwargs: P.kwargs) -> Request:
        """One job for `Client.enqueue_many`."""
        return Request(self.name, args, kwargs, target=self.function)

    def __repr__(self) -> str:
        return f"<job function {self.name}>"


class ModelFunction(JobFunction[[M], R]):
    """A job function of one pydantic payload, whose options are keywords of the same call."""

    async def enqueue(self, payload: M, /, **options: Unpack[CallOptions]) -> Job[R]:
        """Enqueue one job with this payload.

        Raises:
            The same as `Client.enqueue`.
        """
        if not options:
            return await current_client().enqueue_one(self.request(payload))
        return await Call[[M], R](self, options).enqueue(payload)

    def request(self, payload: M, /, **options: Unpack[EnqueueOptions]) -> Request:
        """One job for `Client.enqueue_many`."""
        return Request(self.name, (payload,), {}, options, self.function)


class Call(Generic[P, R]):
    """A job function with the options of one call."""

    def __init__(self, function: JobFunction[P, R], options: CallOptions) -> None:
        given: dict[str, Any] = dict(options)
        self._client: Client | None = given.pop("client", None)
        check_call_options(given)
        job_options(given)
        self._function = function
        self._options = cast("EnqueueOptions", given)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Enqueue one job.

        Raises:
            The same as `Client.enqueue`.
        """
        client = self._client or current_client()
        return await client.enqueue_one(self.request(*args, **kwargs))

    def request(self, *args: P.args, **kwargs: P.kwargs) -> Request:
        """One job for `Client.enqueue_many`."""
        function = self._function.function
        return Request(function.name, args, kwargs, self._options, function)


class Decorator:
    """What `job(…)` returns: turns a function into a job function."""

    def __init__(
        self, name: str | None, queue: str | Queue | None, options: JobOptions, rest: dict[str, Any]
    ) -> None:
        self._name, self._queue, self._options, self._rest = name, queue, options, rest

    @overload
    def __call__(
        self, function: Callable[[Context, M], Awaitable[R]], /
    ) -> ModelFunction[M, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, P], Awaitable[R]], /
    ) -> JobFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> JobFunction[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Any:
        """The job function made of `function`."""
        return declare(function, self._name, self._queue, self._options, self._rest)


@overload
def job(function: Callable[[Context, M], Awaitable[R]], /) -> ModelFunction[M, R]: ...
@overload
def job(function: Callable[Concatenate[Context, P], Awaitable[R]], /) -> JobFunction[P, R]: ...
@overload
def job(function: Callable[Concatenate[Context, P], R], /) -> JobFunction[P, R]: ...
@overload
def job(
    name: str | None = None,
    /,
    *,
    queue: str | Queue | None = None,
    attempts: int | None = None,
    backoff: Backoff | None = None,
    retry: RetryPolicy | str | None = None,
    timeout: Duration | Timeout | None = None,
    priority: int | None = None,
    expires: Duration | None = None,
    retry_for: Duration | None = None,
    max_starts: int | None = None,
    retry_on: Rules | None = None,
    no_retry: tuple[type[BaseException], ...] = (),
    on_exhausted: OnExhausted | None = None,
    keep_completed: Keep | None = None,
    keep_failed: Keep | None = None,
    keep_cancelled: Keep | None = None,
    keep_expired: Keep | None = None,
    traceback_limit: int | None = None,
    max_result_bytes: int | None = None,
    tags: Sequence[str] | None = None,
    headers: Mapping[str, str] | None = None,
    description: str | None = None,
    executor: Place | None = None,
    limits: Iterable[Limit] = (),
    concurrency: int | None = None,
    rate: str | None = None,
    key: By | None = None,
    unique: Unique | str | tuple[str, ...] | bool | None = None,
    aliases: Sequence[str] = (),
    capture_logs: Capture | None = None,
) -> Decorator: ...
def job(
    name: str | Callable[..., Any] | None = None,
    /,
    *,
    queue: str | Queue | None = None,
    **options: Any,
) -> Any:
    """Declare a function as a job.

    Its first parameter is the `Context`; the others are validated by their annotations, when a
    job is enqueued and again before it runs. Ordinary exceptions are retried while attempts
    remain. A plain `def` runs in a thread, or in a process of its own.

    Args:
        name: what producers call it; default the function's own name.
        queue: where its jobs go, a name or a `Queue`; default "default".
        description: a sentence for people; default the first line of the docstring.
        executor: where a plain `def` runs: "thread" (default), or "process" for work that keeps
            a CPU busy or must be killed when its time is over. Its context has no resources then,
            and it can have no dependencies.
        limits: how many of its jobs run at once, or start in a time, over all workers.
        concurrency: the same in short: at most so many at once.
        rate: the same in short: at most so many starts in a time, e.g. "30/s".
        key: the field of the arguments (or fields, or a function of them) that says to whom a
            job belongs, e.g. "tenant_id": keys take turns, and limits `per="key"` hold for each.
        unique: which of its jobs are the same: `True`, a tuple of fields, or `Unique(…)`.
        aliases: further names under which its jobs may come, such as those it had before.
        capture_logs: keep the records of `logging` made inside the job with it, as lines of its
            log: `True`, or the lowest level of them; those that your configuration of logging
            lets through. Default: as the worker says.
        **options: those of `JobOptions`; unset ones are left to the queue and the framework.

    Raises:
        InvalidOption: an option that does not exist, a value that it cannot take, a function
            without a parameter for the context, or one that the executor cannot run.
    """
    own, rest = option_parts(options)
    if callable(name):
        return declare(name, None, None, own, rest)
    return Decorator(name, queue, own, rest)


def option_parts(given: Mapping[str, Any]) -> tuple[JobOptions, dict[str, Any]]:
    """Options of `job`, parted into those of its jobs and those of the function alone, checked.

    Raises:
        InvalidOption: an option that does not exist, or a value that it cannot take.
    """
    left = dict(given)
    unique = left.pop("unique", None)
    rest = {
        "description": left.pop("description", None),
        "executor": left.pop("executor", None),
        "limits": limits_of(
            left.pop("limits", ()), left.pop("concurrency", None), left.pop("rate", None)
        ),
        "key": check_by(left.pop("key", None)),
        "unique": None if unique is None else _unique_by(unique),
        "aliases": left.pop("aliases", ()),
        "capture": capture_level(left.pop("capture_logs", None)),
    }
    known = [*FUNCTION_OPTIONS, *rest, *_SHORT]
    for name in left:
        if name not in FUNCTION_OPTIONS:
            raise InvalidOption(f"`job` has no option {name!r}{did_you_mean(name, known)}")
    return JobOptions(**left), rest


#: Options of a function that stand for one of its limits.
_SHORT = ("concurrency", "rate")


def declare(
    call: Callable[..., Any],
    name: str | None,
    queue: str | Queue | None,
    options: JobOptions,
    rest: Mapping[str, Any],
) -> Any:
    """The job function of `call`; called by what the application calls, so that local names of
    its annotations are found.

    Args:
        call: the code.
        name: what producers call it; default its own name.
        queue: where its jobs go.
        options: its layer of options.
        rest: what `option_parts` gives; also `prefix` of the name, `fallback`, and `keep`, which
            is given the result.

    Raises:
        InvalidOption: it cannot be a job function.
    """
    if not inspect.signature(call).parameters:
        raise InvalidOption(
            f"a job function takes the context as its first parameter: write "
            f"`{call.__name__}(ctx, …)`"
        )
    place = queue if isinstance(queue, Queue) else None
    called = rest.get("prefix", "") + (name or call.__name__)
    signature = Signature.of(called, call, _caller_names())
    function = registry.Function(
        called,
        call,
        signature,
        queue.name if isinstance(queue, Queue) else queue and check_name(queue),
        options.over(place.defaults) if place else options,
        (("function", options), ("queue", place.defaults)) if place else (("function", options),),
        description=rest["description"] or (call.__doc__ or "").strip().split("\n")[0],
        executor=_place_for(call, rest["executor"], signature),
        limits=rest["limits"],
        key=rest["key"] or (place.key if place else None),
        unique=rest["unique"],
        aliases=_aliases(called, rest["aliases"]),
        fallback=rest.get("fallback", False),
        capture=rest.get("capture"),
    )
    check_soft(function.options.timeout, function)
    registry.register(function)
    kind = ModelFunction if signature.model else JobFunction
    made: JobFunction[Any, Any] = kind(function, place)
    if keep := rest.get("keep"):
        keep(made)
    return made


def _unique_by(unique: Unique | str | tuple[str, ...] | bool) -> Unique | None:
    """What makes jobs of a function the same; a text names one field there."""
    return Unique(by=unique) if isinstance(unique, str) else Unique.of(unique)


def _aliases(name: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InvalidOption(f"`aliases` of {name!r} is a sequence of names, not {given!r}")
    if wrong := [alias for alias in given if not isinstance(alias, str) or alias in ("", name)]:
        raise InvalidOption(f"`aliases` of {name!r} are other names of it, not {wrong[0]!r}")
    return tuple(given)


def _place_for(call: Callable[..., Any], executor: object, signature: Signature) -> Place:
    if executor is None:
        return "thread"
    place = check_executor(executor)
    if inspect.iscoroutinefunction(call):
        raise InvalidOption(
            f"`{call.__name__}` is an `async def`, which runs in the event loop: `executor` is "
            "for a plain `def`"
        )
    if place == "process" and signature.dependencies:
        raise InvalidOption(
            f"`{call.__name__}` runs in a process, where nobody can provide "
            f'{", ".join(signature.dependencies)}: with `executor="process"` a function makes '
            "what it needs itself"
        )
    if place == "process" and ("<" in call.__qualname__ or inspect.ismethod(call)):
        raise InvalidOption(
            f"another process cannot import `{call.__qualname__}`: with "
            '`executor="process"` a function is a `def` at the top level of a module, no lambda, '
            "method of an object, or function inside another one"
        )
    return place


def _caller_names() -> dict[str, Any]:
    """Local names where the function is written, so that its annotations can be read there."""
    frame = sys._getframe(3)  # noqa: SLF001 -- pydantic finds the names of annotations so too
    return {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)
