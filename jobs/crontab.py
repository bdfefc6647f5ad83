"""When a schedule is due next, by local time: crontab expressions and arq's `cron()` fields.

`next_after(instant)` is the first due instant after the one given, in UTC. It depends on nothing
else: asking again, or about the past, gives the same answer, and following the answers gives
strictly growing instants. Intervals in real time are in `jobs.durations`.

Changes of the clock (daylight saving time) follow Debian's cron. A schedule whose hour or minute
is a wildcard (`*`, `*/n`, or None) counts in real time: it is due whenever the local clock shows
a matching time, so `*/30 * * * *` runs every 30 real minutes through both changes, and a local
time that a change leaves out is not made up for. Any other schedule names fixed local times:
each is due once a day, the first time that the clock shows it, and if the clock leaves it out,
at the first instant after the gap (together with others, if the gap holds several).

cronsim reads the expressions and knows their days. The walk over the clock is this module's own:
cronsim 2.8 loses ticks where the clock moves by 30 minutes (Australia/Lord_Howe), and does not
keep fixed times apart in expressions with seconds.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from difflib import get_close_matches
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from jobs.durations import check_aware
from jobs.errors import InvalidOption, did_you_mean

FieldValue: TypeAlias = int | Collection[int] | None
WeekdayValue: TypeAlias = int | str | Collection[int | str] | None

ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_NAMES: Final = (
    *("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
    *("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"),
)
_WEEKDAYS: Final = {"mon": 0, "tue": 1, "wed": 2, "thu": 3, "fri": 4, "sat": 5, "sun": 6} | {
    "tues": 1,  # these two are arq's own spelling
    "thurs": 3,
}
_BOUNDS: Final = {
    "month": (1, 12),
    "day": (1, 31),
    "weekday": (0, 6),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
}
# name in cronsim's messages -> (what the field takes, its number of values)
_FIELDS: Final = {
    "second": ("0-59", 60),
    "minute": ("0-59", 60),
    "hour": ("0-23", 24),
    "day-of-month": ("1-31, L or LW", 31),
    "month": ("1-12 or JAN-DEC", 12),
    "day-of-week": ("0-7 or SUN-SAT, also MON#1 to MON#5 and 5L", 8),
}
_LONGEST: Final = 200
_FIXED_OFFSET: Final = re.compile(r"(?:UTC)?([+-])([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True, slots=True)
class CronSpec:
    """Due at local times. Made by `CronSpec.parse` and `fields_spec`, which explain the rules."""

    text: str
    zone: tzinfo
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: frozenset[int]
    on_day: Callable[[date], bool] = field(repr=False, compare=False)
    real_time: bool
    microsecond: int = 0

    def __post_init__(self) -> None:
        # 28 years without a skipped leap year hold every pair of a date and a weekday.
        first, last = date(2000, 1, 1).toordinal(), date(2028, 1, 1).toordinal()
        if not any(self._is_due_on(date.fromordinal(day)) for day in range(first, last)):
            raise InvalidOption(f"no day ever matches {self.text!r}; look at its days and months")

    @classmethod
    def parse(cls, expression: str, tz: str | tzinfo) -> CronSpec:
        """Read a crontab expression.

        Args:
            expression: 5 fields (minute hour day-of-month month day-of-week), or 6 with the
                seconds first, or an alias such as `@daily`. Day-of-week is 0-7 from Sunday to
                Sunday. A day matches if day-of-month or day-of-week does; both must if one of
                the two begins with `*` (Debian's cron). `L`, `LW`, `MON#2` and `5L` work as in
                cronsim.
            tz: the zone of the local times; see `resolve_zone`.

        Raises:
            InvalidOption: not an expression, a value out of its range, a step that is zero or
                longer than its field, or a date that never comes.
        """
        text, fields = _split(expression)
        try:
            known = CronSim(" ".join(fields), datetime(2000, 1, 1))  # noqa: DTZ001 -- only its days are asked
        except CronSimError as exc:
            raise InvalidOption(_complaint(text, fields, str(exc))) from exc
        _check_steps(text, fields)
        return cls(
            text=text,
            zone=resolve_zone(tz),
            seconds=tuple(sorted(known.seconds)),
            minutes=tuple(sorted(known.minutes)),
            hours=tuple(sorted(known.hours)),
            months=frozenset(known.months),
            on_day=known.match_day,
            real_time=fields[1].startswith("*") or fields[2].startswith("*"),
        )

    def next_after(self, instant: datetime) -> datetime:
        """The first due instant after `instant`, in UTC.

        Raises:
            InvalidOption: `instant` is naive, or nothing is due before the year 10000.
        """
        check_aware(instant, what="instant")
        shift = timedelta(microseconds=self.microsecond)
        try:
            after = (instant.astimezone(UTC) - shift).replace(microsecond=0)
            return shift + (self._next_real(after) if self.real_time else self._next_fixed(after))
        except OverflowError as exc:
            raise InvalidOption(
                f"{self.text!r} has no due instant after {instant.isoformat()} that a datetime "
                "can hold (years 1 to 9999)"
            ) from exc

    def _next_real(self, after: datetime) -> datetime:
        """First instant after `after` at which the local clock shows a matching time.

        Looks ahead a day at most, since within one there is at most one change of the clock:
        the search starts again at the change, or nearer to what was found.
        """
        start = after + _SECOND
        while True:
            wall = _wall(start, self.zone)
            due = start + (self._wall_from(wall) - wall)
            end = min(due, start + _DAY)
            if (change := _change(start, end, self.zone)) is not None:
                start = change
            elif end == due:
                return due
            else:
                start = max(end, due - _DAY)

    def _next_fixed(self, after: datetime) -> datetime:
        """First instant after `after` that stands for a matching local time, each used once."""
        wall = _wall(after, self.zone)
        while True:
            wall = self._wall_from(wall + _SECOND)
            due = _first_instant(wall, self.zone)
            if due > after:  # not so in the second pass of a repeated hour, whose times are used
                return due

    def _wall_from(self, wall: datetime) -> datetime:
        """First matching local time at or after `wall`; both naive."""
        first = time(self.hours[0], self.minutes[0], self.seconds[0])
        day = self._day_from(wall.date())
        at = self._time_from(wall.time()) if day == wall.date() else first
        if at is None:
            return datetime.combine(self._day_from(day + _DAY), first)
        return datetime.combine(day, at)

    def _day_from(self, day: date) -> date:
        while not self._is_due_on(day):
            in_month = day.month in self.months
            day = day + _DAY if in_month else (day.replace(day=28) + 4 * _DAY).replace(day=1)
        return day

    def _is_due_on(self, day: date) -> bool:
        return day.month in self.months and self.on_day(day)

    def _time_from(self, at: time) -> time | None:
        for hour in self.hours[bisect_left(self.hours, at.hour) :]:
            if hour > at.hour:
                return time(hour, self.minutes[0], self.seconds[0])
            for minute in self.minutes[bisect_left(self.minutes, at.minute) :]:
                if minute > at.minute:
                    return time(hour, minute, self.seconds[0])
                for second in self.seconds[bisect_left(self.seconds, at.second) :]:
                    return time(hour, minute, second)
        return None


def fields_spec(  # noqa: PLR0913 -- arq's keywords
    *,
    tz: str | tzinfo,
    month: FieldValue = None,
    day: FieldValue = None,
    weekday: WeekdayValue = None,
    hour: FieldValue = None,
    minute: FieldValue = None,
    second: FieldValue = 0,
    microsecond: int = 123_456,
) -> CronSpec:
    """The schedule of arq's `cron()` keywords. All of them must match, `day` and `weekday` too.

    Args:
        tz: the zone of the local times; see `resolve_zone`.
        month: 1-12. This and the others: a number, a set, list or tuple of numbers, or None for
            any, which is the default. Naming all numbers is the same as None.
        day: 1-31.
        weekday: 0-6 from Monday to Sunday, or mon, tue, tues, wed, thu, thurs, fri, sat, sun.
        hour: 0-23.
        minute: 0-59.
        second: 0-59. Default 0.
        microsecond: 0-999999, added to the second; arq's default 123456 keeps away from the
            busy top of a second.

    Raises:
        InvalidOption: a value out of its range, an empty set, or a date that never comes.
    """
    times = {"hour": hour, "minute": minute, "second": second}
    given = {"month": month, "day": day, "weekday": weekday} | times
    values = {name: _numbers(name, value) for name, value in given.items()}
    if microsecond not in range(1_000_000):
        raise InvalidOption(f"`microsecond` is a number from 0 to 999999, not {microsecond!r}")
    days, weekdays = frozenset(values["day"]), frozenset(values["weekday"])
    return CronSpec(
        text=" ".join(
            f"{name}={','.join(map(str, values[name]))}"
            for name, value in given.items()
            if value is not None
        ),
        zone=resolve_zone(tz),
        seconds=values["second"],
        minutes=values["minute"],
        hours=values["hour"],
        months=frozenset(values["month"]),
        on_day=lambda day: day.day in days and day.weekday() in weekdays,
        real_time=len(values["hour"]) == 24 or len(values["minute"]) == 60,  # noqa: PLR2004 -- all hours, all minutes
        microsecond=microsecond,
    )


def resolve_zone(value: str | tzinfo) -> tzinfo:
    """The time zone of a name or of a tzinfo object.

    Args:
        value: an IANA name ("Europe/Berlin"), "UTC", a fixed offset ("+02:00", "UTC-03:30"), or
            a tzinfo. A zone of pytz becomes the `ZoneInfo` of its name, since pytz zones give
            wrong times with `datetime.replace`.

    Raises:
        InvalidOption: an unknown name (with the nearest known one), or neither text nor tzinfo.
    """
    name = value if isinstance(value, str) else getattr(value, "zone", None)
    if isinstance(name, str):
        return _named_zone(name)
    if not isinstance(value, tzinfo) or datetime(2000, 1, 1, tzinfo=value).utcoffset() is None:
        raise InvalidOption(f"a time zone is an IANA name or a tzinfo with offsets, not {value!r}")
    return value


def _named_zone(name: str) -> tzinfo:
    if name.upper() in {"UTC", "Z"}:
        return UTC
    if fixed := _FIXED_OFFSET.fullmatch(name.upper()):
        offset = timedelta(hours=int(fixed[2]), minutes=int(fixed[3]))
        return timezone(-offset if fixed[1] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as exc:
        raise InvalidOption(
            f"no time zone is called {name[:60]!r}{_nearest_zone(name)}; "
            'a name is one of the IANA database, such as "Europe/Berlin", or "UTC"'
        ) from exc


def _nearest_zone(name: str) -> str:
    """A hint from the full names and from their last parts, so that "Berlin" finds its zone."""
    names = sorted(available_timezones())
    known = {zone.rpartition("/")[2].casefold(): zone for zone in names}
    known |= {zone.casefold(): zone for zone in names}
    close = get_close_matches(name[:60].strip().replace(" ", "_").casefold(), known, n=1)
    return f" (did you mean {known[close[0]]!r}?)" if close else ""


def _wall(instant: datetime, zone: tzinfo) -> datetime:
    """What the clock on the wall shows: naive local time."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _change(low: datetime, high: datetime, zone: tzinfo) -> datetime | None:
    """First second after `low`, up to `high`, with another UTC offset than `low`, if there is."""
    offset = _wall(low, zone) - low.replace(tzinfo=None)
    if _wall(high, zone) - high.replace(tzinfo=None) == offset:
        return None
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if _wall(middle, zone) - middle.replace(tzinfo=None) == offset:
            low = middle
        else:
            high = middle
    return high


def _first_instant(wall: datetime, zone: tzinfo) -> datetime:
    """When the clock shows `wall` for the first time; the end of the gap, if it never does."""
    instant = wall.replace(tzinfo=zone).astimezone(UTC)
    if _wall(instant, zone) == wall:
        return instant
    return _change(instant - _DAY, instant + _DAY, zone) or instant


def _split(expression: str) -> tuple[str, list[str]]:
    """The expression with single spaces, and its six fields in capitals."""
    given: Any = expression
    if not isinstance(given, str) or len(given) > _LONGEST:
        raise InvalidOption(
            f"a cron expression is text of at most {_LONGEST} characters, not {given!r:.80}"
        )
    text = " ".join(expression.split())
    if text.startswith("@") and text.lower() not in ALIASES:
        near = did_you_mean(text.lower(), ALIASES)
        raise InvalidOption(f"{text!r}{near} is not among the aliases {', '.join(ALIASES)}")
    fields = ALIASES.get(text.lower(), text).upper().split()
    if len(fields) not in {5, 6}:
        raise InvalidOption(
            "a cron expression has 5 fields (minute hour day-of-month month day-of-week) or 6, "
            f"with the seconds first; {expression!r} has {len(fields)}"
        )
    return text, ["0", *fields][-6:]


def _complaint(text: str, fields: list[str], problem: str) -> str:
    """A sentence for cronsim's "Bad minute"."""
    name = problem.removeprefix("Bad ")
    given = dict(zip(_FIELDS, fields, strict=True)).get(name, "")
    if name == "day-of-month" and re.fullmatch(r"3[01]([,-]3[01])*", given):
        return f"no day ever matches {text!r}: its months are too short"
    takes, _ = _FIELDS.get(name, ("other values", 0))
    words = [word for word in re.findall(r"[A-Z]{3,}", given) if word not in _NAMES]
    return (
        f"the {name} of {text!r} cannot be {given!r}{_near(words, _NAMES)}: it takes {takes}, "
        "* for any, lists (1,3), ranges from low to high (1-5) and steps (*/2)"
    )


def _check_steps(text: str, fields: list[str]) -> None:
    """Refuse steps that never step: `*/90` minutes would be each hour, which nobody means."""
    for (name, (_, size)), given in zip(_FIELDS.items(), fields, strict=True):
        if any(int(step) > size for step in re.findall(r"/([0-9]+)", given)):
            raise InvalidOption(
                f"the {name} of {text!r} has the step {given!r}, but only {size} values; "
                "use an interval instead"
            )


def _numbers(name: str, value: Any) -> tuple[int, ...]:
    """The sorted values of one of arq's fields."""
    low, high = _BOUNDS[name]
    names = _WEEKDAYS if name == "weekday" else {}
    if value is None:
        return tuple(range(low, high + 1))
    listed = [value] if isinstance(value, str) or not isinstance(value, Collection) else [*value]
    found: list[Any] = [names.get(v.lower(), v) if isinstance(v, str) else v for v in listed]
    numbers = [v for v in found if isinstance(v, int) and not isinstance(v, bool)]
    if not found or len(numbers) < len(found) or min(numbers) < low or max(numbers) > high:
        words = [v.lower() for v in found if isinstance(v, str)]
        raise InvalidOption(
            f"`{name}` is a number from {low} to {high}{' or a name' if names else ''}, a set, "
            f"list or tuple of them, or None for any, not {value!r:.80}{_near(words, names)}"
        )
    return tuple(sorted(set(numbers)))


def _near(words: list[str], names: Iterable[str]) -> str:
    """A hint for the first word; long names are found by their first three letters."""
    for word in words:
        return did_you_mean(word, names) or did_you_mean(word[:3], names)
    return ""
