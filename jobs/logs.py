"""Every log line about jobs, and how logs are written.

Arguments and results stay out of the lines: they may hold secrets (arq-E9). Each line carries
`job_id`, `function`, `queue`, `attempt` and `worker` as fields of its record, and so does whatever
a function logs while it runs as a job.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from jobs.durations import format_ms
from jobs.errors import text_of, writable

logger = logging.getLogger("jobs.worker")

#: Fields of a record that belong to a job.
FIELDS = ("job_id", "function", "queue", "attempt", "worker")

BLOCKS = (
    "! %s blocks the event loop (%.1f s so far) at %s: nothing else of this worker goes on "
    "meanwhile; use a plain `def`, which runs in a thread, or await"
)


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


#: The attempt that runs in this context; set once for each, read when something is logged.
current: ContextVar[Subject | None] = ContextVar("jobs_current", default=None)


def job_fields() -> dict[str, Any]:
    """The fields of the job that runs here, for loggers of any kind; empty outside of jobs."""
    subject = current.get()
    return {} if subject is None else {name: getattr(subject, name) for name in FIELDS}


class JobFilter(logging.Filter):
    """Gives every record that is logged inside a job the job's fields; refuses none.

    Put it on a handler: `configure` does, and so can `logging.config.dictConfig`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what the record does not say itself."""
        subject = current.get()
        if subject is not None:
            said = vars(record)
            for name in FIELDS:
                if name not in said:
                    said[name] = getattr(subject, name)
        return True


def started(subject: Subject, waited_ms: float) -> None:
    """An attempt begins."""
    if logger.isEnabledFor(logging.INFO):
        facts = {"event": "started", "waited_ms": int(waited_ms)}
        _log(logging.INFO, subject, "→ %s started after %s", _seconds(waited_ms), facts=facts)


def ended(subject: Subject, outcome: str, ran_ms: float, note: str = "") -> None:
    """An attempt ended other than by an error: completed, skipped, snoozed, interrupted."""
    if logger.isEnabledFor(logging.INFO):
        mark = "●" if outcome in ("completed", "skipped") else "↻"
        text = f" ({note})" if note else ""
        line = f"← %s {outcome} {mark} after %s{text}"
        facts = {"event": outcome, "ran_ms": int(ran_ms)}
        _log(logging.INFO, subject, line, _seconds(ran_ms), facts=facts)


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
            facts={"event": "retried", "error": kind, "attempts_made": subject.attempt},
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
        facts={
            "event": "failed",
            "error": type(error).__name__,
            "attempts_made": subject.attempt,
        },
    )


def parked(subject: Subject, reason: str) -> None:
    """Nobody here can run or read the job; it is kept."""
    _log(logging.WARNING, subject, "⊘ %s parked: %s", reason, facts={"event": "parked"})


def stale(subject: Subject) -> None:
    """The end of an attempt was refused: its lease belongs to another worker now."""
    line = "! %s ended after its lease was lost; its result is void"
    _log(logging.WARNING, subject, line, facts={"event": "lost"})


def blocks(subject: Subject | None, where: str, waited_s: float) -> None:
    """The event loop has not run for a while; `subject` is the job whose code is on its stack."""
    facts = {"event": "blocks", "where": where, "waited_s": round(waited_s, 1)}
    if subject is not None:
        _log(logging.WARNING, subject, BLOCKS, waited_s, where, facts=facts)
    else:
        logger.warning(BLOCKS, "code outside of jobs", waited_s, where, extra=facts)


def _log(
    level: int,
    subject: Subject,
    message: str,
    *args: Any,
    facts: Mapping[str, Any],
    exc_info: BaseException | None = None,
) -> None:
    name = f"{subject.queue}:{subject.job_id}:{subject.function}"
    if subject.attempt > 1:
        name += f" attempt {subject.attempt}"
    extra = {field: getattr(subject, field) for field in FIELDS} | dict(facts)
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


#: What every record has; the rest are fields that somebody gave it.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(_Formatter):
    """One JSON document a line, with the fields of the job and those given as `extra`.

    Args:
        names: other names for fields, such as `{"job_id": "jobId", "function": "jobName"}`.
    """

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._names = names or {}

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        entry: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in _USUAL and value is not None:
                entry.setdefault(self._names.get(name, name), value)
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
    handler.addFilter(JobFilter())
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
