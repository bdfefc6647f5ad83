"""What holds for every schedule, found by chance; and arq's own calculator, where it is right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from arq.cron import next_cron
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jobs.crontab import CronSpec, fields_spec
from jobs.errors import InvalidOption

ZONES = (
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Africa/Cairo",
    "Antarctica/Troll",
)
CHANGES = (
    datetime(2026, 3, 8, 7, tzinfo=UTC),
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2026, 4, 23, 22, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
)
MICROSECOND = timedelta(microseconds=1)

near_a_change = st.builds(
    lambda change, offset: change + offset,
    st.sampled_from(CHANGES),
    st.timedeltas(timedelta(hours=-30), timedelta(hours=30)),
)
instants = near_a_change | st.datetimes(
    datetime(1975, 1, 1),  # noqa: DTZ001  the strategy adds the zone
    datetime(2037, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


def some_of(low: int, high: int) -> st.SearchStrategy[Any]:
    numbers = st.integers(low, high)
    return st.none() | numbers | st.sets(numbers, min_size=1, max_size=6)


all_fields = st.fixed_dictionaries(
    {
        "hour": some_of(0, 23) | some_of(0, 4),
        "minute": some_of(0, 59),
        "second": st.just(0) | some_of(0, 59),
    },
    optional={
        "month": some_of(1, 12),
        "day": some_of(1, 31),
        "weekday": some_of(0, 6),
        "microsecond": st.integers(0, 999_999),
    },
)


def made(fields: dict[str, Any], zone: str) -> CronSpec:
    try:
        return fields_spec(tz=zone, **fields)
    except InvalidOption:
        assume(condition=False)
        raise


@given(all_fields, st.sampled_from(ZONES), instants)
def test_strictly_grows_and_asking_again_changes_nothing(
    fields: dict[str, Any], zone: str, instant: datetime
) -> None:
    spec = made(fields, zone)
    first = spec.next_after(instant)
    second = spec.next_after(first)
    assert instant < first < second
    assert spec.next_after(instant) == first
    assert spec.next_after(first) == second


@given(all_fields, st.sampled_from(ZONES), instants, st.floats(0, 1))
def test_nothing_is_due_between_an_instant_and_its_answer(
    fields: dict[str, Any], zone: str, instant: datetime, part: float
) -> None:
    spec = made(fields, zone)
    due = spec.next_after(instant)
    between = min(instant + (due - instant) * part, due - MICROSECOND)
    assert spec.next_after(between) == due
    assert spec.next_after(due - MICROSECOND) == due
    assert spec.next_after(between.astimezone(ZoneInfo(zone))) == due


@given(all_fields, st.sampled_from(ZONES), instants)
def test_the_local_clock_shows_the_fields_or_has_just_jumped_over_them(
    fields: dict[str, Any], zone: str, instant: datetime
) -> None:
    spec = made(fields, zone)
    due = spec.next_after(instant)
    local = due.astimezone(ZoneInfo(zone))
    assert local.microsecond == fields.get("microsecond", 123_456)
    jumped = utc_offset(due, zone) > utc_offset(due - timedelta(seconds=1), zone)
    assert shows(local, fields) or (jumped and not spec.real_time)


def utc_offset(instant: datetime, zone: str) -> timedelta:
    offset = instant.replace(microsecond=0).astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return offset


def shows(local: datetime, fields: dict[str, Any]) -> bool:
    shown = {
        "month": local.month,
        "day": local.day,
        "weekday": local.weekday(),
        "hour": local.hour,
        "minute": local.minute,
        "second": local.second,
    }
    return all(
        value is None or shown[name] in (value if isinstance(value, set) else {value})
        for name, value in fields.items()
        if name in shown
    )


@settings(max_examples=60)
@given(all_fields, instants)
def test_agrees_with_arq_where_the_clock_does_not_change(
    fields: dict[str, Any], instant: datetime
) -> None:
    """From one due instant to the next; from others, arq leaves out the next second."""
    spec = made(fields, "UTC")
    due = spec.next_after(instant)
    assume(spec.next_after(due) - due < timedelta(days=3 * 365))
    for _ in range(5):
        assert spec.next_after(due) == next_cron(due, **fields)
        due = spec.next_after(due)


@given(st.text(alphabet="0123456789*/,-LW#? @MONJAFEB", max_size=20) | st.text(max_size=30))
def test_any_text_is_read_or_refused(expression: str) -> None:
    try:
        spec = CronSpec.parse(expression, "Europe/Berlin")
    except InvalidOption:
        return
    now = CHANGES[0]
    assert now < spec.next_after(now) < now + timedelta(days=41 * 366)


def field(least: int, most: int) -> st.SearchStrategy[str]:
    """One field of an expression: any, a number, or a range, each with or without a step."""
    number = st.integers(least, most)
    ranges = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    return st.one_of(st.just("*"), st.integers(1, 7).map("*/{}".format), number.map(str), ranges)


expressions = st.tuples(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)).map(
    " ".join
) | st.tuples(
    field(0, 59), field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)
).map(" ".join)


@settings(max_examples=60)
@given(expressions, st.sampled_from(ZONES), near_a_change)
def test_expressions_grow_strictly_too(expression: str, zone: str, instant: datetime) -> None:
    spec = CronSpec.parse(expression, zone)
    dues = [spec.next_after(instant)]
    for _ in range(10):
        dues.append(spec.next_after(dues[-1]))
    assert instant < dues[0]
    assert dues == sorted(set(dues))
