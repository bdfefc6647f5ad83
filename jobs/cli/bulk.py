"""Many jobs at once: checks the lines of a file, then sends those that are good, in batches."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from jobs import Client, Request
from jobs.cli.application import Application
from jobs.cli.codes import Code, Problem
from jobs.cli.context import PROGRAM, Cli, fancy, plain
from jobs.cli.lines import Lines, Row
from jobs.cli.payload import fields_of
from jobs.cli.requests import make_request, payload_problem
from jobs.cli.server import talk
from jobs.clock import mono
from jobs.errors import EnqueueRefused, InvalidOption, InvalidPayload, JobsError
from jobs.registry import Function

BATCH = 500
#: Rejected lines that are told on standard error; the file of `--errors` has all.
TOLD = 10


@dataclass(frozen=True)
class Plan:
    """How a line becomes a job."""

    job: str | None
    id_column: str | None
    options: dict[str, Any]
    all_or_nothing: bool = False


@dataclass
class Tally:
    """What became of the lines."""

    read: int = 0
    enqueued: int = 0
    duplicates: int = 0
    rejected: int = 0
    last_sent: int = 0


@dataclass
class Bulk:
    """One run over a file.

    `rate` is (limit, period in ms).
    """

    cli: Cli
    app: Application
    lines: Lines
    plan: Plan
    first: int = 1
    rate: tuple[int, int] | None = None
    tally: Tally = field(default_factory=Tally)
    _good: int | None = None
    _rejects: IO[str] | None = None

    @contextmanager
    def rejecting(self, path: Path | None) -> Iterator[None]:
        """Keep the file of rejected lines open for the length of the block."""
        if path is None:
            yield
            return
        try:
            file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise Problem(f"--errors: {error}") from None
        with file:
            self._rejects = file
            yield

    def run(self, *, validate: bool, send: bool) -> int:
        """Check all lines if asked to, then send the good ones; the exit code."""
        if validate:
            good = self._good = sum(1 for _ in self._requests())
            if self.tally.rejected and (self.plan.all_or_nothing or not good):
                return self._end(Code.usage)
        if send:
            checked, self._rejects = self._rejects, None if validate else self._rejects
            rejected, self.tally = self.tally.rejected, Tally()
            self._send(quiet=validate)
            self._rejects = checked
            self.tally.rejected = rejected if validate else self.tally.rejected
        return self._end(self._code(send=send))

    def _code(self, *, send: bool) -> Code:
        if not self.tally.rejected:
            return Code.ok
        return Code.usage if send and not self.tally.last_sent else Code.partial

    # -- lines -> requests -----------------------------------------------------------------

    def _requests(self, *, told: bool = True) -> Iterator[tuple[int, Request]]:
        """The good lines with their numbers; bad ones are rejected on the way."""
        for row in self.lines.rows(self.first):
            self.tally.read += 1
            try:
                yield row.number, self._request(row)
            except (EnqueueRefused, InvalidOption, Problem) as error:
                self._reject(row, error, told=told)

    def _request(self, row: Row) -> Request:
        if row.problem:
            raise Problem(row.problem)
        values = dict(row.values)
        name = self.plan.job or values.pop("job", None)
        if not isinstance(name, str):
            raise Problem('no job: write {"job": name, …}, or give --job NAME')
        function = self.app.function(name)
        options = dict(self.plan.options)
        if self.plan.id_column:
            options["id"] = self._id(function, values, self.plan.id_column)
        if row.from_csv:
            values = self._typed(function, values)
        return make_request(function, values, options)

    def _id(self, function: Function, values: dict[str, Any], column: str) -> str:
        """The job's id; its column leaves the payload unless it is a field of it."""
        if column not in values:
            raise Problem(f"the column {column!r} of --id-column is missing")
        known = {item.key for item in fields_of(function)}
        return str(values[column] if column in known else values.pop(column))

    def _typed(self, function: Function, values: dict[str, Any]) -> dict[str, Any]:
        """Cells of a table as values: a field that is no text is read as on the command line."""
        shapes = {item.key: item.shape for item in fields_of(function)}
        return {
            key: _cell(shapes[key], text) if key in shapes else text for key, text in values.items()
        }

    def _reject(self, row: Row, error: JobsError, *, told: bool) -> None:
        self.tally.rejected += 1
        if isinstance(error, InvalidPayload):
            function = self.app.function(error.function)
            reasons = payload_problem(error, fields_of(function)).lines
        else:
            reasons = [str(error)]
        if told and self.tally.rejected <= TOLD:
            for reason in reasons:
                self.cli.say(f"line {row.number}: {plain(reason)}")
        if self._rejects is not None:
            self._rejects.write(_reject_line(row, reasons))

    # -- requests -> server ----------------------------------------------------------------

    def _send(self, *, quiet: bool) -> None:
        async def work(client: Client) -> None:
            with self._progress() as advance:
                pace = _Pace(self.rate)
                for batch in _batches(self._requests(told=not quiet), self._size()):
                    await pace.wait(len(batch))
                    jobs = await client.enqueue_many([request for _, request in batch])
                    self.tally.duplicates += sum(job.duplicate for job in jobs)
                    self.tally.enqueued += sum(not job.duplicate for job in jobs)
                    self.tally.last_sent = batch[-1][0]
                    advance(len(batch))

        try:
            talk(self.cli, self.app, work)
        except BaseException:
            self._tell_where()
            raise

    def _size(self) -> int:
        """A batch; with a rate, no more than what a tenth of a second allows."""
        if self.rate is None:
            return BATCH
        limit, period_ms = self.rate
        return max(1, min(BATCH, limit * 100 // period_ms))

    def _tell_where(self) -> None:
        last = self.tally.last_sent
        self.cli.say(
            f"stopped after {self.tally.enqueued} jobs; lines up to {last} were sent; "
            f"go on with: {PROGRAM} enqueue many … --resume-from {last + 1}"
        )

    def _progress(self) -> AbstractContextManager[Any]:
        if self.cli.quiet or not fancy(sys.stderr):
            return nullcontext(lambda _count: None)
        return _bar(self._good)

    def _end(self, code: Code) -> int:
        tally = self.tally
        counts = {
            "enqueued": tally.enqueued,
            "duplicates": tally.duplicates,
            "rejected": tally.rejected,
        }
        if self.cli.json:
            self.cli.document(**counts)
        if tally.rejected > TOLD:
            self.cli.say(f"… and {tally.rejected - TOLD} more rejected lines")
        self.cli.say(", ".join(f"{count} {word}" for word, count in counts.items()))
        return code


@contextmanager
def _bar(total: int | None) -> Iterator[Any]:
    """A bar on standard error; with a total also the time that is left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("enqueued", total=total)
        yield lambda count: progress.advance(task, count)


class _Pace:
    """Keeps the sending below a rate."""

    def __init__(self, rate: tuple[int, int] | None) -> None:
        self._rate = rate
        self._began, self._sent = mono(), 0

    async def wait(self, count: int) -> None:
        """Wait until so many more may be sent."""
        if self._rate is not None:
            limit, period_ms = self._rate
            due_s = self._began + self._sent * period_ms / limit / 1000
            await asyncio.sleep(max(0.0, due_s - mono()))
        self._sent += count


def _batches(
    requests: Iterator[tuple[int, Request]], size: int
) -> Iterator[list[tuple[int, Request]]]:
    batch: list[tuple[int, Request]] = []
    for item in requests:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _cell(shape: Any, text: Any) -> Any:
    if str(shape.annotation).startswith("list"):
        value = _json_or(text, [text])
        return value if isinstance(value, list) else [text]
    if shape.metavar == "JSON":
        return _json_or(text, text)
    return shape.read(text)


def _json_or(text: str, otherwise: Any) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return otherwise


def _reject_line(row: Row, reasons: list[str]) -> str:
    import json

    entry = {"line": row.number, "errors": reasons, "data": row.text}
    return json.dumps(entry, ensure_ascii=False, default=str) + "\n"
