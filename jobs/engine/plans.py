"""Which options hold for a job: framework < queue < function < call, made once a function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

from jobs.backoff import Backoff
from jobs.durations import to_ms
from jobs.job_options import add_up
from jobs.options import FRAMEWORK_DEFAULTS, JobOptions, Keep, Timeout
from jobs.registry import Function
from jobs.retention import Limits
from jobs.retry_rules import Compiled


@dataclass(slots=True)
class Plan:
    """The options that hold for one job, with every layer applied; made once, never changed.

    Each job reads a dozen of its fields and some jobs have a plan of their own: a named tuple is
    slower to read, a frozen dataclass slower to make.
    """

    attempts: int
    backoff: Backoff
    timeout_s: float | None
    expires_ms: int | None
    keep_completed: Limits
    keep_failed: Limits
    retries: bool
    obeys_retry: bool = True
    #: As completed jobs, when `None`.
    keep_cancelled: Limits | None = None
    keep_expired: Limits | None = None
    soft_s: float | None = None
    soft_raises: bool = True
    start_by_ms: int | None = None
    retry_for_ms: int | None = None
    #: How long the call put off the first attempt; `retry_for` begins behind it.
    delay_ms: int = 0
    max_starts: int | None = None
    rules: Mapping[type[BaseException], Compiled] = field(default_factory=dict)
    on_exhausted: Any = None
    traceback_limit: int = 10
    max_result_bytes: int = 1024 * 1024
    tags: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def but(self, **changes: Any) -> Plan:
        """The same plan with some fields changed."""
        return Plan(**dict(zip(_FIELDS, _values_of(self), strict=True)) | changes)


_FIELDS = tuple(field.name for field in fields(Plan))
_values_of = attrgetter(*_FIELDS)


def plan_for(
    function: Function | None, queue_defaults: JobOptions, *, obeys_retry: bool = True
) -> Plan:
    """The plan of a function's jobs in a queue, before the options of a call.

    `function` is `None` for a job that cannot be run here.
    """
    options = function.options if function else JobOptions()
    options = options.over(queue_defaults).over(FRAMEWORK_DEFAULTS)
    assert options.backoff is not None  # noqa: S101 -- the framework's own defaults are complete
    return Plan(
        attempts=options.attempts or 1,
        backoff=options.backoff,
        expires_ms=_ms(options.expires),
        retry_for_ms=_ms(options.retry_for),
        keep_completed=(options.keep_completed or Keep()).limits(),
        keep_failed=(options.keep_failed or Keep()).limits(),
        keep_cancelled=options.keep_cancelled.limits() if options.keep_cancelled else None,
        keep_expired=options.keep_expired.limits() if options.keep_expired else None,
        retries=function.retries if function else True,
        obeys_retry=obeys_retry,
        max_starts=options.max_starts,
        rules=dict(options.retry_on or {}),  # type: ignore[arg-type]  # compiled by JobOptions
        on_exhausted=options.on_exhausted,
        traceback_limit=options.traceback_limit or 0,
        max_result_bytes=options.max_result_bytes or 0,
        tags=tuple(options.tags or ()),
        headers=options.headers or {},
        **_limits_of_time(Timeout.of(options.timeout or 0).to_wire()),
    )


def with_call(plan: Plan, wire: Mapping[str, Any]) -> Plan:
    """`plan` with the options that came in the body of one job.

    Raises:
        ValueError, TypeError: they are not what `jobs.options.to_wire` writes.
    """
    changes: dict[str, Any] = {}
    for name, value in wire.items():
        match name:
            case "attempts" | "max_starts" | "traceback_limit" | "max_result_bytes":
                changes[name] = int(value)
            case "timeout":
                changes |= _limits_of_time(value)
            case "backoff":
                changes[name] = Backoff.from_wire(value)
            case "keep_completed" | "keep_failed" | "keep_cancelled" | "keep_expired":
                changes[name] = _limits(value)
            case "expires" | "retry_for" | "start_by" | "delay":
                changes[f"{name}_ms"] = int(value)
            case "tags" | "headers":
                changes[name] = add_up(value, getattr(plan, name))
    return plan.but(**changes) if changes else plan


def _ms(duration: Any) -> int | None:
    return None if duration is None else to_ms(duration)


def _limits_of_time(wire: Any) -> dict[str, Any]:
    """The fields of a plan that a stored timeout sets."""
    hard, soft, raises = wire if isinstance(wire, list) else (wire, None, 1)
    return {
        "timeout_s": hard / 1000 or None,
        "soft_s": None if soft is None else soft / 1000,
        "soft_raises": bool(raises),
    }


def _limits(wire: list[int]) -> Limits:
    age, count, most_bytes = wire
    return int(age), int(count), int(most_bytes)
