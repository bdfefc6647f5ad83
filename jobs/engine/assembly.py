"""Puts a worker's parts together: its functions by name, and the queues that it serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import arq.worker
from arq.cron import CronJob

from jobs import registry
from jobs.backoff import Backoff
from jobs.durations import Duration, to_seconds
from jobs.errors import ConfigurationError, InvalidOption
from jobs.functions import JobFunction
from jobs.keys import DEFAULT_QUEUE, check_name
from jobs.options import KEEP_FOREVER, KEEP_NOTHING, JobOptions, Keep, Queue
from jobs.signature import Signature


@dataclass
class Function(arq.worker.Function):
    """arq's function, with a retry policy if one was given; made by `func`."""

    backoff: Backoff | None = None
    retries: bool = False


@dataclass(frozen=True, slots=True)
class ArqDefaults:
    """The worker's options for plain arq functions and cron jobs."""

    max_tries: int
    job_timeout: Duration | None
    keep_result: Duration
    keep_result_forever: bool

    def layers(self, function: arq.worker.Function | CronJob) -> tuple[tuple[str, JobOptions], ...]:
        """arq's options of a function in our terms: its own, then the worker's."""
        timeout = self.job_timeout
        own = JobOptions(
            attempts=function.max_tries,
            timeout=function.timeout_s,
            backoff=getattr(function, "backoff", None),
            keep_completed=self._own_keep(function),
        )
        keep = KEEP_FOREVER if self.keep_result_forever else _keep_for(self.keep_result)
        return ("function", own), (
            "worker",
            JobOptions(
                attempts=self.max_tries,
                timeout=0 if timeout is None else timeout,
                keep_completed=keep,
            ),
        )

    def _own_keep(self, function: arq.worker.Function | CronJob) -> Keep | None:
        for_ever = function.keep_result_forever
        if for_ever or (for_ever is None and self.keep_result_forever):
            return KEEP_FOREVER if for_ever else None
        if function.keep_result_s is not None:
            return _keep_for(function.keep_result_s)
        return _keep_for(self.keep_result) if for_ever is False else None


def _keep_for(age: Duration) -> Keep:
    return Keep(age=age) if to_seconds(age) > 0 else KEEP_NOTHING


def func(  # noqa: PLR0913 -- arq's signature, and two more
    coroutine: str | arq.worker.Function | Callable[..., Any],
    *,
    name: str | None = None,
    keep_result: Duration | None = None,
    timeout: Duration | None = None,
    keep_result_forever: bool | None = None,
    max_tries: int | None = None,
    backoff: Backoff | None = None,
    retries: bool | None = None,
) -> arq.worker.Function:
    """Options for a plain arq function.

    Args:
        coroutine: the coroutine function, or the dotted path of one.
        name: what producers call it; default its qualified name.
        keep_result: how long its results are kept; 0 for not at all.
        timeout: limit of one attempt.
        keep_result_forever: whether results are kept without limit of time.
        max_tries: total runs allowed.
        backoff: the wait after a failure; giving one makes ordinary exceptions retryable.
        retries: whether ordinary exceptions lead to another attempt; arq's rule, and the
            default without a backoff, is that they do not.

    Raises:
        RuntimeError: not a coroutine function.
    """
    if isinstance(coroutine, arq.worker.Function):
        return coroutine
    keep_s = None if keep_result is None else to_seconds(keep_result)
    timeout_s = None if timeout is None else to_seconds(timeout)
    plain = arq.worker.func(coroutine, name=name)
    return Function(
        plain.name,
        plain.coroutine,
        timeout_s,
        keep_s,
        keep_result_forever,
        max_tries,
        backoff,
        backoff is not None if retries is None else retries,
    )


def as_arq(function: Any) -> arq.worker.Function:
    """Any way to name a function, as arq's worker holds it."""
    if isinstance(function, JobFunction):
        return arq.worker.Function(function.name, function.function.call, None, None, None, None)
    return func(function)


def collect(
    functions: Iterable[Any], cron_jobs: Iterable[CronJob], defaults: ArqDefaults
) -> dict[str, registry.Function]:
    """The functions of a worker by name.

    Raises:
        ConfigurationError: two functions have one name, aliases included.
    """
    found: dict[str, registry.Function] = {}
    for item in [*functions, *cron_jobs]:
        function = _registered(item, defaults)
        if function.name in found and found[function.name].call is not function.call:
            raise ConfigurationError(
                f"two functions are called {function.name!r}: give one another name, "
                "with `@job(name)` or `func(…, name=…)`"
            )
        found[function.name] = function
    for function in list(found.values()):
        for alias in function.aliases:
            other = found.setdefault(alias, function)
            if other is not function:
                raise ConfigurationError(
                    f"{alias!r}, an alias of {function.name!r}, is the name of another function "
                    f"too, {other.name!r}: its jobs can go to one of them only"
                )
    return found


def fallbacks(functions: Mapping[str, registry.Function]) -> dict[str, registry.Function]:
    """By queue, the function for jobs whose functions nobody has.

    Raises:
        ConfigurationError: a queue has two.
    """
    found: dict[str, registry.Function] = {}
    for function in functions.values():
        if function.fallback:
            queue = function.queue or DEFAULT_QUEUE
            if found.setdefault(queue, function) is not function:
                raise ConfigurationError(
                    f"the queue {queue!r} has two fallbacks, {found[queue].name!r} and "
                    f"{function.name!r}: its other jobs can go to one of them only"
                )
    return found


def _registered(item: Any, defaults: ArqDefaults) -> registry.Function:
    if isinstance(item, JobFunction):
        return item.function
    plain = item if isinstance(item, CronJob) else func(item)
    layers = defaults.layers(plain)
    return registry.Function(
        plain.name,
        plain.coroutine,
        Signature.of(plain.name, plain.coroutine),
        options=layers[0][1].over(layers[1][1]),
        layers=layers,
        retries=getattr(plain, "retries", False),
        description=(plain.coroutine.__doc__ or "").strip().split("\n")[0],
    )


def served_queues(
    functions: Sequence[Any], queues: Sequence[Queue], own: str, *, own_needed: bool
) -> dict[str, Queue]:
    """The queues of a worker by name, in a steady order.

    Those given as `queues`, those that job functions name, and the worker's own `queue_name`
    when plain functions or cron jobs need it, or nothing else is there.

    Raises:
        InvalidOption: something in `queues` is no `Queue`.
    """
    for queue in queues:
        if not isinstance(queue, Queue):
            raise InvalidOption(f"`queues` are `Queue`s: write Queue({queue!r:.60})")
    found = {queue.name: queue for queue in queues}
    for item in functions:
        if isinstance(item, JobFunction):
            place = item.queue or Queue(item.function.queue or DEFAULT_QUEUE)
            found.setdefault(place.name, place)
        else:
            own_needed = True
    if own_needed or not found:
        found.setdefault(check_name(own), Queue(own))
    return found
