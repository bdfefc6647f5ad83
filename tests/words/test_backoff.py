"""Backoff: the waits after failures, their caps, their jitter, and their JSON form."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.backoff import LONGEST_MS, Backoff, RetryPolicy, custom, exponential, fixed
from jobs.durations import Duration
from jobs.errors import InvalidOption

HOUR_MS = 3_600_000


def half() -> float:
    return 0.5


def lowest() -> float:
    return 0.0


def highest() -> float:
    return 1.0


def waits(backoff: Backoff, count: int, random: Callable[[], float] = half) -> list[int]:
    return [backoff.delay_ms(n, random=random) for n in range(1, count + 1)]


def test_fixed_waits_the_same_every_time() -> None:
    assert waits(fixed("1m"), 3) == [60_000, 60_000, 60_000]
    assert waits(fixed(0), 2) == [0, 0]


def test_exponential_doubles_from_its_base() -> None:
    assert waits(exponential(1), 5) == [1000, 2000, 4000, 8000, 16_000]
    assert waits(exponential(timedelta(milliseconds=100), factor=3), 3) == [100, 300, 900]
    assert waits(exponential(1, factor=1.5), 3) == [1000, 1500, 2250]
    assert waits(exponential(7, factor=1), 3) == [7000, 7000, 7000]


def test_five_attempts_have_four_waits() -> None:
    assert RetryPolicy(5, exponential(1)).waits_ms() == [1000, 2000, 4000, 8000]


def test_the_cap_of_an_hour_is_reached_by_twelve_attempts_and_not_by_ten() -> None:
    backoff = exponential(5, max="1h")
    ten = RetryPolicy(10, backoff).waits_ms()
    twelve = RetryPolicy(12, backoff).waits_ms()
    assert max(ten) == 1_280_000 < HOUR_MS
    assert twelve[-2:] == [2_560_000, HOUR_MS]


@pytest.mark.parametrize("failures", [1025, 10_000, 10**9, 10**400])
def test_a_long_row_of_failures_stays_at_the_cap(failures: int) -> None:
    assert exponential(2, max="30m").delay_ms(failures, random=half) == 1_800_000
    assert exponential(2).delay_ms(failures, random=half) == LONGEST_MS
    assert exponential(2, factor=1000).delay_ms(failures, random=half) == LONGEST_MS
    assert exponential("500d").delay_ms(failures, random=half) == 500 * 86_400_000
    assert exponential(0).delay_ms(failures, random=half) == 0


def test_jitter_is_the_share_that_chance_decides() -> None:
    full, equal = exponential(8, jitter=1), exponential(8, jitter=0.5)
    assert [full.delay_ms(1, random=r) for r in (lowest, half, highest)] == [0, 4000, 8000]
    assert [equal.delay_ms(1, random=r) for r in (lowest, half, highest)] == [4000, 6000, 8000]
    assert fixed(10, jitter=0.2).delay_ms(1, random=lowest) == 8000


def test_the_cap_comes_before_the_jitter_so_that_capped_jobs_spread() -> None:
    backoff = exponential(1, max=10, jitter=0.5)
    assert backoff.delay_ms(50, random=lowest) == 5000
    assert backoff.delay_ms(50, random=highest) == 10_000


def test_without_jitter_chance_is_not_asked() -> None:
    def never() -> float:
        raise AssertionError("asked")

    assert exponential(1).delay_ms(1, random=never) == 1000


@given(
    base=st.floats(0.001, 1000),
    factor=st.floats(1, 1000),
    room=st.floats(1, 10_000),
    failures=st.integers(1, 20_000),
)
def test_exponential_grows_and_keeps_its_cap(
    base: float, factor: float, room: float, failures: int
) -> None:
    cap = base * room
    backoff = exponential(base, max=cap, factor=factor)
    here, next_one = waits_at(backoff, failures), waits_at(backoff, failures + 1)
    assert 0 < here <= next_one <= round(cap * 1000) + 1


def waits_at(backoff: Backoff, failures: int) -> int:
    return backoff.delay_ms(failures, random=half)


@given(
    jitter=st.floats(0, 1),
    chance=st.floats(0, 1, exclude_max=True),
    failures=st.integers(1, 100),
)
def test_jitter_only_shortens_and_by_no_more_than_its_share(
    jitter: float, chance: float, failures: int
) -> None:
    plain = exponential(2, max=600).delay_ms(failures, random=half)
    shaken = exponential(2, max=600, jitter=jitter).delay_ms(failures, random=lambda: chance)
    assert plain * (1 - jitter) - 1 <= shaken <= plain


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: fixed(-1), "`delay` is a duration of zero or more"),
        (lambda: fixed(float("nan")), "`delay` is seconds as a number"),
        (lambda: fixed(1, jitter=1.1), "`jitter` is the share of the wait"),
        (lambda: fixed(1, jitter=float("nan")), "`jitter` is the share of the wait"),
        (lambda: fixed(1, jitter=True), "`jitter` is the share of the wait"),
        (lambda: exponential("soon"), "`base` is seconds as a number"),
        (lambda: exponential(1, factor=0.5), "`factor` is a number from 1"),
        (lambda: exponential(1, factor=float("inf")), "`factor` is a number from 1"),
        (lambda: exponential(1, factor=10**400), "`factor` is a number from 1"),
        (lambda: exponential(1, jitter=-0.1), "`jitter` is the share of the wait"),
        (lambda: exponential(1, max=-1), "`max` is a duration of zero or more"),
        (lambda: exponential(10, max=5), "`max` (5 s) is below the first wait (10 s)"),
        (lambda: RetryPolicy(0, fixed(1)), "`attempts` is a whole number from 1"),
        (lambda: RetryPolicy(True, fixed(1)), "`attempts` is a whole number from 1"),
        (lambda: fixed(1).delay_ms(0, random=half), "`failures` counts failed runs from 1"),
        (lambda: custom(lambda: 1), "takes (failures) or (failures, exc)"),  # type: ignore[arg-type]
        (lambda: custom(3), "is a plain function, not 3"),  # type: ignore[arg-type]
    ],
)
def test_refuses_impossible_values(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        make()
    assert sentence in str(caught.value)


def test_custom_gets_the_failures_and_on_wish_the_exception() -> None:
    problem = TimeoutError("slow")

    def by_error(failures: int, exc: BaseException | None) -> Duration:
        return f"{failures}m" if exc is problem else 0

    assert custom(by_error).delay_ms(2, exc=problem, random=half) == 120_000
    assert custom(by_error).delay_ms(2, random=half) == 0
    assert custom(lambda n: timedelta(seconds=n * n)).delay_ms(5, random=half) == 25_000


def test_a_default_of_a_custom_function_is_its_own_and_not_the_exception() -> None:
    def capped(failures: int, most: int = 30) -> int:
        return min(1 << failures, most)

    assert waits(custom(capped), 6)[-2:] == [30_000, 30_000]


def test_a_method_and_a_callable_object_work_as_custom() -> None:
    class Table:
        def __call__(self, failures: int) -> float:
            return failures / 10

        def wait(self, failures: int, exc: BaseException | None) -> float:
            return failures / 100

    assert custom(Table()).delay_ms(1, random=half) == 100
    assert custom(Table().wait).delay_ms(1, random=half) == 10
    assert str(custom(Table())).endswith("Table")


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), None, "soon", True, object()])
def test_a_bad_return_of_a_custom_function_is_named(bad: Any) -> None:
    def oops(failures: int) -> Any:
        return bad

    with pytest.raises(InvalidOption) as caught:
        custom(oops).delay_ms(1, random=half)
    assert "oops" in str(caught.value)
    assert "return value of the backoff function" in str(caught.value)


def test_an_async_function_is_no_backoff() -> None:
    async def later(failures: int) -> int:
        return failures

    with pytest.raises(InvalidOption, match="plain function"):
        custom(later)  # type: ignore[arg-type]


def test_what_a_custom_function_raises_comes_out() -> None:
    def broken(failures: int) -> int:
        raise LookupError(failures)

    with pytest.raises(LookupError):
        custom(broken).delay_ms(1, random=half)


@pytest.mark.parametrize(
    "backoff",
    [
        fixed(0),
        fixed("5m", jitter=0.25),
        exponential(2),
        exponential("250ms", max="1h", factor=1.5, jitter=1),
    ],
)
def test_the_wire_form_is_json_and_reads_back(backoff: Backoff) -> None:
    assert Backoff.from_wire(json.loads(json.dumps(backoff.to_wire()))) == backoff


def test_the_wire_form_is_pinned_since_it_is_stored() -> None:
    assert fixed(5).to_wire() == ["fixed", 5000, 0.0]
    assert exponential(2, max=60).to_wire() == ["exponential", 2000, 2, 60_000, 0.0]


def test_a_function_cannot_be_sent() -> None:
    with pytest.raises(InvalidOption, match=r"give it to @job\(backoff=…\)"):
        custom(lambda n: n).to_wire()


@pytest.mark.parametrize(
    "wire",
    [
        None,
        "fixed",
        [],
        ["fixed"],
        ["fixed", "5", 0],
        ["fixed", -5, 0],
        ["fixed", True, 0],
        ["fixed", 5, None],
        ["fixed", 5, 2],
        ["exponential", 1000, 0, None, 0],
        ["exponential", 1000, 2, 10, 0],
        ["exponential", 1000, 2, "1h", 0],
        ["linear", 5, 0],
        {"fixed": 5},
    ],
)
def test_a_foreign_wire_form_is_refused(wire: object) -> None:
    with pytest.raises(InvalidOption):
        Backoff.from_wire(wire)


def test_the_presets() -> None:
    assert RetryPolicy.standard.waits_ms() == [2000, 4000]
    assert RetryPolicy.aggressive.attempts == 10
    assert RetryPolicy.aggressive.waits_ms()[:3] == [5000, 10_000, 20_000]
    assert RetryPolicy.none.attempts == 1
    assert RetryPolicy.none.waits_ms() == []


@pytest.mark.parametrize(
    ("backoff", "text"),
    [
        (fixed("90s"), "fixed 1 m 30 s"),
        (exponential(2), "exponential 2 s"),
        (
            exponential(2, max="1h", factor=3, jitter=0.3),
            "exponential 2 s x 3, at most 1 h, jitter 0.3",
        ),
    ],
)
def test_reads_well_in_a_table(backoff: Backoff, text: str) -> None:
    assert str(backoff) == text


def test_equal_backoffs_are_equal_and_frozen() -> None:
    assert exponential(2) == exponential("2s") != fixed(2)
    assert len({exponential(2), exponential(2000 / 1000)}) == 1
    with pytest.raises(AttributeError):
        fixed(1).wait_ms = 5  # type: ignore[attr-defined]
