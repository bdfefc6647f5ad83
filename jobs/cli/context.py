"""What every command is given: the global options, and how it talks to people and programs.

Data goes to standard output, messages to standard error. On a terminal there are tables and
colours; elsewhere there are plain lines, or one JSON document with `--json`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any

import typer

SCHEMA = "jobs/v1"
DEFAULT_APP = "settings:WorkerSettings"
#: The name that works in every shell; `jobs` alone is a builtin of them all.
PROGRAM = "arq-jobs"


@dataclass(frozen=True)
class Cli:
    """The global options; see `jobs.cli.command` for their meanings."""

    app: str = DEFAULT_APP
    redis: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: int = 0
    debug: bool = False
    #: Runs another command line from within one; set by run.py, for `help`.
    again: Callable[[Sequence[str]], int] = lambda _: 0

    def say(self, text: str) -> None:
        """A message for people, on standard error; nothing with `--quiet`."""
        if not self.quiet:
            typer.echo(text, err=True)

    def data(self, text: str) -> None:
        """A line of data, on standard output."""
        typer.echo(text)

    def document(self, **content: Any) -> None:
        """One JSON document on standard output: indented on a terminal, else one line."""
        from pydantic_core import to_json

        indent = 2 if fancy(sys.stdout) else None
        document = {"schema": SCHEMA, **content}
        typer.echo(to_json(document, indent=indent, fallback=str, inf_nan_mode="null"))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Rows under their columns, on standard output."""
        texts = [[plain(cell) for cell in row] for row in rows]
        if fancy(sys.stdout):
            _rich_table(columns, texts)
        else:
            _plain_table([[column.upper() for column in columns], *texts])


def fancy(stream: IO[str]) -> bool:
    """Whether the stream is a terminal that people look at."""
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def plain(value: object) -> str:
    """`value` as text in one line, without control characters that could rewrite a terminal."""
    text = "-" if value is None else str(value)
    return "".join(c if c.isprintable() else " " if c in "\r\n\t" else "�" for c in text)


def _plain_table(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())


def _rich_table(columns: Sequence[str], rows: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console

    Console(highlight=False).print(rich_table(columns, rows, box.SIMPLE_HEAD))


def rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]], box: Any = None) -> Any:
    """A table for a terminal; a column of numbers is aligned at the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box, pad_edge=False, header_style="bold")
    for n, column in enumerate(columns):
        numbers = bool(rows) and all(_is_number(row[n]) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in row))
    return table


_STYLES = {
    "active": "cyan",
    "completed": "green",
    "failed": "bold red",
    "delayed": "yellow",
    "parked": "yellow",
    "OK": "green",
    "WARN": "yellow",
    "FAIL": "bold red",
}


def _is_number(text: str) -> bool:
    return text == "-" or text[:1].isdigit()
