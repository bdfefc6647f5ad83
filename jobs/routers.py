"""Where functions are declared: on a queue, in a router, in the modules of a package."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypedDict, overload

from arq.cron import CronJob

from jobs import options
from jobs.errors import ConfigurationError, InvalidOption
from jobs.functions import Decorator, JobFunction, declare, option_parts
from jobs.recurring import Schedule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Unpack

    from jobs.backoff import Backoff, RetryPolicy
    from jobs.durations import Duration
    from jobs.job_options import OnExhausted
    from jobs.limits import Limit
    from jobs.notes import Capture
    from jobs.options import Keep, Place
    from jobs.retry_rules import Rules
    from jobs.timeouts import Timeout
    from jobs.uniqueness import By, Unique


class FunctionOptions(TypedDict, total=False):
    """Options of a function, as `job` takes them."""

    attempts: int
    backoff: Backoff
    retry: RetryPolicy | str
    timeout: Duration | Timeout
    priority: int
    expires: Duration
    retry_for: Duration
    max_starts: int
    retry_on: Rules
    no_retry: tuple[type[BaseException], ...]
    on_exhausted: OnExhausted
    keep_completed: Keep
    keep_failed: Keep
    keep_cancelled: Keep
    keep_expired: Keep
    traceback_limit: int
    max_result_bytes: int
    tags: Sequence[str]
    headers: Mapping[str, str]
    description: str
    executor: Place
    limits: Iterable[Limit]
    concurrency: int
    rate: str
    key: By
    unique: Unique | str | tuple[str, ...] | bool
    aliases: Sequence[str]
    capture_logs: Capture


class Queue(options.Queue):
    """A place where jobs wait, and how workers serve it; its functions can be declared on it.

        email = Queue("email", concurrency=5, rate="30/s")

        @email.job("welcome")
        async def welcome(ctx: Context, user: int) -> None: ...

    Args and errors: see `jobs.options.Queue`.
    """

    __slots__ = ()

    def job(self, name: str | None = None, /, **options: Unpack[FunctionOptions]) -> Decorator:
        """Declare a function whose jobs go into this queue; otherwise as `job`.

        Raises:
            InvalidOption: the same as `job`.
        """
        return _decorator(name, self, dict(options), {})

    @overload
    def fallback(self, function: Callable[..., Any], /) -> JobFunction[..., Any]: ...
    @overload
    def fallback(
        self, function: None = None, /, **options: Unpack[FunctionOptions]
    ) -> Callable[[Callable[..., Any]], JobFunction[..., Any]]: ...
    def fallback(
        self, function: Callable[..., Any] | None = None, /, **options: Unpack[FunctionOptions]
    ) -> Any:
        """Declare the function that runs the jobs of this queue whose functions nobody has.

        It is called as the job asks: `ctx.function` holds the name. Without a fallback such jobs
        are parked until a worker has their function.

        Raises:
            InvalidOption: the same as `job`.
        """
        if function is None:
            return _decorator(None, self, dict(options), {"fallback": True})
        own, rest = option_parts({})
        return declare(function, None, self, own, rest | {"fallback": True})


class Router:
    """Functions, cron jobs and schedules of one part of an application, collected for its worker.

        router = Router(queue="email", prefix="email.")

        @router.job(attempts=5)
        async def welcome(ctx: Context, user: int) -> None: ...     # "email.welcome"

        class WorkerSettings:
            functions = (router,)

    Args:
        prefix: put before the names of the functions declared here.
        queue: where their jobs go, unless they say so themselves.
        **defaults: their options, unless they say so themselves.

    Raises:
        InvalidOption: an option that does not exist, or a value that it cannot take.
    """

    def __init__(
        self,
        *,
        prefix: str = "",
        queue: str | options.Queue | None = None,
        **defaults: Unpack[FunctionOptions],
    ) -> None:
        self._prefix, self._queue = prefix, queue
        self._defaults: dict[str, Any] = dict(defaults)
        option_parts(self._defaults)
        #: What was declared here, added and included, in this order.
        self.functions: list[Any] = []
        self.cron_jobs: list[CronJob] = []
        self.schedules: list[Schedule] = []

    def job(
        self,
        name: str | None = None,
        /,
        *,
        queue: str | options.Queue | None = None,
        **options: Unpack[FunctionOptions],
    ) -> Decorator:
        """Declare a function here; otherwise as `job`.

        Raises:
            InvalidOption: the same as `job`.
        """
        more = {"prefix": self._prefix, "keep": self.functions.append}
        given = self._defaults | dict(options)
        return _decorator(name, queue or self._queue, given, more)

    def add(self, *items: Any) -> None:
        """Collect what was declared elsewhere: job functions, plain arq functions, cron jobs,
        schedules, other routers.

        Raises:
            ConfigurationError: something else.
        """
        for item in items:
            if isinstance(item, Router):
                self.functions += item.functions
                self.cron_jobs += item.cron_jobs
                self.schedules += item.schedules
            elif isinstance(item, Schedule):
                self.schedules.append(item)
            elif isinstance(item, CronJob):
                self.cron_jobs.append(item)
            elif callable(item) or hasattr(item, "coroutine"):
                self.functions.append(item)
            else:
                raise ConfigurationError(
                    "a router collects functions, cron jobs, schedules and routers, not "
                    f"{item!r:.80}"
                )

    def include(self, *routers: Router) -> None:
        """Collect all that these routers hold now."""
        self.add(*routers)


def expand(
    functions: Iterable[Any],
    cron_jobs: Iterable[CronJob] | None = None,
    schedules: Iterable[Schedule] = (),
) -> tuple[list[Any], list[CronJob], list[Schedule]]:
    """The functions, cron jobs and schedules of a worker, with those of its routers; each once.

    Raises:
        ConfigurationError: a router holds something else.
    """
    whole = Router()
    for item in functions:
        if isinstance(item, Router):
            whole.add(item)
        else:
            whole.functions.append(item)
    whole.cron_jobs += cron_jobs or ()
    whole.schedules += schedules
    return _once(whole.functions), _once(whole.cron_jobs), _once(whole.schedules)


def discover(package: str | ModuleType) -> Router:
    """Import every module of a package, and collect what a worker takes: job functions, routers,
    cron jobs, schedules.

    Functions whose code lies elsewhere are left out: they were imported to be enqueued.

        class WorkerSettings:
            functions = (discover("shop.jobs"),)

    Args:
        package: the package, or its dotted name; a single module will do. Modules whose names
            begin with an underscore are left out.

    Raises:
        ConfigurationError: a module cannot be imported.
    """
    found = Router()
    for module in _modules(package):
        for value in vars(module).values():
            if isinstance(value, CronJob | Schedule) or _is_of(package, value):
                found.add(value)
            elif isinstance(value, Router):
                found.include(value)
    for items in (found.functions, found.cron_jobs, found.schedules):
        items[:] = _once(items)
    return found


def _is_of(package: str | ModuleType, value: object) -> bool:
    """Whether this is a job function whose code lies in the package."""
    name = package if isinstance(package, str) else package.__name__
    if not isinstance(value, JobFunction):
        return False
    module = value.function.call.__module__
    return module == name or module.startswith(f"{name}.")


def _modules(package: str | ModuleType) -> Iterable[ModuleType]:
    root = _import(package) if isinstance(package, str) else package
    yield root
    for item in pkgutil.walk_packages(getattr(root, "__path__", ()), f"{root.__name__}."):
        own = item.name.removeprefix(root.__name__).split(".")
        if not any(part.startswith("_") for part in own):
            yield _import(item.name)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ConfigurationError(
            f"importing {name!r}, to look for job functions, failed: "
            f"{type(error).__name__}: {error}"
        ) from error


def _once(items: Sequence[Any]) -> list[Any]:
    return list({id(item): item for item in items}.values())


def _decorator(
    name: str | None,
    queue: str | options.Queue | None,
    given: dict[str, Any],
    more: dict[str, Any],
) -> Decorator:
    if callable(name):
        raise InvalidOption("write the decorator with brackets: `@….job()` or `@….job(name)`")
    own, rest = option_parts(given)
    return Decorator(name, queue, own, rest | more)
