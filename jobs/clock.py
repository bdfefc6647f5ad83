"""The one place where time is read in Python.

Two clocks, named for their use: `now_ms` to show and to persist what people read, `mono` to
compare. What decides about jobs (due, leases, expiry, schedules) is the server's clock, read in
the scripts.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jobs.durations import MAX_MS

mono = time.monotonic


def now_ms() -> int:
    """Wall-clock time, in ms since 1970."""
    return time.time_ns() // 1_000_000


@lru_cache(maxsize=1024)
def from_ms(ms: float) -> datetime:
    """The aware UTC datetime of ms since 1970; what lies beyond the year 9999 is its end.

    Remembered: jobs that were enqueued together, and events that were told together, have one time.
    """
    return datetime.fromtimestamp(min(ms, MAX_MS) / 1000, UTC)


def system_zone() -> tzinfo:
    """The IANA zone of this machine, so that schedules follow its clock changes.

    From `TZ`, else the link /etc/localtime, else the file /etc/timezone, else UTC. arq took the
    UTC offset at the time of its start, which is wrong after the next clock change (arq-D3).
    """
    for name in (os.environ.get("TZ", "").lstrip(":"), _linked_zone(), _written_zone()):
        if name:
            try:
                return ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                continue
    return UTC


def _linked_zone() -> str:
    try:
        target = Path("/etc/localtime").readlink()
    except OSError:
        return ""
    return str(target).partition("zoneinfo/")[2]


def _written_zone() -> str:
    try:
        return Path("/etc/timezone").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
