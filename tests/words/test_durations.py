"""Durations, instants, rates and intervals: what is read, what is refused, and in which words."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.durations import (
    EPOCH,
    MAX_MS,
    Interval,
    check_aware,
    format_ms,
    parse_rate,
    to_ms,
    to_seconds,
    until_ms,
)
from jobs.errors import InvalidOption

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (0, 0),
        (5, 5000),
        (0.25, 250),
        (0.29, 290),
        (0.1 + 0.2, 300),
        (timedelta(minutes=5), 5 * MINUTE),
        (timedelta(milliseconds=1, microseconds=500), 2),
        ("90", 90_000),
        ("0.5", 500),
        ("5m", 5 * MINUTE),
        ("1h30m", 90 * MINUTE),
        ("1h 30m", 90 * MINUTE),
        ("30m1h", 90 * MINUTE),
        ("250ms", 250),
        ("2d", 2 * DAY),
        ("1w", 7 * DAY),
        ("1.5h", 90 * MINUTE),
        (".5s", 500),
        ("24 hours", DAY),
        ("3 days", 3 * DAY),
        ("1 minute 1 second", 61_000),
        ("  10 S ", 10_000),
        ("+5s", 5000),
        ("-0", 0),
    ],
)
def test_reads_a_duration(value: Any, ms: int) -> None:
    assert to_ms(value) == ms
    assert to_seconds(value) == ms / 1000


@pytest.mark.parametrize("value", [0.0001, "0.0001s", timedelta(microseconds=1), 1e-300])
def test_a_duration_above_zero_never_becomes_zero(value: Any) -> None:
    assert to_ms(value) == 1


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        True,
        None,
        b"5m",
        [5],
        "",
        "  ",
        "+",
        "-",
        "m",
        "nan",
        "inf",
        "1e3",
        "1:30",
        "1h30",
        "5m,3s",
        "five minutes",
        "\u0665m",
        "9" * 65,
    ],
)
def test_refuses_what_is_no_duration_and_says_what_was_expected(value: Any) -> None:
    with pytest.raises(InvalidOption) as caught:
        to_ms(value, what="timeout")
    assert "`timeout`" in str(caught.value)
    assert "m, h" in str(caught.value) or '"5m"' in str(caught.value)


def test_an_invalid_duration_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="not nan"):
        to_ms(float("nan"))


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("5 minuets", "'minuets' (did you mean 'minutes'?)"),
        ("5 secnds", "'secnds' (did you mean 'seconds'?)"),
        ("5 x", "'x'"),
        ("1 month", "months and years differ in length"),
        ("5m 5 minutes", "each unit once"),
    ],
)
def test_names_the_unit_that_is_wrong(value: str, hint: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        to_ms(value)
    assert hint in str(caught.value)


@pytest.mark.parametrize("value", [-1, -0.001, "-5m", timedelta(seconds=-1)])
def test_negative_only_where_it_is_allowed(value: Any) -> None:
    assert to_ms(value, allow_negative=True) < 0
    with pytest.raises(InvalidOption, match="`delay` is a duration of zero or more, not"):
        to_ms(value)


@pytest.mark.parametrize(
    "value",
    [
        10**12,
        -(10**12),
        pytest.param(1 << 4_000_000, id="a million digits"),
        1e300,
        timedelta.max,
        "9" * 60,
    ],
)
def test_refuses_what_ends_after_the_year_9999(value: Any) -> None:
    with pytest.raises(InvalidOption, match="at most 8,000 years"):
        to_ms(value, allow_negative=True)


def test_the_longest_duration_is_the_last_millisecond_of_the_year_9999() -> None:
    assert to_ms(timedelta(milliseconds=MAX_MS)) == MAX_MS
    last = EPOCH + timedelta(milliseconds=MAX_MS)
    assert (last.year, last.month, last.day, last.hour) == (9999, 12, 31, 23)
    assert int(float(MAX_MS)) == MAX_MS


def test_a_megabyte_of_text_is_refused_in_a_short_sentence() -> None:
    with pytest.raises(InvalidOption) as caught:
        to_ms("x" * 1_000_000)
    assert len(str(caught.value)) < 300


@given(st.integers(-MAX_MS, MAX_MS))
def test_every_formatted_duration_reads_back(ms: int) -> None:
    assert to_ms(format_ms(ms), allow_negative=True) == ms


@given(st.integers(0, MAX_MS))
def test_a_timedelta_text_and_a_number_agree(ms: int) -> None:
    assert to_ms(timedelta(milliseconds=ms)) == ms
    assert to_ms(f"{ms}ms") == ms
    assert to_ms(ms / 1000) == ms
    assert to_ms(to_seconds(f"{ms}ms")) == ms


@given(st.text(max_size=20) | st.from_regex(r"[-+]?([0-9.]{1,4} ?[a-zA-Z]{0,4}){1,3}"))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(InvalidOption):
        assert 0 <= to_ms(text) <= MAX_MS


@pytest.mark.parametrize(
    ("ms", "text", "short"),
    [
        (0, "0 s", "0 s"),
        (250, "250 ms", "250 ms"),
        (90_000, "1 m 30 s", "1 m 30 s"),
        (90_250, "1 m 30 s 250 ms", "1 m 30 s"),
        (-90_000, "-1 m 30 s", "-1 m 30 s"),
        (2 * DAY + 4 * HOUR + 5, "2 d 4 h 5 ms", "2 d 4 h"),
        (400 * DAY, "400 d", "400 d"),
    ],
)
def test_formats_for_people(ms: int, text: str, short: str) -> None:
    assert format_ms(ms) == text
    assert format_ms(ms, parts=2) == short


def test_an_instant_in_milliseconds() -> None:
    assert until_ms(EPOCH) == 0
    assert until_ms(datetime(2026, 1, 1, 0, 0, 0, 1_999, tzinfo=UTC)) == 1_767_225_600_001
    assert until_ms(datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == (
        1_767_225_600_000
    )
    assert until_ms(datetime.max.replace(tzinfo=UTC)) == MAX_MS


def test_an_instant_before_1970_is_due_at_once() -> None:
    assert until_ms(datetime(1960, 1, 1, tzinfo=UTC)) == 0


def test_an_instant_past_the_last_one_in_its_zone_is_the_last_one() -> None:
    west = timezone(timedelta(hours=-12))
    assert until_ms(datetime.max.replace(tzinfo=west)) == MAX_MS


def test_a_naive_instant_is_refused_or_read_in_the_zone_that_is_given() -> None:
    naive = datetime(2026, 7, 1, 12)  # noqa: DTZ001  the subject
    with pytest.raises(InvalidOption, match="`run_at` is an aware datetime, but 2026-07-01T12"):
        until_ms(naive)
    berlin = ZoneInfo("Europe/Berlin")
    assert until_ms(naive, naive_zone=berlin) == until_ms(naive.replace(tzinfo=berlin))
    aware = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert until_ms(aware, naive_zone=berlin) == until_ms(aware)


@pytest.mark.parametrize("value", [None, "2026-07-01", 5, timedelta(1), EPOCH.date()])
def test_an_instant_is_a_datetime(value: Any) -> None:
    with pytest.raises(InvalidOption, match="`end` is an aware datetime, not"):
        until_ms(value, what="end")


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("30/s", (30, 1000)),
        ("100/min", (100, MINUTE)),
        ("100/m", (100, MINUTE)),
        ("1000/h", (1000, HOUR)),
        ("10/30s", (10, 30_000)),
        ("1/250ms", (1, 250)),
        (" 5 / 2 minutes ", (5, 2 * MINUTE)),
        ("50/day", (50, DAY)),
    ],
)
def test_reads_a_rate(text: str, rate: tuple[int, int]) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("0/s", '"30/s"'),
        ("-3/s", '"30/s"'),
        ("1.5/s", '"30/s"'),
        ("30", '"30/s"'),
        ("", '"30/s"'),
        ("5/", '"30/s"'),
        ("s/30", '"30/s"'),
        (30, '"30/s"'),
        (None, '"30/s"'),
        ("10/30", "write 10/30s"),
        ("5/0s", "longer than zero"),
        ("5/-1s", "zero or more"),
        ("5/fortnight", "'fortnight'"),
        ("5/minut", "did you mean 'minute'"),
    ],
)
def test_refuses_what_is_no_rate(text: Any, hint: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        parse_rate(text)
    assert hint in str(caught.value)
    assert "`rate`" in str(caught.value)


def test_an_interval_is_due_at_the_same_instants_whoever_asks() -> None:
    five = Interval(5 * MINUTE)
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert five.next_after(noon) == noon + timedelta(minutes=5)
    assert five.next_after(noon - timedelta(microseconds=1)) == noon
    assert five.next_after(noon.astimezone(ZoneInfo("Asia/Kolkata"))) == five.next_after(noon)
    assert five.text == "every 5 m"


def test_an_interval_counts_from_its_anchor() -> None:
    anchor = datetime(2026, 3, 1, 12, 0, 7, tzinfo=ZoneInfo("Europe/Berlin"))
    minute = Interval(MINUTE, anchor)
    assert minute.next_after(anchor) == anchor + timedelta(minutes=1)
    assert minute.next_after(anchor - timedelta(seconds=1)) == anchor
    assert minute.next_after(anchor).tzinfo is UTC


@given(st.integers(1, 10 * DAY), st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001
def test_an_interval_grows_by_its_period(period_ms: int, naive: datetime) -> None:
    interval = Interval(period_ms)
    instant = naive.replace(tzinfo=UTC)
    due = interval.next_after(instant)
    assert instant < due <= instant + timedelta(milliseconds=period_ms)
    assert interval.next_after(due) - due == timedelta(milliseconds=period_ms)


def test_an_impossible_interval_is_refused() -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001  the subject
    with pytest.raises(InvalidOption, match="1 ms or longer"):
        Interval(0)
    with pytest.raises(InvalidOption, match="`anchor` is an aware datetime"):
        Interval(1, naive)
    with pytest.raises(InvalidOption, match="`instant` is an aware datetime"):
        Interval(1).next_after(naive)
    with pytest.raises(InvalidOption, match="nothing is due every"):
        Interval(HOUR).next_after(datetime.max.replace(tzinfo=UTC))


def test_check_aware_accepts_any_zone() -> None:
    check_aware(EPOCH.astimezone(ZoneInfo("Asia/Kolkata")), what="instant")
