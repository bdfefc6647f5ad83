"""Changes of the clock: the calculator against brute force, and arq's two lost hours.

The oracle walks real time step by step and reads the local clock at each, so it shares nothing
with the calculator: no expression parser, no arithmetic with offsets, no search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import process_time
from zoneinfo import ZoneInfo

import pytest

from jobs.crontab import CronSpec, fields_spec

MINUTE = timedelta(minutes=1)
QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)

ZONES = ("America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")
# Two hours at once; at midnight, twice; at midnight in the south; a whole day left out.
ODD_CLOCKS = (
    ("Antarctica/Troll", START, END),
    ("Africa/Cairo", START, END),
    ("America/Santiago", START, END),
    ("Pacific/Apia", datetime(2011, 12, 20, tzinfo=UTC), datetime(2012, 1, 10, tzinfo=UTC)),
)


@dataclass(frozen=True)
class Rule:
    """An expression, and by hand: its local times, and whether it counts in real time."""

    expression: str
    matches: Callable[[datetime], bool]
    real_time: bool


RULES = (
    Rule("*/5 * * * *", lambda t: t.minute % 5 == 0, real_time=True),
    Rule("*/30 * * * *", lambda t: t.minute % 30 == 0, real_time=True),
    Rule("0 * * * *", lambda t: t.minute == 0, real_time=True),
    Rule("15 */2 * * *", lambda t: t.minute == 15 and t.hour % 2 == 0, real_time=True),
    Rule("*/15 2 * * *", lambda t: t.minute % 15 == 0 and t.hour == 2, real_time=True),
    Rule("30 2 * * *", lambda t: (t.hour, t.minute) == (2, 30), real_time=False),
    Rule("45 1 * * *", lambda t: (t.hour, t.minute) == (1, 45), real_time=False),
    Rule("0,30 1-3 * * *", lambda t: t.minute % 30 == 0 and 1 <= t.hour <= 3, real_time=False),
    Rule("0 0 * * *", lambda t: (t.hour, t.minute) == (0, 0), real_time=False),
    Rule("0 9 * * 1", lambda t: (t.hour, t.minute, t.weekday()) == (9, 0, 0), real_time=False),
    Rule(
        "45 23 L * *",
        lambda t: (t.hour, t.minute) == (23, 45) and (t + DAY).day == 1,
        real_time=False,
    ),
    Rule(
        "15 3 1,15 * SUN",
        lambda t: (t.hour, t.minute) == (3, 15) and (t.day in {1, 15} or t.weekday() == 6),
        real_time=False,
    ),
)


def local_clock(
    zone: str, start: datetime, end: datetime, step: timedelta
) -> list[tuple[datetime, datetime]]:
    """(instant, what the local clock shows) for every step of real time."""
    info = ZoneInfo(zone)
    return [
        (start + n * step, (start + n * step).astimezone(info).replace(tzinfo=None, fold=0))
        for n in range((end - start) // step)
    ]


def brute_force(clock: list[tuple[datetime, datetime]], rule: Rule) -> Iterator[datetime]:
    """Every due instant of the clock, by the policy in the words of the fault catalogue:
    gap -> first valid instant after; fold -> once for fixed times, every real interval for */n.
    """
    step = clock[1][0] - clock[0][0]
    highest = clock[0][1]
    for instant, shown in clock[1:]:
        ahead = shown - highest
        if rule.real_time or ahead == step:
            due = rule.matches(shown)
        else:  # negative in a repeated hour, where the range is empty: nothing is due
            due = any(rule.matches(highest + n * step) for n in range(1, ahead // step + 1))
        highest = max(highest, shown)
        if due:
            yield instant


def calculated(spec: CronSpec, start: datetime, end: datetime) -> Iterator[datetime]:
    """Every due instant after `start` and before `end`."""
    due = spec.next_after(start)
    while due < end:
        yield due
        due = spec.next_after(due)


def changes(zone: str, start: datetime, end: datetime) -> list[datetime]:
    """The hours of the period in which the offset changes; some hours for a zone without any."""
    info = ZoneInfo(zone)
    hours = [start + n * HOUR for n in range((end - start) // HOUR)]
    offsets = [hour.astimezone(info).utcoffset() for hour in hours]
    found = [hours[n] for n in range(1, len(hours)) if offsets[n] != offsets[n - 1]]
    return found or [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2027, 10, 31, 1, tzinfo=UTC)]


def assert_same(zone: str, start: datetime, end: datetime, step: timedelta, rule: Rule) -> None:
    clock = local_clock(zone, start, end, step)
    spec = CronSpec.parse(rule.expression, zone)
    assert list(calculated(spec, start, end)) == list(brute_force(clock, rule))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.expression)
@pytest.mark.parametrize("zone", ZONES)
def test_agrees_with_brute_force_minute_by_minute_around_every_change(
    zone: str, rule: Rule
) -> None:
    for change in changes(zone, START, END):
        assert_same(zone, change - 30 * HOUR, change + 30 * HOUR, MINUTE, rule)


@pytest.mark.parametrize("zone", ZONES)
def test_agrees_with_brute_force_over_two_years(zone: str) -> None:
    clock = local_clock(zone, START, END, QUARTER)
    for rule in RULES[2:]:  # hourly or rarer, on quarters of an hour, as all changes are
        spec = CronSpec.parse(rule.expression, zone)
        assert list(calculated(spec, START, END)) == list(brute_force(clock, rule))


@pytest.mark.parametrize(("zone", "start", "end"), ODD_CLOCKS, ids=[row[0] for row in ODD_CLOCKS])
def test_agrees_with_brute_force_on_odd_clocks(zone: str, start: datetime, end: datetime) -> None:
    for change in changes(zone, start, end):
        for rule in RULES:
            assert_same(zone, change - 30 * HOUR, change + 30 * HOUR, MINUTE, rule)


@pytest.mark.parametrize("zone", ZONES)
def test_seconds_follow_the_same_policy(zone: str) -> None:
    fixed = Rule("*/20 30 2 * * *", lambda t: shows(t, 2, 30) and t.second % 20 == 0, False)
    real = Rule("30 */30 * * * *", lambda t: t.minute % 30 == 0 and t.second == 30, True)
    for change in changes(zone, START, END)[:2]:
        for rule in (fixed, real):
            second = timedelta(seconds=1)
            assert_same(zone, change - 2 * HOUR, change + 2 * HOUR, second, rule)


def shows(local: datetime, hour: int, minute: int) -> bool:
    return (local.hour, local.minute) == (hour, minute)


@pytest.mark.parametrize(
    ("zone", "expression", "day", "expected"),
    [
        # spring: 02:30 is left out, so it runs when the gap ends at 03:00; once, with the others
        ("Europe/Berlin", "30 2 * * *", "2026-03-29", ["03:00+02:00"]),
        ("Europe/Berlin", "0 30 2 * * *", "2026-03-29", ["03:00+02:00"]),
        ("Europe/Berlin", "0,30 2,3 * * *", "2026-03-29", ["03:00+02:00", "03:30+02:00"]),
        ("America/New_York", "30 2 * * *", "2026-03-08", ["03:00-04:00"]),
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-04", ["02:30+11:00"]),
        ("Africa/Cairo", "0 0 * * *", "2026-04-24", ["01:00+03:00"]),
        # a wildcard has nothing to make up for
        ("Europe/Berlin", "*/30 2 * * *", "2026-03-29", []),
        ("Europe/Berlin", "30 1-3/2 * * *", "2026-03-29", ["01:30+01:00", "03:30+02:00"]),
        # autumn: 02:30 comes twice and is used the first time
        ("Europe/Berlin", "30 2 * * *", "2026-10-25", ["02:30+02:00"]),
        ("Europe/Berlin", "0 30 2 * * *", "2026-10-25", ["02:30+02:00"]),
        ("America/New_York", "30 1 * * *", "2026-11-01", ["01:30-04:00"]),
        ("Australia/Lord_Howe", "45 1 * * *", "2026-04-05", ["01:45+11:00"]),
        (
            "Europe/Berlin",
            "*/30 2 * * *",
            "2026-10-25",
            ["02:00+02:00", "02:30+02:00", "02:00+01:00", "02:30+01:00"],
        ),
    ],
)
def test_the_policy_by_example(zone: str, expression: str, day: str, expected: list[str]) -> None:
    midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    start, end = midnight - timedelta(seconds=1), datetime.fromisoformat(f"{day}T23:00+00:00")
    runs = calculated(CronSpec.parse(expression, zone), start, end)
    local = [due.astimezone(ZoneInfo(zone)) for due in runs]
    assert [f"{t:%H:%M}{t.isoformat()[-6:]}" for t in local if str(t.date()) == day] == expected


def test_a_half_hour_change_loses_no_tick() -> None:
    """By cronsim 2.8 these would start at 02:30 and at 03:30."""
    lord_howe = ZoneInfo("Australia/Lord_Howe")
    autumn = CronSpec.parse("*/10 2 * * *", lord_howe)
    assert autumn.next_after(datetime(2026, 4, 4, 15, 10, tzinfo=UTC)) == datetime(
        2026, 4, 5, 2, tzinfo=lord_howe
    )
    spring = CronSpec.parse("*/10 3 * * *", lord_howe)
    assert spring.next_after(datetime(2026, 10, 3, 14, 30, tzinfo=UTC)) == datetime(
        2026, 10, 4, 3, tzinfo=lord_howe
    )


def test_a_far_day_is_not_reached_past_its_first_match() -> None:
    """In January the offset is that of the second pass of the hour repeated in November."""
    spec = CronSpec.parse("*/30 1 1 11 *", "America/New_York")
    assert list(calculated(spec, START, datetime(2026, 12, 1, tzinfo=UTC))) == [
        datetime(2026, 11, 1, hour, minute, tzinfo=UTC) for hour in (5, 6) for minute in (0, 30)
    ]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (datetime(2026, 11, 1, 3, tzinfo=UTC), datetime(2026, 11, 1, 9, tzinfo=UTC)),  # arq-D1
        (datetime(2026, 3, 8, 5, tzinfo=UTC), datetime(2026, 3, 8, 10, tzinfo=UTC)),  # arq-D2
    ],
    ids=["autumn", "spring"],
)
def test_every_five_minutes_stays_so_through_both_changes(start: datetime, end: datetime) -> None:
    five = timedelta(minutes=5)
    expected = [start + n * five for n in range(1, (end - start) // five)]
    fields = fields_spec(tz="America/New_York", minute=set(range(0, 60, 5)), microsecond=0)
    expression = CronSpec.parse("*/5 * * * *", "America/New_York")
    assert list(calculated(fields, start, end)) == expected
    assert list(calculated(expression, start, end)) == expected


def test_thousands_of_used_times_are_passed_over_quickly() -> None:
    spec = CronSpec.parse("* 0-59 2 * * *", "Europe/Berlin")
    second_pass = datetime(2026, 10, 25, 1, 0, 0, tzinfo=UTC)
    start = process_time()
    assert spec.next_after(second_pass) == datetime(2026, 10, 26, 1, tzinfo=UTC)
    assert process_time() - start < 0.2


def test_a_fixed_time_of_the_fields_runs_once_a_day() -> None:
    spec = fields_spec(tz="America/New_York", hour={1, 2}, minute=30)
    year = calculated(spec, START, datetime(2027, 1, 1, tzinfo=UTC))
    days = [due.astimezone(ZoneInfo("America/New_York")).date() for due in year]
    assert {days.count(day) for day in set(days)} == {2}
    assert len(days) == 2 * 365
