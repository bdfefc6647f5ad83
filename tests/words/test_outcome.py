"""`resolve`: what follows from each end of an attempt; pure, so every case stands here."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from arq.worker import Retry, RetryJob
from hypothesis import given
from hypothesis import strategies as st

from jobs.backoff import RetryPolicy, custom, exponential, fixed
from jobs.engine.outcome import (
    TEXT_LIMIT,
    AttemptEnd,
    Chance,
    Overdue,
    Raised,
    Resolution,
    Returned,
    Stop,
    Stopped,
    Unrunnable,
    Why,
    describe,
    resolve,
)
from jobs.engine.plans import Plan
from jobs.errors import Cancel, Fail, InvalidOption, InvalidPayload, JobTimedOut, Skip, Snooze
from jobs.retry_rules import check_rules
from jobs.store.queue import Verb

COMPLETED, FAILED = (1, 2, 3), (-1, -1, -1)
PLAN = Plan(
    attempts=3,
    backoff=fixed(5),
    timeout_s=30.0,
    expires_ms=None,
    keep_completed=COMPLETED,
    keep_failed=FAILED,
    retries=True,
)
BOOM = ValueError("boom")


def half() -> float:
    return 0.5


def after(end: AttemptEnd, attempt: int = 1, **plan: Any) -> Resolution:
    resolution = resolve(PLAN.but(**plan), attempt, end, Chance(half))
    assert resolution is not None
    return resolution


# -- ends that are no failures -------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 0, "", {"a": 1}, BOOM])
def test_a_value_completes_the_job(value: object) -> None:
    assert after(Returned(value)) == Resolution(Verb.complete, "completed", COMPLETED, value=value)


@pytest.mark.parametrize("end", [Returned(Skip("off")), Raised(Skip("off"))])
def test_a_skip_completes_the_job_raised_or_returned(end: AttemptEnd) -> None:
    assert after(end) == Resolution(Verb.complete, "skipped", COMPLETED, reason="off")


@pytest.mark.parametrize("end", [Raised(Cancel("old")), Stopped(Stop(Why.cancel, "old"))])
def test_a_cancel_is_not_a_failure(end: AttemptEnd) -> None:
    assert after(end) == Resolution(Verb.cancel, "cancelled", COMPLETED, reason="old")


def test_a_lost_lease_writes_nothing() -> None:
    assert resolve(PLAN, 1, Stopped(Stop(Why.lost)), Chance(half)) is None


@pytest.mark.parametrize("attempt", [1, 3, 99])
def test_a_deploy_gives_the_attempt_back(attempt: int) -> None:
    expected = Resolution(Verb.interrupt, "interrupted", COMPLETED)
    assert after(Stopped(Stop(Why.shutdown)), attempt) == expected


def test_what_nobody_here_can_run_is_parked() -> None:
    expected = Resolution(Verb.park, "parked", COMPLETED, reason="no function")
    assert after(Unrunnable("no function"), attempt=99) == expected


def test_what_was_not_started_in_time_expires() -> None:
    reason = "not started within 1.5 s of being enqueued"
    assert after(Overdue(1_500)) == Resolution(Verb.expire, "expired", COMPLETED, reason=reason)


@pytest.mark.parametrize(
    ("delay", "ms"), [(60, 60_000), ("5m", 300_000), (timedelta(days=1), 86_400_000), (0.25, 250)]
)
@pytest.mark.parametrize("attempt", [1, 3, 99])
def test_a_snooze_uses_no_attempt(delay: object, ms: int, attempt: int) -> None:
    resolution = after(Raised(Snooze(delay)), attempt)
    assert (resolution.verb, resolution.delay_ms) == (Verb.snooze, ms)
    assert resolution.reason == f"snoozed for {delay}"


@pytest.mark.parametrize("delay", [-1, "soon", None, float("nan")])
def test_a_snooze_for_no_duration_is_refused(delay: object) -> None:
    with pytest.raises(InvalidOption, match="Snooze"):
        resolve(PLAN, 1, Raised(Snooze(delay)), Chance(half))


# -- failures ------------------------------------------------------------------------------


def test_a_failure_with_attempts_left_waits_for_the_backoff() -> None:
    for attempt in (1, 2):
        expected = Resolution(Verb.retry, "retried", COMPLETED, 5_000, error=BOOM)
        assert after(Raised(BOOM), attempt) == expected


@pytest.mark.parametrize("attempt", [3, 4])
def test_the_last_failure_is_final(attempt: int) -> None:
    assert after(Raised(BOOM), attempt) == Resolution(Verb.fail, "failed", FAILED, error=BOOM)


@given(attempts=st.integers(1, 50), attempt=st.integers(1, 60))
def test_attempts_are_total_runs(attempts: int, attempt: int) -> None:
    """K1: five attempts have four waits."""
    verb = after(Raised(BOOM), attempt, attempts=attempts).verb
    assert verb is (Verb.retry if attempt < attempts else Verb.fail)


@pytest.mark.parametrize("error", [Fail("no user"), InvalidPayload("f", [("a", "bad")])])
def test_a_permanent_error_is_final_at_once(error: Exception) -> None:
    assert after(Raised(error)) == Resolution(Verb.fail, "failed", FAILED, error=error)


def test_error_types_can_be_named_as_final() -> None:
    rules = check_rules({}, no_retry=(LookupError, TypeError))
    assert after(Raised(KeyError("a")), rules=rules).verb is Verb.fail
    assert after(Raised(BOOM), rules=rules).verb is Verb.retry


def test_a_timeout_is_a_failure_that_says_so() -> None:
    resolution = after(Stopped(Stop(Why.timeout)))
    assert resolution.verb is Verb.retry
    assert isinstance(resolution.error, JobTimedOut)
    assert str(resolution.error) == "the attempt ran longer than its timeout of 30 s"
    assert after(Stopped(Stop(Why.timeout)), 3).verb is Verb.fail
    rules = check_rules({}, no_retry=TimeoutError)
    assert after(Stopped(Stop(Why.timeout)), rules=rules).verb is Verb.fail


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()])
def test_an_error_that_would_end_a_program_is_only_a_failure(error: BaseException) -> None:
    assert after(Raised(error)).verb is Verb.retry
    assert after(Raised(error), 3).verb is Verb.fail


# -- arq's words ---------------------------------------------------------------------------


@pytest.mark.parametrize(("defer", "ms"), [(None, 5_000), (0, 0), (2, 2_000), (0.5, 500)])
def test_arqs_retry_overrides_the_backoff(defer: float | None, ms: int) -> None:
    resolution = after(Raised(Retry(defer=defer)))
    assert (resolution.verb, resolution.delay_ms) == (Verb.retry, ms)
    assert after(Raised(Retry(defer=defer)), 3).verb is Verb.fail


ARQ_RULE = [
    (BOOM, Verb.fail),
    (SystemExit(1), Verb.fail),
    (Retry(), Verb.retry),
    (RetryJob(), Verb.retry),
    (asyncio.CancelledError(), Verb.retry),
    (JobTimedOut(), Verb.retry),
]


@pytest.mark.parametrize(("error", "verb"), ARQ_RULE, ids=lambda v: type(v).__name__)
def test_a_plain_arq_function_keeps_arqs_rule(error: BaseException, verb: Verb) -> None:
    assert after(Raised(error), retries=False).verb is verb


@pytest.mark.parametrize("error", [Retry(defer=1), RetryJob(), asyncio.CancelledError()])
def test_retry_jobs_false_makes_arqs_exceptions_final(error: BaseException) -> None:
    assert after(Raised(error), obeys_retry=False).verb is Verb.fail


# -- waits ---------------------------------------------------------------------------------


def waits(attempts: int, **plan: Any) -> list[int]:
    """The waits between all attempts of a job that always fails, in seconds."""
    ends = [after(Raised(BOOM), n, attempts=attempts, **plan) for n in range(1, attempts + 1)]
    assert ends[-1].verb is Verb.fail
    return [end.delay_ms // 1000 for end in ends[:-1]]


def test_the_tables_of_the_seeds() -> None:
    """K1: the real tables, one wait fewer than attempts."""
    assert waits(5, backoff=exponential(1)) == [1, 2, 4, 8]
    assert waits(3, backoff=exponential(2)) == [2, 4]
    standard, aggressive = RetryPolicy.standard, RetryPolicy.aggressive
    assert waits(standard.attempts, backoff=standard.backoff) == [2, 4]
    assert waits(aggressive.attempts, backoff=aggressive.backoff)[-1] == 1280


def test_a_custom_function_gets_the_failures_so_far() -> None:
    """K2: 1 after the first failure."""
    seen: list[tuple[int, BaseException | None]] = []

    def wait(failures: int, error: BaseException | None) -> int:
        seen.append((failures, error))
        return int(2**failures)

    assert waits(4, backoff=custom(wait)) == [2, 4, 8]
    assert seen == [(1, BOOM), (2, BOOM), (3, BOOM)]


def test_the_cap_holds() -> None:
    """K3: twelve attempts from 5 s reach the hour that ten do not."""
    backoff = exponential(5, max="1h")
    assert max(waits(10, backoff=backoff)) == 1280
    assert waits(12, backoff=backoff)[-2:] == [2560, 3600]


@given(share=st.floats(0, 1), chance=st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_its_share(share: float, chance: float) -> None:
    plan = PLAN.but(backoff=fixed(100, jitter=share))
    resolution = resolve(plan, 1, Raised(BOOM), Chance(lambda: chance))
    assert resolution is not None
    assert 100_000 * (1 - share) - 1 <= resolution.delay_ms <= 100_000


# -- errors as they are kept ---------------------------------------------------------------


def test_an_error_is_kept_by_type_text_and_innermost_frames() -> None:
    def deep(n: int) -> None:
        if not n:
            raise KeyError("x" * 10_000)
        deep(n - 1)

    with pytest.raises(KeyError) as caught:
        deep(50)
    kept = describe(caught.value)
    assert kept["type"] == "KeyError"
    assert len(kept["message"]) == TEXT_LIMIT
    assert len(kept["traceback"]) <= TEXT_LIMIT


def test_an_error_whose_text_cannot_be_made_is_kept_all_the_same() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert describe(Mute())["type"] == "Mute"


def test_an_error_about_an_undecodable_file_name_can_be_written() -> None:
    kept = describe(FileNotFoundError("caf\udce9.txt"))
    assert kept["message"] == "caf\\udce9.txt"
    assert "".join(kept.values()).encode()
