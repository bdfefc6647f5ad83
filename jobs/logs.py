"""Every log line about jobs, and how logs are written.

Arguments and results stay out of the lines: they may hold secrets (arq-E9). Each line carries
`job_id`, `function`, `queue`, `attempt` and `worker` as fields of its record.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, Protocol

from jobs.durations import format_ms
from jobs.errors import text_of, writable

logger = logging.getLogger("jobs.worker")

#: Fields of a record that belong to a job.
FIELDS = ("job_id", "function", "queue", "attempt", "worker")


class Subject(Protocol):
    """What a line says of its job."""

    @property
    def job_id(self) -> str:
        """The id of the job."""

    @property
    def function(self) -> str:
        """The name of its function."""

    @property
    def queue(self) -> str:
        """The queue that it came from."""

    @property
    def attempt(self) -> int:
        """Which run this is, from 1."""

    @property
    def worker(self) -> str:
        """The id of the worker."""


def started(subject: Subject, waited_ms: float) -> None:
    """An attempt begins."""
    if logger.isEnabledFor(logging.INFO):
        _log(logging.INFO, subject, "→ %s started after %s", _seconds(waited_ms))


def ended(subject: Subject, outcome: str, ran_ms: float, note: str = "") -> None:
    """An attempt ended other than by an error: completed, skipped, snoozed, interrupted."""
    if logger.isEnabledFor(logging.INFO):
        mark = "●" if outcome in ("completed", "skipped") else "↻"
        text = f" ({note})" if note else ""
        _log(logging.INFO, subject, f"← %s {outcome} {mark} after %s{text}", _seconds(ran_ms))


def retrying(subject: Subject, error: BaseException, delay_ms: int) -> None:
    """An attempt failed and another one follows."""
    if logger.isEnabledFor(logging.WARNING):
        kind = type(error).__name__
        _log(
            logging.WARNING,
            subject,
            "↻ %s failed, again in %s; %s: %s",
            format_ms(delay_ms),
            kind,
            _one_line(error),
        )


def failed(subject: Subject, error: BaseException) -> None:
    """A job failed for good and is a dead letter now."""
    _log(
        logging.ERROR,
        subject,
        "! %s failed for good, %s: %s",
        type(error).__name__,
        _one_line(error),
        exc_info=error,
    )


def parked(subject: Subject, reason: str) -> None:
    """Nobody here can run or read the job; it is kept."""
    _log(logging.WARNING, subject, "⊘ %s parked: %s", reason)


def stale(subject: Subject) -> None:
    """The end of an attempt was refused: its lease belongs to another worker now."""
    _log(logging.WARNING, subject, "! %s ended after its lease was lost; its result is void")


def _log(
    level: int, subject: Subject, message: str, *args: Any, exc_info: BaseException | None = None
) -> None:
    name = f"{subject.queue}:{subject.job_id}:{subject.function}"
    if subject.attempt > 1:
        name += f" attempt {subject.attempt}"
    extra = {field: getattr(subject, field) for field in FIELDS}
    logger.log(level, message, name, *args, extra=extra, exc_info=exc_info)


def _seconds(ms: float) -> str:
    return f"{ms / 1000:.2f} s"


def _one_line(error: BaseException, limit: int = 500) -> str:
    """The error's text without line ends, which could forge further records (FAULTS X24)."""
    text = " ".join(writable(text_of(error)).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


class _Formatter(logging.Formatter):
    """A formatter whose lines can always be written: lone surrogates are replaced."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text that UTF-8 can carry."""
        return writable(super().format(record))


class TextFormatter(_Formatter):
    """`12:30:01 INFO jobs.worker: …`, for people at a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")


class JsonFormatter(_Formatter):
    """One JSON document a line, with the fields of the job."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        entry: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {
            name: value for name in FIELDS if (value := getattr(record, name, None)) is not None
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return writable(json.dumps(entry, ensure_ascii=False, default=str))


def configure(level: int = logging.INFO, *, as_json: bool | None = None) -> None:
    """Write logs to standard error: text at a terminal, JSON elsewhere unless told.

    Args:
        level: the lowest level of this package's records that are written.
        as_json: `None` (default) decides by whether standard error is a terminal.
    """
    if as_json is None:
        as_json = not sys.stderr.isatty()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger("jobs").setLevel(level)


def borrow_arq_handlers() -> None:
    """Under arq's own command line, write this package's lines where arq's go.

    That command configures the logger `arq` alone, so these lines would be lost.
    """
    ours, theirs = logging.getLogger("jobs"), logging.getLogger("arq")
    if theirs.handlers and not ours.hasHandlers():
        ours.handlers[:] = theirs.handlers
        ours.setLevel(theirs.level)
