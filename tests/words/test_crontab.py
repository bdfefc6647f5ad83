"""Crontab expressions, arq's fields and time zones: what is read, what is refused, how fast."""

from __future__ import annotations

import calendar
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from time import process_time
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jobs.crontab import ALIASES, CronSpec, fields_spec, resolve_zone
from jobs.errors import InvalidOption

NOW = datetime(2026, 3, 4, 12, 0, 30, tzinfo=UTC)  # a Wednesday
ODD_SPECS_CPU_S = 0.05


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def next_of(expression: str, tz: str | tzinfo = UTC, after: datetime = NOW) -> datetime:
    return CronSpec.parse(expression, tz).next_after(after)


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("* * * * *", utc(2026, 3, 4, 12, 1)),
        ("*/5 * * * *", utc(2026, 3, 4, 12, 5)),
        ("0 2 * * *", utc(2026, 3, 5, 2)),
        ("0 9 * * 1", utc(2026, 3, 9, 9)),
        ("0 9 * * MON-FRI", utc(2026, 3, 5, 9)),
        ("0 9 * jan,dec mon", utc(2026, 12, 7, 9)),
        ("0 0 * * 0", utc(2026, 3, 8)),
        ("0 0 * * 7", utc(2026, 3, 8)),
        ("5/20 * * * *", utc(2026, 3, 4, 12, 5)),
        ("  0   12 *  * * ", utc(2026, 3, 5, 12)),
        ("*/10 * * * * *", utc(2026, 3, 4, 12, 0, 40)),
        ("15 30 4 1 1 *", utc(2027, 1, 1, 4, 30, 15)),
        ("0 0 L * *", utc(2026, 3, 31)),
        ("0 0 LW 5 *", utc(2026, 5, 29)),
        ("0 0 * * MON#2", utc(2026, 3, 9)),
        ("0 0 * * 5L", utc(2026, 3, 27)),
        ("@hourly", utc(2026, 3, 4, 13)),
        ("@daily", utc(2026, 3, 5)),
        ("@midnight", utc(2026, 3, 5)),
        ("@weekly", utc(2026, 3, 8)),
        ("@Monthly", utc(2026, 4, 1)),
        ("@yearly", utc(2027, 1, 1)),
        ("@annually", utc(2027, 1, 1)),
    ],
)
def test_reads_an_expression(expression: str, due: datetime) -> None:
    assert next_of(expression) == due


def test_day_of_month_or_day_of_week_matches_unless_one_begins_with_a_star() -> None:
    assert next_of("0 0 13 * FRI") == utc(2026, 3, 6)
    assert next_of("0 0 */13 * FRI") == utc(2026, 3, 27)


def test_the_answer_is_in_utc_and_strictly_after() -> None:
    spec = CronSpec.parse("0 9 * * *", "Europe/Berlin")
    nine = datetime(2026, 7, 1, 9, tzinfo=ZoneInfo("Europe/Berlin"))
    assert spec.next_after(nine - timedelta(microseconds=1)) == nine
    assert spec.next_after(nine - timedelta(microseconds=1)).tzinfo is UTC
    assert spec.next_after(nine) == nine + timedelta(days=1)
    assert spec.text == "0 9 * * *"


