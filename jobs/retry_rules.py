"""What follows from which exception: a policy for each type, and `Retry-After` of the error.

The rule of the nearest type counts, in the order in which Python itself would look for an
`except` of a parent: `{OSError: "fail", ConnectionError: "retry"}` retries a
`ConnectionResetError`, whatever the order of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from jobs.backoff import Backoff, Fixed, RetryPolicy
from jobs.durations import Duration, to_ms, until_ms
from jobs.errors import InvalidOption, did_you_mean

Word: TypeAlias = Literal["retry", "fail", "ignore"]
WORDS: tuple[Word, ...] = ("retry", "fail", "ignore")

#: What a rule may be, or what its function may return; `None`: as without a rule.
Verdict: TypeAlias = Duration | Backoff | RetryPolicy | None
Rule: TypeAlias = Verdict | Callable[[Any], Verdict]
Rules: TypeAlias = Mapping[type[BaseException], Rule]

#: No server makes a job wait longer than this by its `Retry-After`.
LONGEST_RETRY_AFTER_MS = 86_400_000

_EXPECTED = (
    '"retry", "fail", "ignore", a duration, a Backoff, a RetryPolicy, or a function of the '
    "error that returns one of these"
)


class Decision(NamedTuple):
    """What a rule says: the word, and for "retry" its own wait and number of attempts."""

    word: Word
    backoff: Backoff | None = None
    attempts: int | None = None

    def __str__(self) -> str:
        wait = "" if self.backoff is None else str(self.backoff)
        most = "" if self.attempts is None else f"{self.attempts} attempts"
        return ", ".join(part for part in (most, wait) if part) or self.word


#: A rule as it is kept: decided, or a function that decides.
Compiled: TypeAlias = Decision | Callable[[Any], Verdict]


def check_rules(rules: Any, *, no_retry: Any = ()) -> dict[type[BaseException], Compiled]:
    """The rules in their kept form; each type of `no_retry` is a rule "fail".

    Raises:
        InvalidOption: a key is no exception type, a value no rule, or a type stands in both.
    """
    if not isinstance(rules, Mapping):
        raise InvalidOption(f"`retry_on` is a dict of exception types to rules, not {rules!r:.60}")
    final = no_retry if isinstance(no_retry, tuple | list | set | frozenset) else (no_retry,)
    compiled = {_type("no_retry", kind): Decision("fail") for kind in final}
    own: dict[type[BaseException], Compiled] = {}
    for kind, rule in rules.items():
        _type("retry_on", kind)
        own[kind] = _compile(rule, kind)
        if kind in compiled and own[kind] != compiled[kind]:
            raise InvalidOption(
                f"{kind.__name__} is final by `no_retry` and has another rule in `retry_on`: "
                "leave it out of one of them"
            )
    return compiled | own


def decide(rules: Mapping[type[BaseException], Compiled], error: BaseException) -> Decision | None:
    """What the rules say of `error`; `None` if they say nothing.

    Raises:
        InvalidOption: a function returned no rule.
        Exception: whatever a function raised.
    """
    for kind in type(error).__mro__:
        rule = rules.get(kind)
        if rule is None:
            continue
        if isinstance(rule, Decision):
            return rule
        said = rule(error)
        if said is not None:
            return _decision(said, f"return value of the rule for {kind.__name__}")
    return None


def retry_after_ms(error: BaseException, now_ms: float) -> int | None:
    """The wait that an error itself asks for; `None` if it asks for none.

    It is looked for in `error.retry_after` (seconds, a `timedelta`, text, or an aware
    `datetime`) and in the header `Retry-After` (seconds or an HTTP date) of
    `error.response.headers` and `error.headers`. What cannot be read is passed over; a wait is
    at most a day.
    """
    try:
        said = _said(error)
    except Exception:  # noqa: BLE001 -- attributes of any class; reading them may raise anything
        return None
    for found in said:
        wait = _wait_ms(found, now_ms)
        if wait is not None:
            return min(max(0, wait), LONGEST_RETRY_AFTER_MS)
    return None


def describe_rules(rules: Mapping[type[BaseException], Compiled]) -> str:
    """The rules for people: `OSError: fail, Busy: fixed 5 s`."""
    return ", ".join(f"{kind.__name__}: {_describe(rule)}" for kind, rule in rules.items())


def _describe(rule: Compiled) -> str:
    if isinstance(rule, Decision):
        return str(rule)
    return f"as {getattr(rule, '__qualname__', type(rule).__qualname__)} decides"


def _type(option: str, kind: Any) -> type[BaseException]:
    if isinstance(kind, type) and issubclass(kind, BaseException):
        return kind
    raise InvalidOption(f"`{option}` names exception types, not {kind!r:.60}")


def _compile(rule: Any, kind: type[BaseException]) -> Compiled:
    if callable(rule) and not isinstance(rule, Backoff):
        return cast("Callable[[Any], Verdict]", rule)
    return _decision(rule, f"rule for {kind.__name__}")


def _decision(rule: Any, what: str) -> Decision:
    match rule:
        case Decision():
            return rule
        case "retry" | "fail" | "ignore":
            return Decision(cast("Word", rule))
        case Backoff():
            return Decision("retry", rule)
        case RetryPolicy(attempts=attempts, backoff=backoff):
            return Decision("retry", backoff, attempts)
        case str() if rule.isalpha():
            raise InvalidOption(
                f"the {what} is {_EXPECTED}, not {rule!r:.60}{did_you_mean(rule, WORDS)}"
            )
        case bool():
            pass
        case int() | float() | str() | timedelta():
            return Decision("retry", Fixed(to_ms(rule, what=what)))
    raise InvalidOption(f"the {what} is {_EXPECTED}, not {rule!r:.60}")


def _said(error: BaseException) -> list[Any]:
    found = [getattr(error, "retry_after", None)]
    for holder in (getattr(error, "response", None), error):
        headers = getattr(holder, "headers", None)
        get = getattr(headers, "get", None)
        if callable(get):
            found += [get("Retry-After"), get("retry-after")]
    return [value for value in found if value is not None]


def _wait_ms(value: Any, now_ms: float) -> int | None:
    try:
        if isinstance(value, datetime):
            return round(until_ms(value) - now_ms)
        if isinstance(value, str) and "," in value:  # an HTTP date: Sun, 06 Nov 1994 08:49:37 GMT
            return round(until_ms(parsedate_to_datetime(value)) - now_ms)
        return to_ms(value, allow_negative=True)
    except (ValueError, TypeError, AttributeError, OverflowError):  # InvalidOption is a ValueError
        return None
