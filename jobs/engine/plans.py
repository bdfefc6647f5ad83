"""Which options hold for a job: framework < queue < function < call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.backoff import Backoff
from jobs.durations import to_ms
from jobs.engine.outcome import Plan
from jobs.options import FRAMEWORK_DEFAULTS, JobOptions, Keep
from jobs.registry import Function


def plan_for(
    function: Function | None, queue_defaults: JobOptions, *, obeys_retry: bool = True
) -> Plan:
    """The plan of a function's jobs in a queue, before the options of a call.

    `function` is `None` for a job that cannot be run here.
    """
    options = function.options if function else JobOptions()
    options = options.over(queue_defaults).over(FRAMEWORK_DEFAULTS)
    return _plan(
        options,
        retries=function.retries if function else True,
        no_retry=function.no_retry if function else (),
        obeys_retry=obeys_retry,
    )


def with_call(plan: Plan, wire: Mapping[str, Any]) -> Plan:
    """`plan` with the options that came in the body of one job.

    Raises:
        ValueError, TypeError: they are not what `jobs.options.to_wire` writes.
    """
    if not wire:
        return plan
    timeout = wire.get("timeout")
    return Plan(
        attempts=int(wire.get("attempts", plan.attempts)),
        backoff=Backoff.from_wire(wire["backoff"]) if "backoff" in wire else plan.backoff,
        timeout_s=plan.timeout_s if timeout is None else (timeout / 1000 or None),
        expires_ms=wire.get("expires", plan.expires_ms),
        keep_completed=_limits(wire.get("keep_completed"), plan.keep_completed),
        keep_failed=_limits(wire.get("keep_failed"), plan.keep_failed),
        retries=plan.retries,
        no_retry=plan.no_retry,
        obeys_retry=plan.obeys_retry,
    )


def _plan(
    options: JobOptions,
    *,
    retries: bool,
    no_retry: tuple[type[BaseException], ...],
    obeys_retry: bool,
) -> Plan:
    assert options.backoff is not None  # noqa: S101 -- the framework's own defaults are complete
    return Plan(
        attempts=options.attempts or 1,
        backoff=options.backoff,
        timeout_s=to_ms(options.timeout or 0, what="timeout") / 1000 or None,
        expires_ms=None if options.expires is None else to_ms(options.expires, what="expires"),
        keep_completed=(options.keep_completed or Keep()).limits(),
        keep_failed=(options.keep_failed or Keep()).limits(),
        retries=retries,
        no_retry=no_retry,
        obeys_retry=obeys_retry,
    )


def _limits(wire: list[int] | None, below: tuple[int, int, int]) -> tuple[int, int, int]:
    if wire is None:
        return below
    age, count, most_bytes = wire
    return int(age), int(count), int(most_bytes)