def test_the_year_of_a_leap_day_may_be_far() -> None:
    assert next_of("0 0 29 2 *") == utc(2028, 2, 29)
    assert next_of("0 0 29 2 *", after=utc(2096, 3, 1)) == utc(2104, 2, 29)
    assert next_of("0 0 */28 2 MON") == utc(2027, 2, 1)
    assert next_of("0 0 * 2 MON#5", after=utc(2072, 3, 1)) == utc(2112, 2, 29)


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("", "has 0"),
        ("   ", "has 0"),
        ("* * * *", "5 fields (minute hour day-of-month month day-of-week) or 6"),
        ("0 0 0 1 1 * 2026", "has 7"),
        ("60 * * * *", "the minute of '60 * * * *' cannot be '60': it takes 0-59"),
        ("0 24 * * *", "the hour of '0 24 * * *' cannot be '24': it takes 0-23"),
        ("0 0 0 * *", "the day-of-month"),
        ("0 0 32 * *", "it takes 1-31, L or LW"),
        ("0 0 * 13 *", "it takes 1-12 or JAN-DEC"),
        ("0 0 * * 8", "it takes 0-7 or SUN-SAT"),
        ("60 0 0 * * *", "the second"),
        ("-1 * * * *", "cannot be '-1'"),
        ("*/0 * * * *", "cannot be '*/0'"),
        ("*/-5 * * * *", "cannot be '*/-5'"),
        ("1,,2 * * * *", "cannot be '1,,2'"),
        ("1.5 * * * *", "cannot be '1.5'"),
        ("30-10 * * * *", "ranges from low to high"),
        ("0 0 ? * *", "* for any"),
        ("0 0 * * MONDAY", "did you mean 'MON'?"),
        ("0 0 * * FRI-MON", "cannot be 'FRI-MON': it takes 0-7"),
        ("0 0 * * THURSDAY", "did you mean 'THU'?"),
        ("0 0 * JANUARY *", "did you mean 'JAN'?"),
        ("*/90 * * * *", "has the step '*/90', but only 60 values; use an interval"),
        ("0 */48 * * *", "only 24 values"),
        ("0 0 30 2 *", "no day ever matches '0 0 30 2 *': its months are too short"),
        ("0 0 31 4,6,9,11 *", "months are too short"),
        ("0 0 30-31 feb *", "months are too short"),
        ("0 0 30- 2 *", "cannot be '30-'"),
        ("0 0 */31 * MON#5", "no day ever matches"),
        ("0 0 */29 2 MON#5", "no day ever matches"),
        ("@dayly", "did you mean '@daily'?"),
        ("@reboot", "aliases @hourly, @daily"),
        ("@every 5m", "aliases @hourly, @daily"),
        ("9" * 5000, "at most 200 characters"),
        ("0 0 \u0661 * *", "cannot be"),
        (None, "text of at most"),
        (5, "text of at most"),
    ],
)
def test_refuses_an_impossible_expression_quickly(expression: Any, sentence: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        CronSpec.parse(expression, "Europe/Berlin")
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 400

    def refuse() -> None:
        with pytest.raises(InvalidOption):
            CronSpec.parse(expression, "Europe/Berlin")

    assert cpu_seconds(refuse) < ODD_SPECS_CPU_S


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 29 2 *",
        "0 0 29 2 MON",
        "0 0 * 2 MON#5",
        "0 0 */28 2 SUN",
        "0 0 31 2 MON",
        "59 59 23 31 12 *",
        "0-59 0-59 0-23 1-31 1-12 0-7",
        "*/59 */59 */23 */30 */11 *",
        "0 0 LW 2 *",
        "0 0 L 2 5L",
    ],
)
def test_finds_a_rare_instant_quickly(expression: str) -> None:
    def find() -> None:
        assert next_of(expression, "America/New_York") > NOW

    assert cpu_seconds(find) < ODD_SPECS_CPU_S


def cpu_seconds(work: Callable[[], None]) -> float:
    """The best of three, so that a busy machine does not decide."""
    spent = []
    for _ in range(3):
        start = process_time()
        work()
        spent.append(process_time() - start)
    return min(spent)


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(InvalidOption, match="`instant` is an aware datetime, but 2026-01-01"):
        CronSpec.parse("@daily", UTC).next_after(datetime(2026, 1, 1))  # noqa: DTZ001


def test_the_end_of_all_datetimes_is_a_sentence() -> None:
    with pytest.raises(InvalidOption, match="no due instant after 9999"):
        next_of("0 0 29 2 *", after=utc(9999, 1, 1))
    with pytest.raises(InvalidOption, match="no due instant after 9999"):
        next_of("@yearly", "Asia/Kolkata", after=utc(9999, 1, 1))
    assert next_of("@daily", "Asia/Kolkata", after=utc(9999, 12, 1)).year == 9999


def test_every_alias_is_read() -> None:
    for alias, expression in ALIASES.items():
        assert next_of(alias) == next_of(expression)


@pytest.mark.parametrize(
    ("fields", "due"),
    [
        ({}, utc(2026, 3, 4, 12, 1)),
        ({"second": None}, utc(2026, 3, 4, 12, 0, 30)),
        ({"second": {10, 50}}, utc(2026, 3, 4, 12, 0, 50)),
        ({"minute": 0}, utc(2026, 3, 4, 13)),
        ({"minute": {0, 30}, "hour": [9, 18]}, utc(2026, 3, 4, 18)),
        ({"hour": (2,), "minute": 0}, utc(2026, 3, 5, 2)),
        ({"weekday": "mon", "hour": 9, "minute": 0}, utc(2026, 3, 9, 9)),
        ({"weekday": "TUES", "hour": 9, "minute": 0}, utc(2026, 3, 10, 9)),
        ({"weekday": {"tue", "thu"}, "hour": 9, "minute": 0}, utc(2026, 3, 5, 9)),
        ({"weekday": ["thurs", 6], "hour": 9, "minute": 0}, utc(2026, 3, 5, 9)),
        ({"weekday": 6, "hour": 9, "minute": 0}, utc(2026, 3, 8, 9)),
        ({"weekday": range(5), "hour": 9, "minute": 0}, utc(2026, 3, 5, 9)),
        ({"weekday": calendar.MONDAY, "hour": 9, "minute": 0}, utc(2026, 3, 9, 9)),
        ({"day": 13, "weekday": "fri", "hour": 0, "minute": 0}, utc(2026, 3, 13)),
        ({"day": 13, "weekday": "sat", "hour": 0, "minute": 0}, utc(2026, 6, 13)),
        ({"month": 2, "day": 29, "hour": 0, "minute": 0}, utc(2028, 2, 29)),
        ({"month": frozenset({1, 7}), "day": 1, "hour": 0, "minute": 0}, utc(2026, 7, 1)),
    ],
)
def test_reads_the_fields_of_arq(fields: dict[str, Any], due: datetime) -> None:
    assert fields_spec(tz=UTC, **fields).next_after(NOW) == due.replace(microsecond=123_456)


