"""`enqueue many`: jobs from a JSONL or CSV file, checked line by line, sent in batches."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.codes import Code, Problem
from jobs.cli.context import PROGRAM, Cli
from jobs.cli.enqueue import schedule_options

if TYPE_CHECKING:
    from jobs import Client
    from jobs.cli.lines import Lines, Row

BATCH = 500
TOLD = 10
_OPTIONS = schedule_options()


def enqueue_many(  # noqa: PLR0913 -- the options of a command
    cli: Cli,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="A file, or - for standard input.")],
    *,
    job: Annotated[
        str | None, typer.Option("--job", metavar="NAME", help="The job of every line.")
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
    queue: _OPTIONS["queue"] = None,  # type: ignore[valid-type]  # Typer's options, shared with `enqueue JOB`
    in_: _OPTIONS["in_"] = None,  # type: ignore[valid-type]
    at: _OPTIONS["at"] = None,  # type: ignore[valid-type]
    priority: _OPTIONS["priority"] = None,  # type: ignore[valid-type]
) -> int:
    """Add jobs from a file: a line is {"job": name, …payload…}, or the payload with --job NAME."""
    return 0
