"""Filters and their query language, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import Filter, JobInfo, State
from jobs.errors import InvalidFilter
from jobs.operations.filters import Window

NOW = 1_700_000_000_000
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)
NAMES = st.lists(st.text("abc_*?", min_size=1), max_size=2)


def info(**others: Any) -> JobInfo:
    at = datetime.fromtimestamp(NOW / 1000, UTC)
    values: dict[str, Any] = {
        "id": "j1", "queue": "q", "state": State.failed, "function": "f", "args": [],
        "kwargs": {}, "options": {}, "priority": 3, "failures": 1, "losses": 0,
        "interruptions": 0, "enqueued_at": at - timedelta(hours=1), "due_at": None,
        "finished_at": at, "history": [{"error": {"type": "E", "message": "Disk full"}}],
    }  # fmt: skip
    return JobInfo(**values | others)


@given(
    states=st.lists(st.sampled_from(State), max_size=2),
    queues=NAMES,
    functions=NAMES,
    tags=st.lists(TEXT, max_size=2),
    errors=st.lists(TEXT, max_size=2),
    text=st.lists(TEXT, max_size=2),
    payload=st.dictionaries(st.text("abc.", min_size=1), TEXT, max_size=2),
    since=st.none() | st.just("1h") | st.datetimes(timezones=st.just(UTC)),
)
def test_a_filter_as_text_is_the_same_filter(**parts: Any) -> None:
    chosen = Filter(**parts)
    again = Filter.parse(str(chosen))
    assert again == chosen
    assert str(again) == str(chosen)


@given(st.text(max_size=40))
def test_any_text_is_a_query_or_said_to_be_none(text: str) -> None:
    try:
        chosen = Filter.parse(text)
    except InvalidFilter:
        return
    assert Filter.parse(str(chosen)) == chosen


def test_one_text_stands_for_a_list() -> None:
    assert Filter(queues="email", states="failed") == Filter(
        queues=["email"], states=[State.failed]
    )


@pytest.mark.parametrize(
    ("chosen", "empty"),
    [
        (Filter(), True),
        (Filter(by="finished"), True),
        (Filter(states=[]), True),
        (Filter(since=0), False),
        (Filter(queues=["q"]), False),
        (Filter(payload={"a": None}), False),
    ],
)
def test_what_narrows_nothing_is_empty(chosen: Filter, empty: bool) -> None:
    assert chosen.empty is empty


def test_relative_times_are_fixed_once() -> None:
    chosen = Filter(since="1h", until="10m").at(NOW)
    assert chosen.window == Window(NOW - 3_600_000, NOW - 600_000)
    assert chosen.at(NOW + 99) == chosen
    assert chosen.window.holds(NOW - 3_600_000)
    assert not chosen.window.holds(NOW - 600_000), "until is exclusive"


def test_moments() -> None:
    day = Filter(since="2026-12-01T14:00+01:00").window
    assert day.since_ms == datetime(2026, 12, 1, 13, tzinfo=UTC).timestamp() * 1000
    today = Filter(since="14:00").since
    assert isinstance(today, datetime)
    assert (today.hour, today.minute, today.tzinfo is None) == (14, 0, False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"states": ["faild"]}, {"queues": [""]}, {"tags": [7]}, {"since": "soon"},
        {"until": -5}, {"since": datetime(2026, 1, 1)}, {"by": "started"},  # noqa: DTZ001 -- the error
    ],
)  # fmt: skip
def test_what_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidFilter):
        Filter(**wrong)


@pytest.mark.parametrize(
    ("query", "job", "fits"),
    [
        ("args.n:5", info(kwargs={"n": 5}), True),
        ("args.n:5", info(kwargs={"n": "5"}), True),
        ("args.n:5", info(kwargs={"n": 50}), False),
        ("args.n:1", info(kwargs={"n": True}), False),
        ("args.n:true", info(kwargs={"n": True}), True),
        ("args.n:null", info(kwargs={"n": None}), True),
        ("args.n:null", info(kwargs={}), False),
        ("args.list.1:b", info(kwargs={"list": ["a", "b"]}), True),
        ("args.list.9:b", info(kwargs={"list": ["a", "b"]}), False),
        ("args.to:x", info(args=[{"to": "x"}]), True),
        ("args.1:x", info(args=["a", "x"]), True),
        ("error:disk error:FULL", info(), True),
        ("error:e:", info(), True),
        ("error:disk", info(state=State.completed), False),
        ("disk", info(state=State.delayed, finished_at=None), True),
        ("id:j job:f* state:failed,expired", info(), True),
        ("job:F", info(), False),
        ("tag:a", info(options={"tags": ["a", "b"]}), True),
        ("tag:a tag:c", info(options={"tags": ["a", "b"]}), False),
        ("tag:a", info(options={"tags": "abc"}), False),
        ("since:30m", info(), True),
        ("since:30m by:enqueued", info(), False),
        ("since:30m by:finished", info(finished_at=None), False),
        ("until:30m", info(finished_at=None), True),
    ],
)
def test_what_fits(query: str, job: JobInfo, fits: bool) -> None:
    assert Filter.parse(query).at(NOW + 1).matches(job) is fits


@pytest.mark.parametrize(
    ("query", "state", "by_order"),
    [
        ("", State.waiting, True),
        ("queue:q state:failed since:1h", State.failed, True),
        ("since:1h", State.waiting, False),
        ("since:1h by:enqueued", State.failed, False),
        ("id:a", State.failed, False),
        ("tag:a", State.failed, False),
    ],
)
def test_where_the_order_alone_tells(query: str, state: State, by_order: bool) -> None:
    assert Filter.parse(query).is_by_order(state) is by_order
