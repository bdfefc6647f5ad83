"""The lines of a file of jobs, read one by one: JSONL, or CSV with a header."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TextIO, cast

from jobs.cli.codes import Problem

#: Standard input is kept up to here in memory, beyond on disk, since it is read twice.
SPOOL_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Row:
    """One line: its number from 1, its values or what is wrong with it, and its own text."""

    number: int
    values: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    text: Any = None
    from_csv: bool = False


class Lines:
    """A file of jobs that can be read more than once."""

    def __init__(self, file: IO[bytes], kind: str) -> None:
        self._file, self._kind = file, kind

    def rows(self, first: int = 1) -> Iterator[Row]:
        """The rows from line `first` on; empty lines are passed over.

        Raises:
            Problem: the file is no UTF-8 text.
        """
        self._file.seek(0)
        read = _csv_rows if self._kind == "csv" else _jsonl_rows
        try:
            for row in read(self._file):
                if row.number >= first:
                    yield row
        except UnicodeDecodeError as error:
            raise Problem(f"the file is no UTF-8 text: {error}") from None
        except csv.Error as error:
            raise Problem(f"the file is no CSV: {error}") from None


@contextmanager
def open_lines(name: str, kind: str | None) -> Iterator[Lines]:
    """The lines of a file, or of standard input for `-`.

    Raises:
        Problem: no such file, or an unknown format.
    """
    kind = kind or ("csv" if name.lower().endswith(".csv") else "jsonl")
    if kind not in {"csv", "jsonl"}:
        raise Problem(f"--format is jsonl or csv, not {kind!r}")
    try:
        file = _spooled() if name == "-" else Path(name).open("rb")  # noqa: SIM115 -- closed below
    except OSError as error:
        raise Problem(f"the file cannot be read: {error}", "give a file, or - for input") from None
    with file:
        yield Lines(file, kind)


def _spooled() -> IO[bytes]:
    spool = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 -- by the caller
    shutil.copyfileobj(sys.stdin.buffer, spool)
    return cast("IO[bytes]", spool)


def _jsonl_rows(file: IO[bytes]) -> Iterator[Row]:
    for number, raw in enumerate(file, 1):
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        if line:
            yield _jsonl_row(number, line)


def _jsonl_row(number: int, line: str) -> Row:
    try:
        values = json.loads(line)
    except ValueError as error:
        return Row(number, problem=f"no JSON: {error}", text=line)
    if not isinstance(values, dict):
        return Row(number, problem="expected a JSON object", text=values)
    return Row(number, values, text=values)


def _csv_rows(file: IO[bytes]) -> Iterator[Row]:
    """One row a record; its number is that of the record's last line."""
    lines = (raw.decode("utf-8-sig" if n == 0 else "utf-8") for n, raw in enumerate(file))
    reader = csv.DictReader(cast("TextIO", lines), restkey="", strict=True)
    for record in reader:
        values = {key: value for key, value in record.items() if key and value}
        more = isinstance(record.get(""), list)
        problem = "more values than the header has columns" if more else ""
        yield Row(reader.line_num, values, problem, record, from_csv=True)
