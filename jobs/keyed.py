"""What a request says of groups and uniqueness, as the store takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jobs import registry
from jobs.durations import to_ms
from jobs.errors import InvalidOption
from jobs.store.queue import Flow, Once
from jobs.uniqueness import Unique, check_conflict, group_key, key_of, named_key, unique_key

_UNTIL_END = Once.unfinished, 0, 0


def policy_for(given: Mapping[str, Any], flow: Flow | None) -> str:
    """What happens on a conflict; who waits for quiet, or follows, wants the newest payload."""
    if "on_conflict" in given:
        return check_conflict(given["on_conflict"])
    newest = flow is not None and flow.once in (Once.trailing, Once.following) and flow.unique
    return "replace" if newest else "return"


def flow_for(
    name: str,
    function: registry.Function | None,
    given: Mapping[str, Any],
    args: Sequence[Any],
    kwargs: Any,
) -> Flow | None:
    """The group and the unique key of a job, if it has one of them.

    Args:
        name: of the function.
        function: the function, where its code is known here.
        given: the options of the call.
        args: the arguments as they are written into the body.
        kwargs: those with names, or the model that is written as such.

    Raises:
        InvalidOption: a key that cannot be, or options that contradict each other.
        InvalidPayload: a field that makes a key is not there.
    """
    by, unique = (function.key, function.unique) if function else (None, None)
    unique = given.get("unique", unique)
    if by is None and unique is None and "key" not in given:
        return None

    def arguments() -> Mapping[str, Any]:
        if function is not None:
            return function.signature.by_name(args, kwargs)
        return {str(at): value for at, value in enumerate(args)} | dict(kwargs)

    key = key_of(given.get("key"))
    if by is not None and given.get("key") is None:
        key = group_key(by, name, arguments)
    if unique is None:
        return Flow(key, key) if key else None
    own, (once, once_ms, most_ms) = _own(unique, name, given, arguments)
    return Flow(key, key, own, once, once_ms, most_ms) if key or own else None


def _own(
    unique: Unique | str | tuple[str, ...] | bool,
    name: str,
    given: Mapping[str, Any],
    arguments: Callable[[], Mapping[str, Any]],
) -> tuple[str, tuple[Once, int, int]]:
    """The unique key, or "", and how long it is held."""
    if isinstance(unique, str):
        return named_key(name, unique), _UNTIL_END
    rule = Unique.of(unique)
    if rule is None:
        return "", _UNTIL_END
    if rule.debounce is not None and {"delay", "run_at"} & given.keys():
        raise InvalidOption("a `debounce` says when the job runs: give no `delay` or `run_at`")
    return unique_key(rule, name, arguments), _once(rule)


def _once(unique: Unique) -> tuple[Once, int, int]:
    """How long the unique key is held: in which way, its time in ms, the longest delay in ms."""
    if unique.ttl is not None:
        return Once.period, to_ms(unique.ttl), 0
    if unique.debounce is not None:
        once = Once.leading if unique.edge == "leading" else Once.trailing
        most = 0 if unique.max_delay is None else to_ms(unique.max_delay)
        return once, to_ms(unique.debounce), most
    return (Once.following, 0, 0) if unique.follow else _UNTIL_END
