"""Rules by exception, waits that errors ask for, timeouts and labels: values and refusals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.backoff import RetryPolicy, fixed
from jobs.errors import InvalidOption
from jobs.job_options import JobOptions
from jobs.labels import check_headers, check_tags
from jobs.layers import effective
from jobs.options import FRAMEWORK_DEFAULTS, Keep
from jobs.retry_rules import (
    LONGEST_RETRY_AFTER_MS,
    Decision,
    check_rules,
    decide,
    describe_rules,
    retry_after_ms,
)
from jobs.timeouts import Timeout

NOW = 1_700_000_000_000.0


class Asks(Exception):
    """An error with whatever attributes a test wants."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        vars(self).update(attributes)


class Broken(Exception):
    """An error whose attributes cannot be read."""

    @property
    def retry_after(self) -> int:
        raise RuntimeError("no attribute")


# -- rules ---------------------------------------------------------------------------------


def test_the_nearest_type_counts_whatever_the_order() -> None:
    one = check_rules({Exception: "retry", OSError: "fail", ConnectionError: "ignore"})
    other = check_rules({ConnectionError: "ignore", OSError: "fail", Exception: "retry"})
    for rules in (one, other):
        assert decide(rules, ConnectionResetError()) == Decision("ignore")
        assert decide(rules, FileNotFoundError()) == Decision("fail")
        assert decide(rules, ValueError()) == Decision("retry")
        assert decide(rules, KeyboardInterrupt()) is None


def test_a_function_that_says_nothing_leaves_it_to_the_next_type() -> None:
    rules = check_rules({ConnectionError: lambda _: None, OSError: "fail"})
    assert decide(rules, ConnectionResetError()) == Decision("fail")


@pytest.mark.parametrize(
    ("rule", "decision"),
    [
        (5, Decision("retry", fixed(5))),
        ("5m", Decision("retry", fixed(300))),
        (timedelta(seconds=1), Decision("retry", fixed(1))),
        (fixed(9), Decision("retry", fixed(9))),
        (RetryPolicy(2, fixed(1)), Decision("retry", fixed(1), 2)),
        ("fail", Decision("fail")),
    ],
    ids=str,
)
def test_what_a_rule_may_be_and_what_its_function_may_return(rule: Any, decision: Decision) -> None:
    assert decide(check_rules({ValueError: rule}), ValueError()) == decision
    assert decide(check_rules({ValueError: lambda _: rule}), ValueError()) == decision


@pytest.mark.parametrize("said", [True, "never", {}, -1, [1]], ids=str)
def test_what_is_no_rule_is_refused(said: Any) -> None:
    with pytest.raises(InvalidOption):
        check_rules({ValueError: said})
    with pytest.raises(InvalidOption, match="return value of the rule for ValueError"):
        decide(check_rules({ValueError: lambda _: said}), ValueError())


def test_rules_for_people() -> None:
    rules = check_rules(
        {OSError: fixed(5), KeyError: RetryPolicy(2, fixed(1))}, no_retry=(ValueError,)
    )
    text = describe_rules(rules)
    assert text == "ValueError: fail, OSError: fixed 5 s, KeyError: 2 attempts, fixed 1 s"


# -- the wait that an error asks for -------------------------------------------------------


@given(seconds=st.integers(0, 86_400))
def test_seconds_of_any_kind(seconds: int) -> None:
    header = SimpleNamespace(headers={"Retry-After": str(seconds)})
    for error in (
        Asks(retry_after=seconds),
        Asks(retry_after=str(seconds)),
        Asks(response=header),
        Asks(headers=header.headers),
    ):
        assert retry_after_ms(error, NOW) == seconds * 1000


def test_moments() -> None:
    at = datetime.fromtimestamp(NOW / 1000, UTC) + timedelta(seconds=90)
    date = at.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert retry_after_ms(Asks(retry_after=at), NOW) == 90_000
    assert retry_after_ms(Asks(headers={"retry-after": date}), NOW) == 90_000
    assert retry_after_ms(Asks(retry_after=at - timedelta(days=1)), NOW) == 0, "it is over"


def test_the_first_that_can_be_read_counts_and_none_is_longer_than_a_day() -> None:
    header = SimpleNamespace(headers={"Retry-After": "7"})
    assert retry_after_ms(Asks(retry_after="soon", response=header), NOW) == 7_000
    assert retry_after_ms(Asks(retry_after=10**9), NOW) == LONGEST_RETRY_AFTER_MS


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        Broken(),
        Asks(retry_after="soon"),
        Asks(retry_after=float("nan")),
        Asks(retry_after=True),
        Asks(retry_after=datetime(2030, 1, 1)),  # noqa: DTZ001 -- naive on purpose
        Asks(headers={"Retry-After": "Someday, 99 Foo"}),
        Asks(headers=None, response=None),
        Asks(headers=[("Retry-After", "5")]),
    ],
    ids=repr,
)
def test_what_asks_for_nothing(error: BaseException) -> None:
    assert retry_after_ms(error, NOW) is None


# -- timeouts ------------------------------------------------------------------------------


def test_a_timeout_in_text_and_on_the_wire() -> None:
    both = Timeout(soft=25, hard="30s")
    assert (str(both), both.to_wire()) == ("soft 25 s, hard 30 s", [30_000, 25_000, 1])
    signal = Timeout(soft=5, hard=0, raises=False)
    assert (str(signal), signal.to_wire()) == ("soft 5 s, signal only, hard none", [0, 5000, 0])
    assert Timeout.of(5).to_wire() == 5000
    assert Timeout.of(both) is both


# -- labels --------------------------------------------------------------------------------


def test_tags_are_kept_once_in_their_order() -> None:
    assert check_tags(["b", "a", "b"]) == ("b", "a")
    assert check_tags(["x" * 128] + [str(n) for n in range(9)])
    for wrong in ("tag", ["x" * 129], [str(n) for n in range(11)], [None], ["\0"], 5):
        with pytest.raises(InvalidOption):
            check_tags(wrong)


def test_headers_are_small_texts() -> None:
    assert check_headers({"trace": "00-ab"}) == {"trace": "00-ab"}
    many = {str(n): "" for n in range(33)}
    wrongs: list[Any] = [[], {"a": 1}, {"": "a"}, {"a": "x" * 4096}, many]
    for wrong in wrongs:
        with pytest.raises(InvalidOption):
            check_headers(wrong)


# -- where an option comes from ------------------------------------------------------------


def test_each_option_has_the_layer_that_says_it() -> None:
    own = JobOptions(retry="none", tags=["own"], retry_on={OSError: "fail"})
    below = JobOptions(attempts=4, timeout=5, tags=["queue"], keep_cancelled=Keep(age=0))
    layers = [("function", own), ("queue", below), ("framework", FRAMEWORK_DEFAULTS)]
    found = {entry.option: (entry.value, entry.source) for entry in effective(layers)}
    assert found["attempts"] == (1, "function")
    assert found["timeout"] == ("5 s", "queue")
    assert found["tags"] == ("own, queue", "function + queue")
    assert found["keep_cancelled"] == ("nothing", "queue")
    assert found["keep_expired"] == ("as keep_completed", "framework")
    assert found["priority"] == (3, "framework")
    assert found["on_exhausted"] == (None, "framework")
