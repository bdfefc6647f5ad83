"""`types`: the jobs of the application, with their policies and payloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.cli.context import Cli

if TYPE_CHECKING:
    from jobs.cli.application import Application
    from jobs.cli.payload import Field
    from jobs.options import JobOptions
    from jobs.registry import Function


def types(cli: Cli) -> None:
    """List the jobs of the application: queue, attempts, backoff, timeout and payload fields."""
    from jobs.cli import application

    app = application.load(cli)
    functions = [f for name, f in sorted(app.functions.items()) if name == f.name]  # no aliases
    if cli.json:
        return cli.document(types=[_entry(app, function) for function in functions])
    if cli.quiet:
        for function in functions:
            cli.data(function.name)
        return None
    columns = ["job", "queue", "attempts", "backoff", "timeout", "payload"]
    cli.table(columns, [_row(app, function) for function in functions])
    return None


def options_of(app: Application, function: Function) -> JobOptions:
    """The options that hold for a function: framework < queue < function."""
    from jobs.options import FRAMEWORK_DEFAULTS

    queue = app.queues.get(function.queue or app.default_queue)
    below = queue.defaults.over(FRAMEWORK_DEFAULTS) if queue else FRAMEWORK_DEFAULTS
    return function.options.over(below)


def _row(app: Application, function: Function) -> list[object]:
    from jobs.cli.payload import fields_of
    from jobs.cli.when import span
    from jobs.timeouts import Timeout

    options = options_of(app, function)
    fields = [f.key if f.required else f"[{f.key}]" for f in fields_of(function)]
    timeout_ms = Timeout.of(options.timeout or 0).hard_ms
    backoff = options.backoff if function.retries else "on Retry only"
    return [
        function.name,
        function.queue,
        options.attempts,
        backoff,
        span(timeout_ms) if timeout_ms else "none",
        " ".join(fields),
    ]


def _entry(app: Application, function: Function) -> dict[str, Any]:
    from jobs.cli.payload import fields_of, schema_of
    from jobs.timeouts import Timeout

    options = options_of(app, function)
    return {
        "name": function.name,
        "aliases": list(function.aliases),
        "events": list(function.events),
        "description": function.description,
        "queue": function.queue,
        "attempts": options.attempts,
        "retries": function.retries,
        "backoff": str(options.backoff),
        "timeout_ms": Timeout.of(options.timeout or 0).hard_ms,
        "priority": options.priority,
        "fields": [_field(field) for field in fields_of(function)],
        "schema": schema_of(function),
    }


def _field(field: Field) -> dict[str, Any]:
    return {
        "name": field.key,
        "option": f"--{field.option}",
        "required": field.required,
        "default": field.default,
        "description": field.help,
    }
