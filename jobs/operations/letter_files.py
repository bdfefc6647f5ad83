"""Dead letters in files: lines of JSON or CSV to read elsewhere, and an archive to keep."""

from __future__ import annotations

import asyncio
import csv
import os
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TextIO

from pydantic_core import to_json

from jobs.handle import JobInfo
from jobs.operations.letters import DeadLetter

#: Takes up to 100 letters; what it returned from is safe.
Sink = Callable[[Sequence[dict[str, Any]]], Awaitable[object]]
Format = Literal["jsonl", "csv"]
FORMATS: tuple[Format, ...] = ("jsonl", "csv")
SCHEMA = "jobs/dead-letter/v1"


def document(info: JobInfo) -> dict[str, Any]:
    """All that is known of a dead letter: enough to enqueue it anew."""
    return {"schema": SCHEMA, **asdict(info), "letter": DeadLetter.of(info).record()}


class FileArchive:
    """A sink that appends to a file, a line of JSON for each letter, and has them on disk when it
    returns. The file is for its owner alone: it holds arguments in the clear.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    async def __call__(self, letters: Sequence[dict[str, Any]]) -> None:
        """Append letters.

        Raises:
            OSError: they could not be written.
        """
        lines = b"".join(_line(letter) for letter in letters)
        await asyncio.to_thread(self._append, lines)

    def _append(self, lines: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with os.fdopen(os.open(self.path, flags, 0o600), "ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())


async def export(
    letters: AsyncIterable[DeadLetter], file: TextIO, file_format: Format = "jsonl"
) -> int:
    """Write letters to a text file one by one; how many they were."""
    write = _csv_writer(file) if file_format == "csv" else _json_writer(file)
    count = 0
    async for letter in letters:
        write(letter)
        count += 1
    return count


def _json_writer(file: TextIO) -> Callable[[DeadLetter], object]:
    return lambda letter: file.write(_line(letter.model_dump(mode="json", by_alias=True)).decode())


def _csv_writer(file: TextIO) -> Callable[[DeadLetter], object]:
    writer = csv.writer(file)
    columns = ["queueName", "jobId", "jobType", "failedAt", "attempts", "error.type",
               "error.message", "fingerprint", "tags", "jobData", "error.stack"]  # fmt: skip
    writer.writerow(columns)
    return lambda letter: writer.writerow([_cell(letter.row()[name]) for name in columns])


def _cell(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = value if isinstance(value, str) else to_json(value, fallback=str).decode()
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def _line(value: dict[str, Any]) -> bytes:
    return to_json(value, fallback=str, inf_nan_mode="constants") + b"\n"
