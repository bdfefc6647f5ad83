"""`dlq export` and `dlq archive`: dead letters written to files."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from jobs.cli.acting import AllOption, act_on, narrowed
from jobs.cli.changing import DryRunOption, YesOption
from jobs.cli.codes import Problem
from jobs.cli.context import PROGRAM, Cli, plain
from jobs.cli.filters import check_queues, with_filter
from jobs.states import State

if TYPE_CHECKING:
    from jobs import Client, DeadLetter, Filter
    from jobs.cli.application import Application
    from jobs.operations.actions import BulkResult
    from jobs.operations.bulk import Bulk, OnProgress

Format = Literal["jsonl", "csv"]


def export_by_filter(
    cli: Cli,
    chosen: Any,
    file: Annotated[
        str, typer.Argument(metavar="[FILE|-]", help="A new file, or - for standard output.")
    ] = "-",
    *,
    file_format: Annotated[
        str | None,
        typer.Option("--format", metavar="jsonl|csv", help="Default: by the file's name."),
    ] = None,
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Write secret arguments in the clear.")
    ] = False,
) -> None:
    """Write dead letters to a file, a line each; they stay where they are."""
    from jobs.cli.server import optional_app, talk
    from jobs.operations import letter_files

    kind = _format(file, file_format)
    app = optional_app(cli)

    async def work(client: Client) -> int:
        await check_queues(client, app, chosen)
        with _open(file) as out:
            letters = _letters(client, app, chosen, masked=not with_secrets)
            return await letter_files.export(letters, out, kind)

    count = talk(cli, app, work)
    cli.say(f"{count} dead letters exported" + (f" to {plain(file)}" if file != "-" else ""))


async def _letters(
    client: Client, app: Application | None, chosen: Filter, *, masked: bool
) -> AsyncIterator[DeadLetter]:
    from jobs import DeadLetter
    from jobs.cli.sending import mask

    async for info in client.dead_letters().iterate(narrowed(chosen, State.failed)):
        function = app.functions.get(info.function) if app else None
        letter = DeadLetter.of(info, function)
        if masked:
            letter = letter.model_copy(update={"job_data": mask(letter.job_data, function)})
        yield letter


def _format(file: str, given: str | None) -> Format:
    from jobs.errors import did_you_mean
    from jobs.operations.letter_files import FORMATS

    if given is None:
        return "csv" if file.endswith(".csv") else "jsonl"
    for known in FORMATS:
        if given == known:
            return known
    raise Problem(f"--format is jsonl or csv, not {given!r}{did_you_mean(given, FORMATS)}")


@contextmanager
def _open(file: str) -> Iterator[TextIO]:
    if file == "-":
        yield sys.stdout
        return
    try:
        with Path(file).open("x", encoding="utf-8", newline="") as out:
            yield out
    except FileExistsError:
        raise Problem(f"the file {file!r} exists already", "name another one") from None
    except OSError as error:
        raise Problem(f"cannot write {file!r}: {error.strerror}") from None


def archive_by_filter(  # noqa: PLR0913 -- the options of a command
    cli: Cli,
    chosen: Any,
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="FILE", help="The file to which they are appended."),
    ] = None,
    older: Annotated[
        str | None,
        typer.Option("--older", metavar="30d", help="Only those that failed longer ago."),
    ] = None,
    everything: AllOption = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Move dead letters to a file; each is removed when it is on the disk.

    The file has all that is known of a job, in the clear, and is readable for its owner alone.
    """
    from jobs.operations.letter_files import FileArchive

    if to is None:
        raise Problem("say where to, with --to FILE", f"`{PROGRAM} dlq archive --help`")
    if chosen.empty and older is None and not everything:
        raise Problem("give --older 30d, a filter or --all", f"`{PROGRAM} dlq archive --help`")
    sink = FileArchive(to)

    def do(
        bulk: Bulk, told: OnProgress | None = None, *, dry_run: bool = False
    ) -> Awaitable[BulkResult]:
        return bulk.archive(sink, on_progress=told, dry_run=dry_run)

    aged = _older(narrowed(chosen, State.failed), older)
    return act_on(cli, aged, "archive", lambda c: c.bulk(aged), do, yes=yes, dry_run=dry_run)


def _older(chosen: Filter, older: str | None) -> Filter:
    from dataclasses import replace

    if older is None:
        return chosen
    if chosen.until is not None:
        raise Problem("give --older or --until, not both")
    return replace(chosen, until=older)


_WITHOUT = {"state"}
export = with_filter(export_by_filter, _WITHOUT)
archive = with_filter(archive_by_filter, _WITHOUT)
