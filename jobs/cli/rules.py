"""The rules of `check` that need no server: they read what the application declares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_type_hints

from pydantic import BaseModel, PydanticUserError
from pydantic_core import to_json

from jobs.backoff import Exponential, Fixed, RetryPolicy
from jobs.cli.application import Application
from jobs.cli.declared import tried
from jobs.cli.findings import FAIL, Finding
from jobs.cli.payload import schema_of
from jobs.cli.types import options_of
from jobs.durations import format_ms, to_ms
from jobs.errors import PayloadTooLarge, UnknownFunction, did_you_mean
from jobs.job_options import JobOptions
from jobs.registry import Function
from jobs.timeouts import Timeout

#: More than this is no message any more, but data: 32 KiB.
LARGE_BYTES = 32 * 1024
#: What arq calls its cron jobs.
CRON = "cron:"


def look_at_code(app: Application) -> Iterator[Finding]:
    """Everything that can be said without a server."""
    for name, function in app.functions.items():
        if name == function.name:  # no aliases
            yield from _function(app, function)
    yield from _queues(app)
    yield from _cron_jobs(app)
    yield from _schedules(app)
    yield from _settings(app)


# -- functions ---------------------------------------------------------------------------


def _function(app: Application, function: Function) -> Iterator[Finding]:
    subject, options = f"job {function.name}", options_of(app, function)
    if Timeout.of(options.timeout or 0).hard_ms == 0:
        yield Finding("no-timeout", subject, "no limit of time", 'give it timeout="5m", say')
    if not function.retries and not function.name.startswith(CRON):
        yield Finding(
            "no-retry-policy",
            subject,
            "a plain arq function: only Retry and timeouts lead to another attempt",
            "func(…, backoff=exponential(2)), or declare it with @job(attempts=…)",
        )
    for what, fix in _contradictions(app, function, options):
        yield Finding("contradictory-options", subject, what, fix)
    for name, what in _objects(function):
        fix = "take an id or a path, and load it inside the job"
        yield Finding("object-in-payload", subject, f"{name} {what}", fix)
    yield from _uniqueness(function, options)


def _contradictions(
    app: Application, function: Function, options: JobOptions
) -> Iterator[tuple[str, str]]:
    """(what, fix) of options of which one takes the effect of the other."""
    attempts = options.attempts or 1
    for layer, said in function.layers:
        unused = said.attempts == 1 and said.backoff not in (None, RetryPolicy.of("none").backoff)
        if layer == "function" and unused:
            yield "a backoff beside attempts=1 is never waited", "raise attempts, or drop backoff"
    wait_ms = _first_wait_ms(options)
    for name in ("retry_for", "expires"):
        value = getattr(options, name)
        if value is not None and attempts > 1 and function.retries and to_ms(value) <= wait_ms:
            limit, wait = format_ms(to_ms(value)), format_ms(wait_ms)
            what = f"{name} ({limit}) is over before the first retry, which waits {wait}"
            yield what, f"lengthen {name}, shorten the backoff, or say attempts=1"
    if options.max_starts is not None and options.max_starts < attempts and not options.retry_for:
        yield (
            f"max_starts={options.max_starts} ends it before its attempts={attempts} are used",
            "make max_starts the larger of the two",
        )
    queue = app.queues.get(function.queue or app.default_queue)
    keep = options.keep_failed
    if queue is not None and queue.dead_letter and keep is not None and 0 in keep.limits():
        what = (
            f"queue {queue.name} tells {queue.dead_letter} of dead letters, keep_failed keeps none"
        )
        yield what, "keep failed jobs for a while: keep_failed=Keep(age=…)"


def _first_wait_ms(options: JobOptions) -> int:
    """The shortest wait before the first retry; 0 where code decides."""
    if not isinstance(options.backoff, Fixed | Exponential):
        return 0
    return options.backoff.delay_ms(1, random=lambda: 0.0)


def _objects(function: Function) -> Iterator[tuple[str, str]]:
    """(field, what it is) of what does not belong into a queue."""
    model = function.signature.model
    if model is not None and not _has_schema(model):
        yield "payload", f"({model.__name__}) holds objects that are no JSON"
    for name, hint in _parameters(function).items():
        if name not in function.signature.wires and hint is not Any:
            yield name, f"({getattr(hint, '__name__', hint)}) is an object that is no JSON"
    for name, part in schema_of(function).get("properties", {}).items():
        kinds = (part, *part.get("anyOf", ()))
        if any(kind.get("format") == "binary" for kind in kinds):
            yield name, "carries bytes"


def _has_schema(model: type[BaseModel]) -> bool:
    try:
        model.model_json_schema()
    except PydanticUserError:
        return False
    return True


def _parameters(function: Function) -> dict[str, Any]:
    """The annotated parameters of the payload; none if the annotations cannot be read."""
    try:
        hints = get_type_hints(function.call)
    except (NameError, TypeError):
        return {}
    return {name: hints[name] for name in function.signature.parameters.parameters if name in hints}


def _uniqueness(function: Function, options: JobOptions) -> Iterator[Finding]:
    unique = function.unique
    if unique is None or unique.ttl is None:
        return
    ttl_ms, limit_ms = to_ms(unique.ttl), Timeout.of(options.timeout or 0).hard_ms
    if limit_ms == 0 or ttl_ms < limit_ms:
        may = f"for {format_ms(limit_ms)}" if limit_ms else "without a limit"
        yield Finding(
            "short-unique-key",
            f"job {function.name}",
            f"its key is held for {format_ms(ttl_ms)}, an attempt may run {may}",
            "shorten the timeout, lengthen the ttl, or leave it out: then the job's end frees it",
        )


# -- queues ------------------------------------------------------------------------------


def _queues(app: Application) -> Iterator[Finding]:
    given = {queue.name for queue in app.settings.get("queues", ())}
    homes = {function.queue for function in app.functions.values()}
    homes |= {schedule.request.options.get("queue") for schedule in app.given_schedules}
    for name in sorted(given - homes):
        yield Finding(
            "queue-without-function",
            f"queue {name}",
            "no job of the application goes there by itself",
            f'@job(queue="{name}"), or take it out of `queues`',
        )
    for name in sorted(set(app.queues) - app.described - {app.default_queue}) if given else ():
        users = sorted({f.name for f in app.functions.values() if f.queue == name})
        yield Finding(
            "undeclared-queue",
            f"queue {name}",
            f"used by {', '.join(users)}, and not in `queues`{did_you_mean(name, given)}",
            f'add Queue("{name}") to `queues`, or correct the name',
        )
    for queue in app.queues.values():
        if queue.dead_letter and queue.dead_letter not in app.functions:
            yield Finding(
                "unknown-function",
                f"queue {queue.name}",
                f"dead_letter={queue.dead_letter!r} is no job of the application"
                f"{did_you_mean(queue.dead_letter, app.functions)}",
                "add the function to `functions`, or correct the name",
            )


# -- the clock ---------------------------------------------------------------------------


def _cron_jobs(app: Application) -> Iterator[Finding]:
    if app.settings.get("timezone") is not None:
        return
    for job in app.cron_jobs:
        if any(part is not None for part in (job.month, job.day, job.weekday, job.hour)):
            yield Finding(
                "cron-without-zone",
                f"cron job {job.name.removeprefix(CRON)}",
                "it runs by the zone of whatever machine its worker is on",
                'timezone = ZoneInfo("Europe/Berlin") in the settings, or @schedule(…, tz=…)',
            )


def names_an_hour(expression: str) -> bool:
    """Whether the instants of an expression depend on a zone: it fixes an hour or a day."""
    fields = expression.split()
    if len(fields) < 5:  # noqa: PLR2004 -- an alias such as @daily
        return expression.strip() != "@hourly"
    return any(field not in {"*", "?"} for field in fields[-4:])


def _schedules(app: Application) -> Iterator[Finding]:
    for schedule, _, problem in tried(app):
        subject, cron = f"schedule {schedule.name}", schedule.timing.cron
        if isinstance(problem, UnknownFunction):
            fix = "add it to `functions`, or correct the name"
            yield Finding("unknown-function", subject, str(problem), fix, FAIL)
        elif isinstance(problem, PayloadTooLarge):
            fix = "give it an id, and load the rest inside the job"
            yield Finding("large-payload", subject, str(problem), fix, FAIL)
        elif problem is not None:
            fix = f"`arq-jobs schema {schedule.request.function}` shows what it takes"
            yield Finding("invalid-arguments", subject, str(problem), fix, FAIL)
        elif (size := _size(schedule.request.args, schedule.request.kwargs)) > LARGE_BYTES:
            yield large(subject, size)
        if cron is not None and not schedule.zoned and names_an_hour(cron):
            what = f"{cron!r} names an hour or a day, and no zone: it is read as UTC"
            yield Finding("cron-without-zone", subject, what, 'tz="Europe/Berlin", or tz="UTC"')


def _size(*parts: Any) -> int:
    return len(to_json(parts, fallback=str))


def large(subject: str, size: int, more: str = "") -> Finding:
    """A payload that is over the limit of a message."""
    what = f"a payload of {size / 1024:,.0f} KiB{more}"
    fix = "enqueue an id or a path, and load the rest inside the job"
    return Finding("large-payload", subject, what, fix)


# -- settings ----------------------------------------------------------------------------


def _settings(app: Application) -> Iterator[Finding]:
    given = app.settings
    if given.get("keep_result_forever") and "keep_result" in given:
        yield Finding(
            "contradictory-options",
            "settings",
            "keep_result beside keep_result_forever=True is never looked at",
            "drop one of them",
        )
    if given.get("burst") and given.get("autorun") is False:
        yield Finding(
            "contradictory-options",
            "settings",
            "burst=True waits until the queues are empty, and autorun=False takes nothing",
            "drop one of them",
        )
