"""Times on the command line: `--in 5m`, `--at 2026-12-01T09:00[Europe/Berlin]`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from jobs import clock
from jobs.cli.codes import Problem
from jobs.durations import format_ms

SECOND_MS = 1000
_AT = re.compile(r"(?P<time>[^\[\]]+)(?:\[(?P<zone>[^\[\]]+)\])?")


def read_at(text: str, option: str = "--at") -> datetime:
    """The aware instant of ISO text with an offset or a zone; without one, this machine's zone.

    Raises:
        Problem: the text is no time, or the zone does not exist.
    """
    match = _AT.fullmatch(text.strip())
    try:
        at = datetime.fromisoformat(match["time"] if match else text)
    except ValueError:
        raise Problem(
            f"{option}: expected a time such as 2026-12-01T09:00[Europe/Berlin], not {text!r}"
        ) from None
    zone = match["zone"] if match else None
    if zone and at.tzinfo:
        raise Problem(f"{option}: {text!r} has both an offset and a zone; give one of them")
    try:
        return at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone) if zone else local_zone())
    except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError in name only
        raise Problem(f"{option}: there is no time zone {zone!r}") from None
    except KeyError:
        raise Problem(f"{option}: there is no time zone {zone!r}") from None


def local_zone() -> ZoneInfo:
    """The zone of this machine."""
    zone = clock.system_zone()
    return zone if isinstance(zone, ZoneInfo) else ZoneInfo("UTC")


def ago(at: datetime | None) -> str:
    """How long ago, for people: `5 m 3 s`."""
    return "-" if at is None else span((datetime.now(UTC) - at).total_seconds() * 1000)


def until(at: datetime | None) -> str:
    """How long from now, for people."""
    return "-" if at is None else span((at - datetime.now(UTC)).total_seconds() * 1000)


def span(ms: float | None) -> str:
    """A length of time for people, in its largest unit: `12 ms`, `3.2 s`, `5 m`; `-` for none."""
    if ms is None:
        return "-"
    if ms < SECOND_MS:
        return f"{max(0, round(ms))} ms"
    if ms < 10 * SECOND_MS:
        return f"{ms / SECOND_MS:.1f} s"
    return format_ms(round(ms), parts=1)
