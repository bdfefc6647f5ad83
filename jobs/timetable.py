"""When the runs of a schedule are due, and which of those that were missed are made up for.

Instants are whole milliseconds since 1970. Everything here is pure: the same timing and the same
times give the same plan in every process, so that many schedulers agree without speaking.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args
from zlib import crc32

from jobs.crontab import CronSpec, resolve_zone
from jobs.durations import (
    EPOCH,
    MAX_MS,
    MILLISECOND,
    Duration,
    Interval,
    format_ms,
    to_ms,
    until_ms,
)
from jobs.errors import InvalidOption, did_you_mean

#: What becomes of instants at which no scheduler lived: nothing, one run for all, or all runs.
Misfire = Literal["skip", "once", "all"]
#: What becomes of an instant whose predecessor's job has not ended: nothing, it waits, or it runs.
Overlap = Literal["skip", "queue", "allow"]

#: An instant that is seen later than this was missed; less if instants follow each other faster.
GRACE_MS = 5000
#: Runs that one plan makes at most.
MOST_RUNS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Which instants a schedule has. Made by `Timing.of`, which checks and explains.

    Args:
        cron: a crontab expression, or `None`.
        every: ms from one instant to the next, or `None`.
        tz: the name of the zone of `cron`.
        start, end: ms of the first and last moment at which it can be due; `None` for no bound.
        offset: ms by which every instant is moved.
        limit: runs in all; `None` for no limit.
    """

    cron: str | None = None
    every: int | None = None
    tz: str = "UTC"
    start: int | None = None
    end: int | None = None
    offset: int = 0
    limit: int | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Timing:
        """The timing among the options of a schedule.

        Args:
            given: `cron` or `pattern` (the same) or `every`, and `tz`, `start`, `end`, `offset`,
                `limit`.

        Raises:
            InvalidOption: none or several of `cron`, `pattern` and `every`, a zone for an
                interval, an end before the start, a limit of zero, or what cannot be read.
        """
        rules = [name for name in ("cron", "pattern", "every") if given.get(name) is not None]
        if len(rules) != 1:
            raise InvalidOption(
                "a schedule has one of `cron` (or `pattern`, the same) and `every`, not "
                f"{' and '.join(f'`{name}`' for name in rules) or 'none of them'}"
            )
        every = given.get("every")
        if every is not None and given.get("tz") is not None:
            raise InvalidOption("`tz` is the zone of `cron`; `every` counts in real time")
        timing = cls(
            cron=given.get("cron") or given.get("pattern"),
            every=None if every is None else _positive_ms("every", every),
            tz=zone_name(given["tz"]) if given.get("tz") is not None else "UTC",
            start=None if given.get("start") is None else until_ms(given["start"], what="start"),
            end=None if given.get("end") is None else until_ms(given["end"], what="end"),
            offset=to_ms(given.get("offset") or 0, what="offset"),
            limit=_limit(given.get("limit")),
        )
        if timing.next_after(timing.start - 1 if timing.start is not None else -1) is None:
            raise InvalidOption(f"{timing.text} is never due: its end lies before its first run")
        return timing

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Timing:
        """What `to_wire` wrote; unknown names are left out."""
        return cls(**{f.name: wire[f.name] for f in fields(cls) if f.name in wire})

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def text(self) -> str:
        """The rule, for people: "0 9 * * 1 in Europe/Berlin", "every 5 m"."""
        if self.every is not None:
            return f"every {format_ms(self.every)}"
        return f"{self.cron} in {self.tz}"

    def next_after(self, ms: int) -> int | None:
        """The first instant after `ms`; `None` if there is none."""
        after = max(ms, self.start - 1) if self.start is not None else ms
        spec = _spec(self.cron, self.every, self.tz, self.start or 0)
        try:
            at = EPOCH + timedelta(milliseconds=after - self.offset)
            due = (spec.next_after(at) - EPOCH) // MILLISECOND + self.offset
        except (InvalidOption, OverflowError):  # beyond the year 9999
            return None
        return due if due <= (MAX_MS if self.end is None else self.end) else None

    def between(self, after: int, until: int) -> Iterator[int]:
        """The instants after `after`, up to and with `until`, in order."""
        due = self.next_after(after)
        while due is not None and due <= until:
            yield due
            due = self.next_after(due)

    def last_until(self, after: int, until: int) -> int | None:
        """The last instant after `after`, up to and with `until`, however many there are."""
        found = self.next_after(after)
        if found is None or found > until:
            return None
        while (following := self.next_after(found)) is not None and following <= until:
            middle = max((found + until) // 2, following - 1)
            later = self.next_after(middle)
            if later is not None and later <= until:
                found = later
            else:
                found, until = following, middle
        return found


class Plan(NamedTuple):
    """What a scheduler does now: make the runs of `instants`; all up to `upto` is decided."""

    instants: tuple[int, ...]
    upto: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a schedule does where it is not simply "on time". Made by `Policy.of`.

    Args:
        misfire: what becomes of instants at which no scheduler lived.
        window: ms; instants missed longer ago than this are not made up for; `None`: all are.
        overlap: what becomes of an instant whose predecessor's job has not ended.
        jitter: ms by which a run is due later at most, by chance, the same in every process.
    """

    misfire: Misfire = "once"
    window: int | None = None
    overlap: Overlap = "allow"
    jitter: int = 0

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Policy:
        """The policy among the options of a schedule: `misfire`, `window`, `overlap`, `jitter`.

        Raises:
            InvalidOption: an unknown policy, a window for `misfire="skip"`, or no duration.
        """
        misfire = _one_of("misfire", given.get("misfire", "once"), get_args(Misfire))
        window = given.get("window")
        if window is not None and misfire == "skip":
            raise InvalidOption(
                '`window` limits what is made up for, and `misfire="skip"` makes up for nothing'
            )
        return cls(
            misfire=misfire,
            window=None if window is None else _positive_ms("window", window),
            overlap=_one_of("overlap", given.get("overlap", "allow"), get_args(Overlap)),
            jitter=to_ms(given.get("jitter") or 0, what="jitter"),
        )

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Policy:
        """What `to_wire` wrote; unknown names are left out."""
        return cls(**{f.name: wire[f.name] for f in fields(cls) if f.name in wire})

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def plan(self, timing: Timing, after: int, now: int) -> Plan | None:
        """What is to be done at `now` if everything up to `after` is decided; `None`: nothing."""
        last = timing.last_until(after, now)
        if last is None:
            return None
        on_time = now - last <= _grace_ms(timing, last)
        oldest = after if self.window is None else max(after, now - self.window)
        if self.misfire == "all":
            return _all_of(timing, min(oldest, last - 1) if on_time else oldest, now, last)
        fires = on_time or (self.misfire == "once" and last > oldest)
        return Plan((last,) if fires else (), last)

    def due_ms(self, name: str, instant: int) -> int:
        """When the run of an instant is due: jitter may put it off."""
        return instant + (crc32(f"{name}:{instant}".encode()) * self.jitter >> 32)


def job_id(name: str, instant: int) -> str:
    """The id of the job of one instant, so that there is one at most."""
    return f"{name}:{instant}"


def zone_name(zone: object) -> str:
    """The name under which a zone is kept: an IANA name, "UTC", or an offset such as "UTC+02:00".

    Raises:
        InvalidOption: it has no name that leads back to it, or is no zone.
    """
    if not isinstance(zone, str | tzinfo):
        raise InvalidOption(f"`tz` is an IANA name or a tzinfo with a name, not {zone!r}")
    found = resolve_zone(zone)
    name = str(found)
    resolve_zone(name)
    return name


def as_moment(value: object, what: str) -> datetime | None:
    """A bound that may be an aware datetime, ISO text, or ms since 1970, as BullMQ writes them.

    Raises:
        InvalidOption: it is none of these.
    """
    if value is None or isinstance(value, datetime):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_MS:
        return EPOCH + timedelta(milliseconds=value)
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else _no_moment(value, what)
    except ValueError:
        return _no_moment(value, what)


def _no_moment(value: object, what: str) -> datetime:
    raise InvalidOption(
        f"`{what}` is an aware datetime, ISO text with an offset, or ms since 1970, "
        f"not {value!r:.60}"
    )


def _all_of(timing: Timing, after: int, now: int, last: int) -> Plan:
    instants: list[int] = []
    for instant in timing.between(after, now):
        instants.append(instant)
        if len(instants) == MOST_RUNS:
            return Plan(tuple(instants), instant)
    return Plan(tuple(instants), last)


def _grace_ms(timing: Timing, instant: int) -> int:
    following = timing.next_after(instant)
    return GRACE_MS if following is None else min(GRACE_MS, (following - instant) // 2)


@lru_cache(maxsize=4096)
def _spec(cron: str | None, every: int | None, tz: str, start: int) -> CronSpec | Interval:
    """The calculator; an interval counts from the start, else from 1970."""
    if every is not None:
        return Interval(every, EPOCH + timedelta(milliseconds=start))
    return CronSpec.parse(cron or "", tz)


def _positive_ms(name: str, value: Duration) -> int:
    ms = to_ms(value, what=name)
    if ms < 1:
        raise InvalidOption(f"`{name}` is a duration longer than zero, not {value!r}")
    return ms


def _limit(value: object) -> int | None:
    if value is not None and (type(value) is not int or not 1 <= value <= 10**12):
        raise InvalidOption(f"`limit` is a whole number of 1 or more, not {value!r}")
    return value


def _one_of(name: str, value: object, known: tuple[Any, ...]) -> Any:
    if value not in known:
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        raise InvalidOption(
            f"`{name}` is {', '.join(map(repr, known[:-1]))} or {known[-1]!r}, not {value!r}{hint}"
        )
    return value
