"""Durations, rates, intervals and instants as people write them, turned into whole milliseconds.

A duration is a number of seconds, a `timedelta`, or text such as "5m", "1h30m", "250ms", "2d",
"1.5h" or "24 hours". Everything inside the package counts in milliseconds, as arq does. An
interval is a duration that repeats; schedules by local time are in `jobs.crontab`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from math import isfinite
from typing import Any, Final, TypeAlias

from jobs.errors import InvalidOption, did_you_mean

Duration: TypeAlias = int | float | timedelta | str

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)
# The last millisecond of year 9999, counted from 1970: what `datetime` can show, as an instant,
# and so the longest duration too. Doubles, which are the scores of Redis, hold it exactly.
MAX_MS: Final = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MILLISECOND

_UNIT_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_SPELLINGS: Final = {
    "w": ("w", "week", "weeks"),
    "d": ("d", "day", "days"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "msecs", "millisecond", "milliseconds"),
}
_UNITS: Final = {
    spelling: (unit, _UNIT_MS.get(unit, 7 * _UNIT_MS["d"]))
    for unit, spellings in _SPELLINGS.items()
    for spelling in spellings
}
_WORDS: Final = [spelling for spelling in _UNITS if len(spelling) > 1]
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_PART: Final = re.compile(rf"\s*({_NUMBER.pattern})\s*([^\W\d_]+)\s*")
_EXPECTED: Final = 'seconds as a number, a timedelta, or text such as "5m", "1h30m" or "250ms"'
_RATE: Final = re.compile(r"\s*([0-9]{1,15})\s*/\s*(\S.*?)\s*")
_EXPECTED_RATE: Final = (
    'text such as "30/s", "100/min" or "10/30s", with a whole number of 1 or more'
)
_LONGEST_TEXT: Final = 64


def to_ms(value: Duration, *, what: str = "delay", allow_negative: bool = False) -> int:
    """Whole milliseconds of a duration.

    Args:
        value: seconds as a number, a `timedelta`, or text: numbers with units from milliseconds
            to weeks, each unit once ("1h 30m"), or a number alone, which is seconds ("90").
        what: the name of the option, for the error's sentence.
        allow_negative: let a negative duration through; by default it is refused.

    Returns:
        The nearest millisecond, halves away from zero. A duration that is not zero never becomes
        0, since 0 often means "none": it is at least 1 (or -1).

    Raises:
        InvalidOption: not a duration (also: a bool, NaN, infinite, empty, an unknown unit),
            negative, or longer than `MAX_MS` (about 8,000 years).
    """
    exact = _exact_ms(value, what)
    ms = int(exact.to_integral_value(ROUND_HALF_UP)) or _sign(exact)
    if ms < 0 and not allow_negative:
        raise InvalidOption(f"`{what}` is a duration of zero or more, not {value!r}")
    return ms


def to_seconds(value: Duration, *, what: str = "delay", allow_negative: bool = False) -> float:
    """Seconds of a duration, to the millisecond; arguments and errors are those of `to_ms`."""
    return to_ms(value, what=what, allow_negative=allow_negative) / 1000


def until_ms(run_at: datetime, *, what: str = "run_at", naive_zone: tzinfo | None = None) -> int:
    """Milliseconds since 1970 of an instant, rounded down as arq does.

    Args:
        run_at: when; aware, unless `naive_zone` is given.
        what: the name of the option, for the error's sentence.
        naive_zone: the zone of a naive datetime. `None`, the default, refuses one; arq's
            `_defer_until` takes it as local time, so its door passes the local zone.

    Returns:
        0 for any instant before 1970, which is due at once.

    Raises:
        InvalidOption: not a datetime, or a naive one with no `naive_zone`.
    """
    if not isinstance(run_at, datetime):
        raise InvalidOption(f"`{what}` is an aware datetime, not {_shown(run_at)}")
    if run_at.utcoffset() is None and naive_zone is not None:
        run_at = run_at.replace(tzinfo=naive_zone)
    check_aware(run_at, what=what)
    return min(max(0, (run_at - EPOCH) // MILLISECOND), MAX_MS)


def parse_rate(text: str, *, what: str = "rate") -> tuple[int, int]:
    """The limit and the period in milliseconds of a rate such as "30/s", "100/min" or "10/30s".

    Args:
        text: a whole number of 1 or more, a slash, and a unit or a duration with a unit.
        what: the name of the option, for the error's sentence.

    Raises:
        InvalidOption: the text is no rate, or one of its numbers is zero.
    """
    if not isinstance(text, str):
        raise InvalidOption(f"`{what}` is {_EXPECTED_RATE}, not {_shown(text)}")
    rate = _RATE.fullmatch(text)
    if rate is None or not int(rate[1]):
        raise InvalidOption(f"`{what}` is {_EXPECTED_RATE}, not {_shown(text)}")
    return int(rate[1]), _period_ms(rate[2], text, what)


@dataclass(frozen=True, slots=True)
class Interval:
    """Due every so often in real time, at the same instants on all workers.

    Args:
        period_ms: milliseconds, 1 or more.
        anchor: an aware instant at which it is due. Default 1970, so 5 minutes are :00, :05 …

    Raises:
        InvalidOption: a period below 1 ms, or a naive anchor.
    """

    period_ms: int
    anchor: datetime = EPOCH

    def __post_init__(self) -> None:
        check_aware(self.anchor, what="anchor")
        if not 1 <= self.period_ms <= MAX_MS:
            raise InvalidOption(f"an interval is 1 ms or longer, not {self.period_ms!r} ms")

    @property
    def text(self) -> str:
        """The rule, for people: "every 5 m"."""
        return f"every {format_ms(self.period_ms)}"

    def next_after(self, instant: datetime) -> datetime:
        """The first due instant after `instant`, in UTC.

        Raises:
            InvalidOption: `instant` is naive, or nothing is due before the year 10000.
        """
        check_aware(instant, what="instant")
        period = self.period_ms * MILLISECOND
        try:
            return self.anchor.astimezone(UTC) + ((instant - self.anchor) // period + 1) * period
        except OverflowError as exc:
            raise InvalidOption(f"nothing is due {self.text} after {instant.isoformat()}") from exc


def check_aware(instant: datetime, *, what: str) -> None:
    """Refuse a datetime without a time zone.

    Raises:
        InvalidOption: it is naive.
    """
    if instant.utcoffset() is None:
        raise InvalidOption(
            f"`{what}` is an aware datetime, but {instant.isoformat()} has no time zone; "
            "write datetime.now(UTC) + …, or give it a tzinfo"
        )


def format_ms(ms: int, *, parts: int | None = None) -> str:
    """A duration for people: "1 m 30 s", "250 ms", "2 d 4 h"; `to_ms` reads it back.

    Args:
        ms: milliseconds, of any sign.
        parts: keep at most this many of the largest units and drop the rest; `None`, the
            default, keeps all and loses nothing.
    """
    shown, rest = [], abs(ms)
    for unit, size in _UNIT_MS.items():
        count, rest = divmod(rest, size)
        if count:
            shown.append(f"{count} {unit}")
    return ("-" if ms < 0 else "") + (" ".join(shown[:parts]) or "0 s")


def _exact_ms(value: Any, what: str) -> Decimal:
    match value:
        case bool():
            exact = None
        case int() if abs(value) > MAX_MS:
            exact = Decimal("Infinity")  # its digits may be too many to multiply
        case str():
            exact = _parse(value, what)
        case timedelta():
            exact = Decimal(value // timedelta(microseconds=1)) / 1000
        case int() | float() if isfinite(value):
            exact = Decimal(value) * 1000
        case _:
            exact = None
    if exact is None:
        raise InvalidOption(f"`{what}` is {_EXPECTED}, not {_shown(value)}")
    if abs(exact) > MAX_MS:
        raise InvalidOption(f"`{what}` is at most 8,000 years; {_shown(value)} is longer")
    return exact


def _parse(text: str, what: str) -> Decimal:
    """Sum of the parts of a duration text; the sign stands before all of them."""
    bare = text.strip()
    sign, body = (-1, bare[1:]) if bare.startswith("-") else (1, bare.removeprefix("+"))
    if len(text) > _LONGEST_TEXT:
        raise InvalidOption(f"`{what}` is {_EXPECTED}, not {_shown(text)}")
    if _NUMBER.fullmatch(body):
        return sign * Decimal(body) * 1000
    found: dict[str, Decimal] = {}
    for number, word in _parts(body, text, what):
        unit, size = _unit(word, text, what)
        if unit in found:
            raise InvalidOption(f"`{what}` names each unit once; {text!r} has {word!r} twice")
        found[unit] = Decimal(number) * size
    return sign * sum(found.values(), Decimal(0))


def _parts(body: str, text: str, what: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(body) or not body:
        part = _PART.match(body, at)
        if part is None:
            raise InvalidOption(f"`{what}` is {_EXPECTED}, not {_shown(text)}")
        yield part[1], part[2]
        at = part.end()


def _unit(word: str, text: str, what: str) -> tuple[str, int]:
    known = _UNITS.get(word.lower())
    if known is None:
        raise InvalidOption(
            f"`{what}` has the units ms, s, m, h, d and w (months and years differ in length); "
            f"{text!r} has {word!r}{did_you_mean(word.lower(), _WORDS)}"
        )
    return known


def _period_ms(period: str, text: str, what: str) -> int:
    if _NUMBER.fullmatch(period):
        raise InvalidOption(
            f"`{what}` names the unit of its period; {text!r} has none: write {text.strip()}s"
        )
    ms = to_ms(period if period[0] in "+-.0123456789" else f"1{period}", what=what)
    if ms == 0:
        raise InvalidOption(f"the period of `{what}` is longer than zero; {text!r} is not")
    return ms


def _sign(exact: Decimal) -> int:
    return (exact > 0) - (exact < 0)


def _shown(value: object) -> str:
    """What came, short enough for a sentence even when it is a megabyte of text."""
    if isinstance(value, int) and abs(value) > MAX_MS:
        return "a huge number"
    text = repr(value)
    return text if len(text) <= _LONGEST_TEXT + 2 else f"{text[:_LONGEST_TEXT]}…"
