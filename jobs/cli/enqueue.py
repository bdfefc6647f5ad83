"""`enqueue JOB`: one command a job of the application, with options from its payload."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.command import PlainCommand, PlainGroup, take_globals, with_signature
from jobs.cli.completing import BY_FLAG, job_names
from jobs.cli.context import Cli
from jobs.errors import JobsError, UnknownFunction

if TYPE_CHECKING:
    from jobs.cli.application import Application
    from jobs.cli.payload import Field
    from jobs.registry import Function

PAYLOAD, JOB = "Payload", "Job options"
PREFIX = "payload_"


class Jobs(PlainGroup):
    """The group whose commands are the jobs of the application, loaded when they are needed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands that are always there, then the jobs; without an application, no jobs."""
        if not ctx.obj.app:
            return super().list_commands(ctx)
        try:
            jobs = [name for name in _load(ctx).functions if name not in self.commands]
        except JobsError as error:
            typer.echo(f"the jobs cannot be listed: {error}", err=True)
            jobs = []
        return [*super().list_commands(ctx), *sorted(jobs)]

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The names for a shell, those of jobs as they are remembered."""
        from typer._click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return PlainCommand.shell_complete(self, ctx, incomplete)  # options alone
        own = [name for name in self.commands if name.startswith(incomplete)]
        names = [*own, *job_names(ctx, incomplete)]
        return [CompletionItem(name) for name in names]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of one job."""
        if cmd_name in self.commands:
            return super().get_command(ctx, cmd_name)
        if cmd_name.startswith("-"):
            return None
        app = _load(ctx)
        if cmd_name not in app.functions:
            raise UnknownFunction(cmd_name, [*app.functions, *self.commands])
        return job_command(app, app.functions[cmd_name])


def _load(ctx: Any) -> Application:
    cli: Cli = ctx.obj
    return _loaded(cli.app)


@cache
def _loaded(spec: str) -> Application:
    from jobs.cli import application

    return application.load(Cli(app=spec))


def job_command(app: Application, function: Function) -> Any:
    """The command that enqueues one job of this function."""
    from jobs.cli.payload import fields_of

    fields = fields_of(function)

    def run(ctx: typer.Context, **values: Any) -> int | None:
        cli = take_globals(ctx, values)
        return enqueue_one(cli, app, function, values)

    run.__doc__ = _help(function)
    named = [f for f in fields if f.kind is not inspect.Parameter.VAR_POSITIONAL]
    parameters = [_payload_parameter(n, field) for n, field in enumerate(named)]
    if function.signature.model is None and fields:
        parameters.insert(0, _positional_parameter())
    single = typer.Typer(add_completion=False, rich_markup_mode=_mode())
    single.command(function.name, cls=PlainCommand, rich_help_panel="Jobs")(
        with_signature(run, [*parameters, *_job_parameters()])
    )
    return typer.main.get_command(single)


def _mode() -> Any:
    import sys

    from jobs.cli.context import fancy

    return "rich" if fancy(sys.stdout) else None


def _help(function: Function) -> str:
    return _escaped(function.description or f"Enqueue one {function.name!r} job.")


def _escaped(text: str) -> str:
    """Text whose brackets rich leaves alone."""
    if not _mode():
        return text
    from rich.markup import escape

    return escape(text)


def _describe(field: Field) -> str:
    notes = ["required"] * field.required
    notes += ["repeat for more"] * str(field.shape.annotation).startswith("list")
    if field.default not in {None, "", "[]", "{}"}:
        notes.append(f"default: {field.default}")
    return f"{field.help} ({', '.join(notes)})".strip() if notes else field.help


def _payload_parameter(n: int, field: Field) -> inspect.Parameter:
    """A Typer option of one field; always optional, for `--data` may give it."""
    option = typer.Option(
        field.flags,
        help=_escaped(_describe(field)),
        rich_help_panel=PAYLOAD,
        metavar=field.shape.metavar,
        show_default=False,
    )
    return _keyword(f"{PREFIX}{n}", _annotated(field.shape.annotation | None, option))


def _positional_parameter() -> inspect.Parameter:
    argument = typer.Argument(
        help="Arguments in the order of the function's parameters.", metavar="[VALUE]..."
    )
    return _keyword("args", _annotated(list[str] | None, argument))


def _keyword(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, annotation=annotation, default=default)


def _annotated(annotation: Any, parameter: Any) -> Any:
    return Annotated[annotation, parameter]


def _option(annotation: Any, flag: str, text: str, metavar: str | None = None) -> Any:
    option = typer.Option(
        flag,
        help=text,
        metavar=metavar,
        rich_help_panel=JOB,
        show_default=False,
        autocompletion=BY_FLAG.get(flag),
    )
    return _annotated(annotation, option)


def schedule_options() -> dict[str, Any]:
    """Options that one job and many jobs share."""
    return {
        "queue": _option(str | None, "--queue", "Another queue than the job's own.", "NAME"),
        "in_": _option(str | None, "--in", "Wait this long before it may run.", "5m"),
        "at": _option(
            str | None, "--at", "Run not before 2026-12-01T09:00[Europe/Berlin].", "TIME"
        ),
        "priority": _option(int | None, "--priority", "1 (first) to 1000 (last)."),
        "attempts": _option(int | None, "--attempts", "Total runs allowed."),
        "timeout": _option(str | None, "--timeout", "Limit of one attempt.", "30s"),
        "expires": _option(str | None, "--expires", "Not started by then, it ends expired.", "1h"),
        "start_by": _option(
            str | None, "--start-by", "Not started by this moment, it ends expired.", "TIME"
        ),
        "retry_for": _option(str | None, "--retry-for", "No retry begins later than this.", "2d"),
        "tag": _option(list[str] | None, "--tag", "A tag; repeat for more.", "TEXT"),
        "header": _option(list[str] | None, "--header", "A header; repeat for more.", "NAME=VALUE"),
    }


def _job_parameters() -> list[inspect.Parameter]:
    annotations = schedule_options() | {
        "id": _option(str | None, "--id", "Its id; taken ids give the job that has it.", "ID"),
        "data": _option(
            str | None, "--data", "The payload as JSON; the options above win.", "JSON|@FILE|-"
        ),
        "wait": _option(bool, "--wait", "Wait for the result and print it."),
        "wait_timeout": _option(str | None, "--wait-timeout", "Wait no longer than this.", "30s"),
        "dry_run": _option(bool, "--dry-run", "Validate and show the job, enqueue nothing."),
    }
    flags = {"wait", "dry_run"}
    return [
        _keyword(name, annotation, default=False if name in flags else None)
        for name, annotation in annotations.items()
    ]


def enqueue_one(
    cli: Cli, app: Application, function: Function, values: Mapping[str, Any]
) -> int | None:
    """Check one job and enqueue it, or show what would be enqueued."""
    from jobs.cli import sending
    from jobs.cli.payload import fields_of
    from jobs.cli.requests import call_options, make_request, payload_problem, read_data
    from jobs.errors import InvalidPayload

    fields = fields_of(function)
    try:
        payload = read_data(values["data"]) | read_fields(function, fields, values)
        request = make_request(function, payload, call_options(values), values.get("args") or ())
    except InvalidPayload as error:
        raise payload_problem(error, fields) from None
    if values["dry_run"]:
        return sending.show(cli, app, function, request)
    waiting = values["wait"] or values["wait_timeout"] is not None
    return sending.send(cli, app, request, wait=waiting, timeout=values["wait_timeout"])


def read_fields(
    function: Function, fields: list[Field], values: Mapping[str, Any]
) -> dict[str, Any]:
    """The payload keys that were given as options.

    Raises:
        InvalidPayload: an option that takes JSON has something else.
    """
    from jobs.errors import InvalidPayload

    named = [f for f in fields if f.kind is not inspect.Parameter.VAR_POSITIONAL]
    found: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for n, field in enumerate(named):
        if (value := values[f"{PREFIX}{n}"]) is None or value == []:
            continue
        try:
            found[field.key] = field.shape.read(value)
        except ValueError as error:
            problems.append((field.key, str(error)))
    if problems:
        raise InvalidPayload(function.name, problems)
    return found
