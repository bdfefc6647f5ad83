"""Options: layers, what each may be, and their way through the envelope of a job."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from jobs.backoff import custom, exponential, fixed
from jobs.engine.plans import plan_for, with_call
from jobs.errors import InvalidOption
from jobs.options import (
    CALL_OPTIONS,
    FRAMEWORK_DEFAULTS,
    KEEP_FOREVER,
    KEEP_NOTHING,
    JobOptions,
    Keep,
    Queue,
    RateLimit,
    check_call_options,
    job_options,
    to_wire,
)
from jobs.registry import Function
from jobs.requests import Preparer, Request
from jobs.signature import Signature

NAMES = [field.name for field in fields(JobOptions)]
DURATIONS = st.integers(0, 10_000) | st.sampled_from(["5m", timedelta(days=1), 0.25])
KEEPS = st.builds(
    Keep,
    age=st.none() | DURATIONS,
    count=st.none() | st.integers(0, 9_999),
    max_bytes=st.none() | st.integers(0, 2**40),
)
BACKOFFS = st.builds(fixed, DURATIONS) | st.builds(exponential, st.integers(1, 60))
OPTIONS = st.builds(
    JobOptions,
    attempts=st.none() | st.integers(1, 10_000),
    backoff=st.none() | BACKOFFS,
    timeout=st.none() | DURATIONS,
    priority=st.none() | st.integers(1, 1000),
    expires=st.none() | DURATIONS.filter(bool),
    keep_completed=st.none() | KEEPS,
    keep_failed=st.none() | KEEPS,
)


async def nothing(ctx: Any) -> None: ...


def function_with(options: JobOptions) -> Function:
    return Function("f", nothing, Signature.of("f", nothing), options=options)


# -- layers --------------------------------------------------------------------------------


@given(layers=st.lists(OPTIONS, min_size=1, max_size=4))
def test_the_highest_layer_that_says_something_holds(layers: list[JobOptions]) -> None:
    resolved = layers[0]
    for layer in layers[1:]:
        resolved = resolved.over(layer)
    for name in NAMES:
        given_values = [getattr(layer, name) for layer in layers]
        said = [value for value in given_values if value is not None]
        assert getattr(resolved, name) == (said[0] if said else None)


@given(a=OPTIONS, b=OPTIONS, c=OPTIONS)
def test_layers_can_be_put_together_in_any_order(
    a: JobOptions, b: JobOptions, c: JobOptions
) -> None:
    assert a.over(b).over(c) == a.over(b.over(c))
    assert a.over(JobOptions()) == a == JobOptions().over(a)


def test_the_frameworks_defaults_are_complete_but_for_limits_and_hooks() -> None:
    unset = [name for name in NAMES if getattr(FRAMEWORK_DEFAULTS, name) is None]
    assert unset == [
        "expires", "retry_for", "max_starts", "retry_on", "on_exhausted", "keep_cancelled",
        "keep_expired", "tags", "headers",
    ]  # fmt: skip
    assert (FRAMEWORK_DEFAULTS.attempts, FRAMEWORK_DEFAULTS.priority) == (3, 3)


@given(queue=OPTIONS, own=OPTIONS, call=OPTIONS)
def test_a_worker_reads_the_layers_as_the_producer_wrote_them(
    queue: JobOptions, own: JobOptions, call: JobOptions
) -> None:
    """The call's layer travels in the envelope as JSON; the others are the worker's own."""
    wire = from_json(to_json(to_wire(call)))
    sent = with_call(plan_for(function_with(own), queue), wire)
    local = plan_for(function_with(call.over(own)), queue)
    assert sent == local


@given(own=OPTIONS, call=OPTIONS)
def test_priority_is_decided_by_the_producer(own: JobOptions, call: JobOptions) -> None:
    wire = to_wire(call)
    assert "priority" not in wire
    assert from_json(to_json(wire)).keys() <= CALL_OPTIONS


def test_a_custom_backoff_stays_with_its_function() -> None:
    options = JobOptions(backoff=custom(lambda failures: failures))
    assert plan_for(function_with(options), JobOptions()).backoff is options.backoff
    with pytest.raises(InvalidOption, match="cannot be sent with one job"):
        to_wire(options)


# -- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"attempts": 0}, r"`attempts` is a whole number from 1 to 10,000, not 0"),
        ({"attempts": 10_001}, "not 10001"),
        ({"attempts": True}, "not True"),
        ({"attempts": 2.0}, "not 2.0"),
        ({"attempts": "3"}, "not '3'"),
        ({"priority": 0}, r"`priority` is a whole number from 1 to 1,000, not 0"),
        ({"priority": 1001}, "not 1001"),
        ({"priority": -1}, "not -1"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"expires": float("nan")}, "expires"),
        ({"expires": float("inf")}, "expires"),
    ],
)
def test_a_job_option_says_what_it_takes(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidOption, match=sentence):
        JobOptions(**options)
    with pytest.raises(ValueError, match=sentence):
        job_options(options)


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        ({"count": -1}, "`count` of Keep is a whole number of 0 or more, not -1"),
        ({"max_bytes": -5}, "`max_bytes` of Keep is .*, not -5"),
        ({"count": "5"}, "not '5'"),
        ({"count": 1.5}, "not 1.5"),
        ({"max_bytes": True}, "not True"),
        ({"age": -1}, "age"),
        ({"age": "later"}, "age"),
    ],
)
def test_retention_says_what_it_takes(keep: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidOption, match=sentence):
        Keep(**keep)


def test_retention_as_the_scripts_take_it() -> None:
    assert KEEP_FOREVER.limits() == (-1, -1, -1)
    assert KEEP_NOTHING.limits() == (0, -1, -1)
    assert Keep(age="1m", count=5, max_bytes=0).limits() == (60_000, 5, 0)


@pytest.mark.parametrize(
    ("queue", "sentence"),
    [
        ({"name": ""}, "name of a queue"),
        ({"name": "a", "concurrency": 0}, "`concurrency` is a whole number from 1 to 100,000"),
        ({"name": "a", "concurrency": True}, "not True"),
        ({"name": "a", "rate": "fast"}, "30/s"),
        ({"name": "a", "rate": "0/s"}, "1 or more"),
        ({"name": "a", "rate": "5/0s"}, "rate"),
    ],
)
def test_a_queue_says_what_it_takes(queue: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidOption, match=sentence):
        Queue(**queue)


@pytest.mark.parametrize(("limit", "period_ms"), [(0, 1000), (-1, 1000), (1, 0), (1, -5), (1.5, 9)])
def test_a_rate_that_would_mean_no_limit_is_refused(limit: int, period_ms: int) -> None:
    """For the scripts a limit of 0 means that there is none."""
    with pytest.raises(InvalidOption):
        RateLimit(limit, period_ms)


def test_a_rate_is_read_from_text() -> None:
    assert Queue("a", rate="10/30s").rate == RateLimit(10, 30_000)
    assert RateLimit.of(RateLimit(1, 2)) == RateLimit(1, 2)
    assert Queue("arq:queue").name == "default"


# -- options of a call ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "meant"),
    [("dealy", "delay"), ("prioriti", "priority"), ("job_id", None), ("attempt", "attempts")],
)
def test_an_unknown_option_is_named_with_the_nearest_known_one(
    word: str, meant: str | None
) -> None:
    with pytest.raises(InvalidOption) as caught:
        check_call_options({word: 1})
    assert f"`enqueue` has no option {word!r}" in str(caught.value)
    assert (f"did you mean {meant!r}" in str(caught.value)) == (meant is not None)
    assert all(name in str(caught.value) for name in CALL_OPTIONS)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"delay": 1, "run_at": datetime(2030, 1, 1, tzinfo=UTC)}, "`delay` or `run_at`, not both"),
        ({"delay": float("nan")}, "delay"),
        ({"delay": float("inf")}, "delay"),
        ({"run_at": datetime(2030, 1, 1)}, "run_at"),  # noqa: DTZ001 -- the point of the test
        ({"id_ttl": 5}, "`id_ttl` keeps an id taken, so it needs an `id`"),
        ({"id": "a", "id_ttl": -5}, "id_ttl"),
        ({"id": ""}, "1 to 256 bytes"),
        ({"on_conflict": "replac"}, "(did you mean 'replace'?)"),
        ({"queue": "a\nb"}, "control characters"),
        ({"attempts": 0}, "attempts"),
        ({"backoff": custom(lambda n: n)}, "cannot be sent"),
    ],
)
def test_an_impossible_call_is_refused_before_anything_is_sent(
    options: dict[str, Any], sentence: str
) -> None:
    """S41, the refused half."""
    with pytest.raises(InvalidOption, match=sentence):
        Preparer().prepare(Request("f", (), {}, options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "delay_ms", "due_ms"),
    [
        ({}, 0, 0),
        ({"delay": 0}, 0, 0),
        ({"delay": -5}, 0, 0),
        ({"delay": "1m"}, 60_000, 0),
        ({"run_at": datetime(1970, 1, 1, tzinfo=UTC)}, 0, 1),
        ({"run_at": datetime(1900, 1, 1, tzinfo=UTC)}, 0, 1),
        ({"run_at": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)}, 0, 253_402_300_799_000),
    ],
)
def test_a_moment_that_is_over_means_now(
    options: dict[str, Any], delay_ms: int, due_ms: int
) -> None:
    """S41, the accepted half: epoch 0 and a negative delay run now, year 9999 is stored."""
    entry = Preparer().prepare(Request("f", (), {}, options)).entry  # type: ignore[arg-type]
    assert (entry.delay_ms, entry.due_ms) == (delay_ms, due_ms)
