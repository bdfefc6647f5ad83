"""When schedules are due, what is made up for, and what is refused: pure, by the millisecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.errors import InvalidOption
from jobs.timetable import MOST_RUNS, Plan, Policy, Timing, as_moment, job_id, zone_name

HOUR = 3_600_000
NOON = int(datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp() * 1000)
SECONDLY = Timing.of({"every": "1s"})
HOURLY = Timing.of({"cron": "0 * * * *"})


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def test_an_interval_is_aligned_to_1970_or_to_its_start() -> None:
    assert Timing.of({"every": "5m"}).next_after(NOON + 1) == NOON + 300_000
    start = moment(NOON + 7)
    timing = Timing.of({"every": "5m", "start": start})
    assert timing.next_after(0) == NOON + 7, "the start is the first instant"
    assert timing.next_after(NOON + 7) == NOON + 7 + 300_000


def test_bounds_are_included() -> None:
    timing = Timing.of({"cron": "0 * * * *", "start": moment(NOON), "end": moment(NOON + 2 * HOUR)})
    assert list(timing.between(0, NOON * 2)) == [NOON, NOON + HOUR, NOON + 2 * HOUR]
    assert timing.next_after(NOON + 2 * HOUR) is None


def test_an_offset_moves_every_instant() -> None:
    timing = Timing.of({"cron": "0 * * * *", "offset": "90s"})
    assert timing.next_after(NOON) == NOON + 90_000
    assert timing.next_after(NOON + 90_000) == NOON + 90_000 + HOUR


@settings(max_examples=60)
@given(
    st.sampled_from(["*/7 * * * *", "0 9 * * 1", "* * * 1 1 *", "0 0 29 2 *", "30 2 * * *"]),
    st.integers(0, 4 * 365 * 24 * HOUR),
    st.integers(0, 400 * 24 * HOUR),
)
def test_the_last_instant_is_the_one_before_which_none_follows(
    cron: str, after: int, span: int
) -> None:
    timing = Timing.of({"cron": cron, "tz": "Europe/Berlin"})
    last = timing.last_until(NOON + after, NOON + after + span)
    if last is None:
        first = timing.next_after(NOON + after)
        assert first is None or first > NOON + after + span
    else:
        assert NOON + after < last <= NOON + after + span
        assert timing.next_after(last - 1) == last
        following = timing.next_after(last)
        assert following is None or following > NOON + after + span


def test_a_year_of_seconds_is_decided_in_a_moment() -> None:
    year = 365 * 24 * HOUR
    assert Policy().plan(SECONDLY, NOON - year, NOON) == Plan((NOON,), NOON)
    plan = Policy(misfire="all").plan(SECONDLY, NOON - year, NOON)
    assert plan is not None
    assert len(plan.instants) == MOST_RUNS
    assert plan.upto == plan.instants[-1] == NOON - year + MOST_RUNS * 1000


@pytest.mark.parametrize(
    ("policy", "late_ms", "runs"),
    [
        ({}, 0, 1),
        ({}, 40 * 60_000, 1),
        ({"misfire": "skip"}, 5_000, 1),
        ({"misfire": "skip"}, 5_001, 0),
        ({"misfire": "all"}, 40 * 60_000, 10),
        ({"misfire": "all", "window": "3h"}, 0, 3),
        ({"misfire": "all", "window": "3h"}, 1, 3),
        ({"misfire": "all", "window": "1ms"}, 10, 1),
        ({"window": "30m"}, 29 * 60_000, 1),
        ({"window": "30m"}, 30 * 60_000, 0),
        ({"window": "1ms"}, 5_000, 1),
    ],
)
def test_ten_instants_were_missed(policy: dict[str, Any], late_ms: int, runs: int) -> None:
    """S40: the last of them `late_ms` ago."""
    now = NOON + late_ms
    plan = Policy.of(policy).plan(HOURLY, NOON - 10 * HOUR, now)
    assert plan is not None
    assert plan.upto == NOON
    assert plan.instants == tuple(NOON - n * HOUR for n in reversed(range(runs)))
    assert Policy.of(policy).plan(HOURLY, plan.upto, now) is None, "all is decided"


def test_a_busy_schedule_has_less_grace() -> None:
    skip = Policy(misfire="skip")
    assert skip.plan(SECONDLY, NOON - 1000, NOON + 500) == Plan((NOON,), NOON)
    assert skip.plan(SECONDLY, NOON - 1000, NOON + 501) == Plan((), NOON)


def test_jitter_is_the_same_in_every_process_and_spreads() -> None:
    policy = Policy.of({"jitter": "10s"})
    late = [policy.due_ms("s", NOON + n) - NOON - n for n in range(1000)]
    assert late[:3] == [policy.due_ms("s", NOON + n) - NOON - n for n in range(3)]
    assert min(late) >= 0
    assert max(late) < 10_000
    assert 4_000 < sum(late) / len(late) < 6_000
    assert Policy().due_ms("s", NOON) == NOON


def test_wire_and_back() -> None:
    timing = Timing.of({"every": "1h", "start": moment(NOON), "limit": 3, "offset": 1})
    assert Timing.from_wire(timing.to_wire() | {"newer": 1}) == timing
    policy = Policy.of({"misfire": "all", "window": "1h", "overlap": "queue", "jitter": 1})
    assert Policy.from_wire(policy.to_wire() | {"newer": 1}) == policy
    assert job_id("s", NOON) == f"s:{NOON}"


@pytest.mark.parametrize(
    ("zone", "name"),
    [("Europe/Berlin", "Europe/Berlin"), ("utc", "UTC"), ("+02:00", "UTC+02:00"), (UTC, "UTC")],
)
def test_a_zone_is_kept_by_a_name_that_leads_back(zone: Any, name: str) -> None:
    assert zone_name(zone) == name
    assert zone_name(name) == name


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"every": float("nan")}, "`every` is"),
        ({"every": float("inf")}, "`every` is"),
        ({"every": 0}, "longer than zero"),
        ({"every": -1}, "zero or more"),
        ({"every": "5 fortnights"}, "`every` has the units"),
        ({"cron": 5}, "a cron expression is text"),
        ({"cron": ""}, "has 0"),
        ({"cron": "0 0 30 2 *"}, "no day ever matches"),
        ({"cron": "@daily", "tz": 5}, "`tz` is an IANA name"),
        ({"cron": "@daily", "start": datetime(2026, 1, 1)}, "no time zone"),  # noqa: DTZ001
        ({"cron": "@daily", "end": "2026"}, "`end` is an aware datetime"),
        ({"cron": "@daily", "limit": 0}, "`limit` is a whole number"),
        ({"cron": "@daily", "limit": 1.5}, "`limit` is a whole number"),
        ({"cron": "@daily", "pattern": "@daily"}, "not `cron` and `pattern`"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        Timing.of(given)
    assert sentence in str(caught.value)


def test_the_ends_of_time() -> None:
    """S41: epoch 0 and the year 9999 are moments like others."""
    epoch, end = moment(0), datetime(9999, 12, 31, tzinfo=UTC)
    timing = Timing.of({"every": "1h", "start": epoch, "end": end})
    assert timing.next_after(-1) == 0
    last = (end - epoch) // timedelta(milliseconds=1)
    assert timing.next_after(last - HOUR) == last
    assert timing.next_after(last) is None
    far = Timing.of({"cron": "0 0 29 2 *"})
    assert far.next_after(last) is None, "and beyond there is nothing, which is no error"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (0, moment(0)),
        (NOON, moment(NOON)),
        ("2026-03-04T12:00:00Z", moment(NOON)),
        ("2026-03-04T13:00:00+01:00", moment(NOON)),
        (moment(NOON), moment(NOON)),
    ],
)
def test_a_bound_in_the_words_of_bullmq(value: Any, expected: datetime | None) -> None:
    assert as_moment(value, "endDate") == expected


@pytest.mark.parametrize("value", ["soon", True, -1, 1e9, [], 10**17])
def test_what_is_no_bound(value: Any) -> None:
    with pytest.raises(InvalidOption, match="`endDate` is an aware datetime, ISO text"):
        as_moment(value, "endDate")