def test_the_microsecond_is_added_and_strictly_after_counts_it() -> None:
    spec = fields_spec(tz=UTC, minute=0, microsecond=500_000)
    noon = utc(2026, 3, 4, 12, 0, 0, 500_000)
    assert spec.next_after(utc(2026, 3, 4, 12)) == noon
    assert spec.next_after(noon - timedelta(microseconds=1)) == noon
    assert spec.next_after(noon) == noon + timedelta(hours=1)


def test_fields_say_what_was_set() -> None:
    spec = fields_spec(tz=UTC, weekday={"mon", "fri"}, hour=9, minute=[30, 0])
    assert spec.text == "weekday=0,4 hour=9 minute=0,30 second=0"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"minute": 60}, "`minute` is a number from 0 to 59, a set, list or tuple of them"),
        ({"hour": 24}, "`hour` is a number from 0 to 23"),
        ({"second": -1}, "`second` is a number from 0 to 59"),
        ({"day": 0}, "`day` is a number from 1 to 31"),
        ({"month": 13}, "`month` is a number from 1 to 12"),
        ({"minute": set()}, "not set()"),
        ({"minute": {5, 60}}, "`minute` is a number"),
        ({"minute": "5"}, "not '5'"),
        ({"minute": "*/5"}, "not '*/5'"),
        ({"minute": True}, "not True"),
        ({"minute": 1.5}, "not 1.5"),
        ({"minute": [None]}, "not [None]"),
        ({"microsecond": 1_000_000}, "`microsecond` is a number from 0 to 999999"),
        ({"microsecond": None}, "`microsecond` is a number"),
        ({"weekday": 7}, "`weekday` is a number from 0 to 6 or a name"),
        ({"weekday": "monday"}, "did you mean 'mon'?"),
        ({"weekday": "wednesday"}, "did you mean 'wed'?"),
        ({"weekday": {"mon", "frday"}}, "did you mean 'fri'?"),
        ({"day": 31, "month": 2}, "no day ever matches 'month=2 day=31 second=0'"),
        ({"day": {30, 31}, "month": 2}, "no day ever matches"),
    ],
)
def test_refuses_impossible_fields_quickly(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        fields_spec(tz="America/New_York", **fields)
    assert sentence in str(caught.value)

    def refuse() -> None:
        with pytest.raises(InvalidOption):
            fields_spec(tz="America/New_York", **fields)

    assert cpu_seconds(refuse) < ODD_SPECS_CPU_S


@pytest.mark.parametrize(
    ("value", "zone"),
    [
        ("Europe/Berlin", ZoneInfo("Europe/Berlin")),
        ("UTC", UTC),
        ("utc", UTC),
        ("Z", UTC),
        ("+05:30", timezone(timedelta(hours=5, minutes=30))),
        ("UTC-03:00", timezone(timedelta(hours=-3))),
        (UTC, UTC),
        (ZoneInfo("Asia/Kolkata"), ZoneInfo("Asia/Kolkata")),
    ],
)
def test_resolves_a_zone_and_its_text_resolves_to_it(value: str | tzinfo, zone: tzinfo) -> None:
    assert resolve_zone(value) == zone
    assert resolve_zone(str(resolve_zone(value))) == zone


class NoZone(tzinfo):
    """A tzinfo that knows no offset."""

    def utcoffset(self, dt: datetime | None) -> None:
        return None

    def dst(self, dt: datetime | None) -> None:
        return None

    def tzname(self, dt: datetime | None) -> None:
        return None


def test_a_zone_of_pytz_becomes_the_zone_of_its_name() -> None:
    class Pytz(NoZone):
        zone = "Europe/Berlin"

    assert resolve_zone(Pytz()) == ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("Europe/Berln", "no time zone is called 'Europe/Berln' (did you mean 'Europe/Berlin'?)"),
        ("europe/berlin", "(did you mean 'Europe/Berlin'?)"),
        ("Berlin", "(did you mean 'Europe/Berlin'?)"),
        ("new york", "(did you mean 'America/New_York'?)"),
        ("", "no time zone is called ''"),
        ("../UTC", "no time zone is called '../UTC'"),
        ("/etc/passwd", "no time zone is called"),
        ("America", "no time zone is called 'America'"),
        ("a\0b", "no time zone is called"),
        ("x" * 10_000, "no time zone is called 'xxx"),
        ("+25:00", "no time zone is called '+25:00'"),
        (5, "an IANA name or a tzinfo with offsets, not 5"),
        (None, "an IANA name or a tzinfo with offsets, not None"),
    ],
)
def test_refuses_an_unknown_zone(value: Any, sentence: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        resolve_zone(value)
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_tzinfo_without_offsets_is_refused() -> None:
    with pytest.raises(InvalidOption, match="a tzinfo with offsets"):
        resolve_zone(NoZone())
