"""What a running job tells of itself: its progress, and the lines of its log."""

from __future__ import annotations

import json
import logging
import threading
import traceback
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from pydantic_core import PydanticSerializationError, from_json, to_json

from jobs import clock
from jobs.errors import InvalidOption, did_you_mean, writable

if TYPE_CHECKING:
    from jobs.context import Context
    from jobs.store.notes import StoredLog

#: A progress value has at most so many bytes of JSON.
MAX_PROGRESS_BYTES = 64 * 1024
#: Text of one log line beyond this is cut off.
MAX_LINE_CHARS = 4000
#: What a log line can be called, in the words of `logging`.
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class NoteTaker(Protocol):
    """Where the notes of an attempt go; may be called from any thread."""

    def progress(self, ctx: Context, value: bytes) -> None:
        """Take the newest progress, as JSON."""

    def line(self, ctx: Context, line: bytes) -> None:
        """Take one line of the log, as JSON without a line end."""


class Noted:
    """What `ctx.progress(…)` and `ctx.log(…)` return: awaiting it is optional.

    The note is taken at the call itself, so that a plain `def` can make one too.
    """

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


NOTED = Noted()


def progress_json(value: Any) -> bytes:
    """`value` as the JSON of a progress.

    Raises:
        InvalidOption: it cannot be written as JSON, or is too large.
    """
    try:
        data = to_json(value, inf_nan_mode="null")
    except PydanticSerializationError as error:
        raise InvalidOption(
            f"a progress is a number, a model, or other JSON data, not {type(value).__name__}: "
            f"{error}"
        ) from None
    if len(data) > MAX_PROGRESS_BYTES:
        raise InvalidOption(
            f"a progress has at most {MAX_PROGRESS_BYTES:,} bytes, this one has {len(data):,}; "
            "store large data elsewhere and tell where it is"
        )
    return data


def line_json(
    ctx: Context, text: str, level: str = "INFO", logger: str = "", *, at_ms: int = 0
) -> bytes:
    """One line of a log."""
    text = writable(text)
    if len(text) > MAX_LINE_CHARS:
        text = text[: MAX_LINE_CHARS - 1] + "…"
    entry = {"at": at_ms or clock.now_ms(), "attempt": ctx.attempt, "level": level, "text": text}
    return json.dumps(entry | ({"logger": logger} if logger else {}), ensure_ascii=False).encode()


def check_level(level: object) -> str:
    """The level of a log line, in capitals.

    Raises:
        InvalidOption: there is no such level.
    """
    name = level.upper() if isinstance(level, str) else level
    if name not in LEVELS:
        hint = did_you_mean(str(name), LEVELS)
        raise InvalidOption(f"the level of a log line is {', '.join(LEVELS)}, not {level!r}{hint}")
    return str(name)


# -- capture of `logging` ------------------------------------------------------------------

#: Which records are captured: all of them, none, or those from a level on.
Capture = bool | int | str
_NEVER = 1 << 30


def capture_level(capture: Capture | None, what: str = "capture_logs") -> int | None:
    """The lowest level that is captured; `None` if that is not said.

    Raises:
        InvalidOption: it is no level.
    """
    if capture is None:
        return None
    if capture is False:
        return _NEVER
    if capture is True:
        return logging.NOTSET
    if isinstance(capture, int):
        return capture
    try:
        return int(getattr(logging, check_level(capture)))
    except InvalidOption as error:
        raise InvalidOption(f"`{what}` is True, False or a level: {error}") from None


#: The attempt whose records are captured in this task or thread, and from which level on.
_captured: ContextVar[tuple[Context, int] | None] = ContextVar("jobs_captured", default=None)


@contextmanager
def captured(ctx: Context, level: int) -> Iterator[None]:
    """Within the block, records of `logging` are lines of the job's log too."""
    token = _captured.set((ctx, level))
    try:
        yield
    finally:
        _captured.reset(token)


def capture_here() -> tuple[Context, int] | None:
    """What is captured in this task, for records that come from another process."""
    return _captured.get()


class CaptureHandler(logging.Handler):
    """Hands the records that a job logs to the job's own log; others pass by."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record, if it comes from a job that is captured."""
        found = _captured.get()
        if found is None or record.levelno < found[1]:
            return
        ctx = found[0]
        try:
            if ctx.notes is not None:
                at_ms = int(record.created * 1000)
                line = line_json(ctx, _text(record), record.levelname, record.name, at_ms=at_ms)
                ctx.notes.line(ctx, line)
        except Exception:  # noqa: BLE001 -- logging's own rule: an error of a handler is shown
            self.handleError(record)


class Capturing:
    """Has a worker's records of `logging` captured while it runs, if any of its jobs wants that.

    Args:
        level: the worker's own level; `None` for none.
        levels: those of its functions.
    """

    #: The one handler of this process, and how many workers want it.
    handler = CaptureHandler()
    workers = 0
    lock = threading.Lock()

    def __init__(self, level: int | None, levels: Iterable[int | None]) -> None:
        self._wanted = any(one is not None for one in (level, *levels))
        self._begun = False

    def begin(self) -> None:
        """The worker starts."""
        if self._wanted and not self._begun:
            self._begun = True
            with self.lock:
                Capturing.workers += 1
                logging.getLogger().addHandler(self.handler)

    def end(self) -> None:
        """The worker has stopped."""
        if self._begun:
            self._begun = False
            with self.lock:
                Capturing.workers -= 1
                if Capturing.workers == 0:
                    logging.getLogger().removeHandler(self.handler)


def _text(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info and record.exc_info[1] is not None:
        text += "\n" + "".join(traceback.format_exception(record.exc_info[1], limit=-10)).rstrip()
    return text


# -- reading -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a job's log.

    `attempt` is the one that wrote it, `logger` the name of the logger of a captured record.
    """

    at: datetime
    attempt: int
    level: str
    text: str
    logger: str = ""


@dataclass(frozen=True, slots=True)
class JobLog:
    """The log of a job: its newest lines, oldest first, and how many older ones were dropped."""

    lines: list[LogLine]
    dropped: int = 0

    def __iter__(self) -> Iterator[LogLine]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)


def read_log(stored: StoredLog, attempt: int | None = None) -> JobLog:
    """The log as it is stored, all of it or that of one attempt."""
    lines = [_line(data) for data in stored.lines]
    chosen = [line for line in lines if attempt is None or line.attempt == attempt]
    return JobLog(chosen, stored.dropped)


def _line(data: bytes) -> LogLine:
    try:
        entry = from_json(data)
        return LogLine(
            at=clock.from_ms(entry["at"]),
            attempt=entry["attempt"],
            level=entry["level"],
            text=entry["text"],
            logger=entry.get("logger", ""),
        )
    except (ValueError, KeyError, TypeError):  # damaged: shown as it is
        return LogLine(clock.from_ms(0), 0, "INFO", data.decode(errors="replace"))
