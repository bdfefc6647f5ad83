"""`enqueue many`: jobs from a JSONL or CSV file, checked line by line, sent in batches."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.codes import Problem
from jobs.cli.completing import job_names
from jobs.cli.context import Cli
from jobs.cli.enqueue import schedule_options


def enqueue_many(  # noqa: PLR0913 -- the options of a command
    cli: Cli,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="A file, or - for standard input.")],
    *,
    job: Annotated[
        str | None,
        typer.Option(
            "--job", metavar="NAME", help="The job of every line.", autocompletion=job_names
        ),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option("--format", metavar="jsonl|csv", help="Default: by the file's name."),
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option("--id-column", metavar="NAME", help="The field that is the job's id."),
    ] = None,
    validate: Annotated[
        bool,
        typer.Option("--validate/--no-validate", help="Check every line before any is sent."),
    ] = True,
    all_or_nothing: Annotated[
        bool, typer.Option("--all-or-nothing", help="Send nothing if a line is rejected.")
    ] = False,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="100/s", help="Send no faster than this.")
    ] = None,
    resume_from: Annotated[
        int, typer.Option("--resume-from", min=1, metavar="LINE", help="Begin with this line.")
    ] = 1,
    errors: Annotated[
        Path | None,
        typer.Option("--errors", metavar="FILE", help="Write rejected lines and reasons here."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the lines, send none.")] = False,
    **shared: Any,
) -> int:
    """Add jobs from a file: a line is {"job": name, …payload…}, or the payload with --job NAME.

    JSONL has one object a line; CSV has a header, and an empty cell is an unset field. Lines that
    do not validate are rejected and told, the others are sent; exit code 5.
    """
    from jobs.cli import application
    from jobs.cli.bulk import Bulk, Plan
    from jobs.cli.lines import open_lines
    from jobs.cli.requests import call_options
    from jobs.durations import parse_rate

    if all_or_nothing and not validate:
        raise Problem("--all-or-nothing needs the lines validated first", "drop --no-validate")
    app = application.load(cli)
    if job is not None:
        app.function(job)
    plan = Plan(job, id_column, call_options(shared), all_or_nothing=all_or_nothing)
    with open_lines(file, file_format) as lines:
        bulk = Bulk(cli, app, lines, plan, resume_from, parse_rate(rate) if rate else None)
        return _run(bulk, errors, validate=validate or dry_run, send=not dry_run)


def _run(bulk: Any, errors: Path | None, *, validate: bool, send: bool) -> int:
    with bulk.rejecting(errors):
        code: int = bulk.run(validate=validate, send=send)
    return code


def with_schedule_options(function: Any) -> Any:
    """The command with the options that `enqueue JOB` has too, in place of `**shared`."""
    own = inspect.signature(function, eval_str=True).parameters.values()
    named = [p for p in own if p.kind is not inspect.Parameter.VAR_KEYWORD]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=None)
        for name, annotation in schedule_options().items()
    ]

    def run(cli: Cli, **values: Any) -> int:
        result: int = function(cli, **values)
        return result

    run.__doc__, run.__name__ = function.__doc__, function.__name__
    run.__signature__ = inspect.Signature([*named, *shared])  # type: ignore[attr-defined]  # read by `command`
    return run


many = with_schedule_options(enqueue_many)
