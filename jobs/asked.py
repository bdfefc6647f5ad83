"""The options of one call: checked against each other and those of the function, as a body
carries them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs import clock, options
from jobs.durations import Duration, format_ms, to_ms, until_ms
from jobs.errors import InvalidOption
from jobs.job_options import JobOptions, add_up
from jobs.labels import check_headers, check_tags
from jobs.registry import Function
from jobs.timeouts import Timeout

#: Options of a call that say when its job runs.
_TIMES = {"start_by", "delay", "run_at"}


def asked_of(
    given: dict[str, Any], function: Function | None
) -> tuple[JobOptions | None, dict[str, Any]]:
    """The options of the job itself, and as they are written into its body.

    Raises:
        InvalidOption: an option that does not exist, a value that it cannot take, or options
            that contradict each other.
    """
    asked, wire = None, {}
    if given:
        options.check_call_options(given)
        if options.has_job_options(given):
            asked = options.job_options(given)
            check_soft(asked.timeout, function)
            wire = options.to_wire(asked)
        if not _TIMES.isdisjoint(given):
            _limit_time(given, asked or JobOptions(), function, wire)
    if function is not None and function.wire:
        _label(wire, function.wire)
    return asked, wire


def check_soft(timeout: Duration | Timeout | None, function: Function | None) -> None:
    """Refuse a soft timeout for a function that could not hear of it.

    Raises:
        InvalidOption: the function runs in a process of its own.
    """
    soft = isinstance(timeout, Timeout) and timeout.soft is not None
    if soft and function is not None and function.in_process:
        raise InvalidOption(
            f"`{function.name}` runs in a process of its own, which hears of no soft timeout: give "
            'it a hard one alone, or use executor="thread"'
        )


def _label(wire: dict[str, Any], own: Mapping[str, Any]) -> None:
    """Add the tags and headers of the function."""
    for name, value in own.items():
        wire[name] = add_up(wire[name], value, whole=True) if name in wire else value
    if "tags" in wire:
        wire["tags"] = check_tags(wire["tags"])
    if "headers" in wire:
        wire["headers"] = check_headers(wire["headers"])


def _limit_time(
    given: dict[str, Any], asked: JobOptions, function: Function | None, wire: dict[str, Any]
) -> None:
    """Write the limits that count from the time of this call; refuse those that it breaks."""
    start_by = given.get("start_by")
    if start_by is not None:
        wire["start_by"] = until_ms(start_by, what="start_by")
    delay_ms = _delay_ms(given)
    if delay_ms <= 0:
        return
    layered = asked.over(function.options) if function is not None else asked
    if layered.expires is not None:
        _refuse_late(delay_ms, to_ms(layered.expires, what="expires"))
    if start_by is not None and clock.now_ms() + delay_ms > wire["start_by"]:
        raise InvalidOption(
            f"the job may not begin before its `start_by` ({start_by.isoformat()}): it is put off "
            f"by {format_ms(delay_ms)}"
        )
    if layered.retry_for is not None:
        wire["delay"] = delay_ms


def _refuse_late(delay_ms: int, expires_ms: int) -> None:
    if delay_ms >= expires_ms:
        raise InvalidOption(
            f"the job would expire {format_ms(expires_ms)} after it is enqueued, and may not begin "
            f"before {format_ms(delay_ms)}: give the call a longer `expires`, or `start_by`"
        )


def _delay_ms(given: Mapping[str, Any]) -> int:
    delay, run_at = given.get("delay"), given.get("run_at")
    if run_at is not None:
        return round(until_ms(run_at) - clock.now_ms())
    return 0 if delay is None else to_ms(delay, allow_negative=True)
