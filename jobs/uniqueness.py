"""Unique jobs: one job has a key, apart from its id; and the keys of groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from pydantic_core import to_json

from jobs.durations import Duration, to_ms
from jobs.errors import InvalidOption, InvalidPayload, did_you_mean

#: Fields of the arguments, by name; dots lead into objects and mappings.
Fields = str | tuple[str, ...]
#: How a key is found: fields of the arguments, or a function of all of them by name.
By = Fields | Callable[[Mapping[str, Any]], Any]
#: What a call does when another job has the key.
CONFLICTS = ("return", "ignore", "raise", "replace", "cancel")
MAX_KEY_BYTES = 200
#: So many characters have no more bytes than that.
SHORT_KEY = MAX_KEY_BYTES // 4


@dataclass(frozen=True, slots=True)
class Unique:
    """One job at a time has a key; how long it has it, and what happens to the others.

    Without more it holds from the enqueue to the end of the job, whatever its attempts. Keys
    belong to the function within its queue.

    Args:
        by: the fields of the arguments that make the key, e.g. `("user_id",)`; or a function of
            the arguments. Default: all arguments.
        key: the key itself, in a call; instead of `by`.
        ttl: hold it for this time from the enqueue, whatever becomes of the job: also after it
            has ended or was removed ("one mail a minute").
        debounce: the quiet time: while further calls come within it, nothing more runs.
        edge: "trailing" (default) runs the last payload when it was quiet; "leading" runs the
            first one at once.
        max_delay: with `debounce`: not longer than this after the first call.
        follow: while the job runs, one more may wait behind it, with the newest payload.

    Raises:
        InvalidOption: options that contradict each other, or a time of nothing.
    """

    by: By | None = None
    key: str | None = None
    ttl: Duration | None = None
    debounce: Duration | None = None
    edge: Literal["leading", "trailing"] = "trailing"
    max_delay: Duration | None = None
    follow: bool = False

    def __post_init__(self) -> None:
        ways = [name for name in ("ttl", "debounce", "follow") if getattr(self, name)]
        if len(ways) > 1:
            raise InvalidOption(f"a job is unique in one way: choose between {' and '.join(ways)}")
        if self.by is not None and self.key is not None:
            raise InvalidOption("give `by`, which finds the key in the arguments, or the `key`")
        if self.edge not in ("leading", "trailing"):
            hint = did_you_mean(str(self.edge), ("leading", "trailing"))
            raise InvalidOption(f'`edge` is "leading" or "trailing", not {self.edge!r}{hint}')
        if self.max_delay is not None and self.debounce is None:
            raise InvalidOption("`max_delay` bounds a `debounce`, so it needs one")
        for name in ("ttl", "debounce", "max_delay"):
            value = getattr(self, name)
            if value is not None and to_ms(value, what=name) < 1:
                raise InvalidOption(f"`{name}` is a time of at least 1 ms, not {value!r}")
        if self.max_delay is not None and to_ms(self.max_delay) < to_ms(self.debounce or 0):
            raise InvalidOption("`max_delay` is not shorter than `debounce`")

    @classmethod
    def of(cls, value: Unique | str | tuple[str, ...] | bool) -> Unique | None:
        """`True`: by all arguments; a tuple: by these fields; text: this key; `False`: not at all.

        Raises:
            InvalidOption: something else.
        """
        match value:
            case Unique():
                return value
            case bool():
                return cls() if value else None
            case str():
                return cls(key=value)
            case tuple():
                return cls(by=value)
        raise InvalidOption(
            f"`unique` is True, a tuple of fields, a key, or Unique(…), not {value!r}"
        )


def unique_key(unique: Unique, function: str, arguments: Callable[[], Mapping[str, Any]]) -> str:
    """The key of one job.

    Raises:
        InvalidPayload: a field that makes the key is not there.
        InvalidOption: the key is not text that can be one.
    """
    if unique.key is not None:
        return named_key(function, str(unique.key))
    values = find(unique.by, function, arguments())
    return f"{function}:{sha256(to_json(values, fallback=repr)).hexdigest()[:32]}"


def named_key(function: str, key: str) -> str:
    """The same for a key that was given as it is.

    Raises:
        InvalidOption: it is not printable text.
    """
    return f"{function}:{_text(key)}"


def group_key(by: By, function: str, arguments: Callable[[], Mapping[str, Any]]) -> str:
    """The key by which a job is limited and takes turns; "" for none (a value of None).

    Raises:
        InvalidPayload: a field that makes the key is not there.
    """
    found = find(by, function, arguments())
    return key_of(found)


def key_of(found: Any) -> str:
    """The text of a key that is a value or a tuple of them; "" for none (a value of None).

    Raises:
        InvalidOption: it is not printable text.
    """
    if isinstance(found, str):
        return _text(found)
    values = found if isinstance(found, tuple) else (found,)
    if all(value is None for value in values):
        return ""
    return _text("/".join(str(value) for value in values))


def check_by(by: By | None) -> By | None:
    """`by`, if a key can be found so.

    Raises:
        InvalidOption: it is neither a field, fields, nor a function.
    """
    if by is None or callable(by):
        return by
    names: tuple[object, ...] = by if isinstance(by, tuple) else (by,)
    if names and all(isinstance(name, str) and name for name in names):
        return by
    raise InvalidOption(
        f"a key is found by the name of a field, a tuple of them, or a function, not by {by!r}"
    )


def check_conflict(policy: object) -> str:
    """What a call does when the id or the unique key is taken.

    Raises:
        InvalidOption: there is no such policy.
    """
    if policy in CONFLICTS:
        return str(policy)
    hint = did_you_mean(policy, CONFLICTS) if isinstance(policy, str) else ""
    words = ", ".join(f'"{word}"' for word in CONFLICTS)
    raise InvalidOption(f"`on_conflict` is one of {words}, not {policy!r}{hint}")


def find(by: By | None, function: str, arguments: Mapping[str, Any]) -> Any:
    """The value of a key; all arguments where nothing says which.

    Raises:
        InvalidPayload: a field is not there.
    """
    if by is None:
        return {name: arguments[name] for name in sorted(arguments)}
    if callable(by):
        return by(arguments)
    if isinstance(by, str):
        return _field(by, function, arguments)
    return tuple(_field(name, function, arguments) for name in by)


def _field(path: str, function: str, arguments: Mapping[str, Any]) -> Any:
    value: Any = arguments
    for name in path.split("."):
        try:
            value = value[name] if isinstance(value, Mapping) else getattr(value, name)
        except (KeyError, AttributeError):
            problem = f"the key of the job needs this field; there are {', '.join(arguments)}"
            raise InvalidPayload(function, [(path, problem)]) from None
    return value


def _text(key: str) -> str:
    """A key as it is stored: long ones by their hash."""
    if not key.isprintable():
        raise InvalidOption(f"a key is printable text, not {key!r}")
    is_short = len(key) <= SHORT_KEY or len(key.encode()) <= MAX_KEY_BYTES
    return key if is_short else sha256(key.encode()).hexdigest()
