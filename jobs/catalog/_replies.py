"""What came back from somebody else's HTTP server, and how long it asks us to wait.

Pure: `_http.py` makes the replies, push and webhook jobs judge them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from jobs import Context, Retry, errors


class NoReply(errors.JobsError):
    """No answer came: the name did not resolve, the connection failed, or time ran out."""


class BusyReply(errors.JobsError):
    """The other side cannot take the request now; `retry_after_s` is the wait it asked for."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: `headers` have lower-case names, `body` is raw and may be cut (`truncated`)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False

    @property
    def ok(self) -> bool:
        """Whether the status is one of success, 200 to 299."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    def text(self, limit: int = 2000) -> str:
        """The first `limit` characters of the body; bytes that are not UTF-8 are replaced."""
        return self.body[: 4 * limit].decode("utf-8", "replace")[:limit]

    def line(self, limit: int = 200) -> str:
        """The beginning of the body as one printable line, fit for an error and a log."""
        shown = "".join(sign if sign.isprintable() else " " for sign in self.text(limit))
        return " ".join(shown.split())

    def retry_after_s(self, cap_s: float, now: float | None = None) -> float | None:
        """The wait that the `Retry-After` header asks for, from 0 to `cap_s` seconds.

        Args:
            cap_s: the longest wait that is granted.
            now: Unix time for a header with a date; by default the current time.

        Returns:
            `None` when there is no such header or it cannot be read (RFC 9110, 10.2.3: whole
            seconds or an HTTP date).
        """
        text = self.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            # Cut first: int() of thousands of digits raises, and every cap is far below this.
            return min(cap_s, float(text[:16]))
        at = _unix_time(text)
        if at is None:
            return None
        return min(cap_s, max(0.0, at - (time.time() if now is None else now)))


def backoff_s(base_s: float, attempt: int, max_s: float) -> float:
    """The wait after failed attempt number `attempt` (from 1): base, 2·base, 4·base … max."""
    return min(max_s, base_s * 2.0 ** min(attempt - 1, 60))


def wait_as_asked(error: BusyReply, ctx: Context, base_s: float, max_s: float) -> Exception:
    """The exception to raise instead of `error`, so that the wait asked for is kept.

    `Retry(defer=)` replaces the job's own backoff, so the larger of the two is passed. The last
    attempt, and an answer without `Retry-After`, end with `error` itself, which says more.
    """
    if error.retry_after_s is None or ctx.is_last_attempt:
        return error
    return Retry(defer=max(error.retry_after_s, backoff_s(base_s, ctx.attempt, max_s)))


def _unix_time(http_date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(http_date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
