"""Which jobs: a filter, and the small language in which people write one.

    state:failed queue:email job:send_* tag:vip error:"timed out" since:1h args.to:ada@example.com

Words without a name are looked for in the id, the function, the payload and the error. All parts
must hold; of several states, queues, functions or ids one is enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple, Self, TypeAlias, cast

from pydantic_core import to_json

from jobs import clock
from jobs.durations import Duration, to_ms, until_ms
from jobs.errors import InvalidFilter, InvalidOption, did_you_mean
from jobs.handle import JobInfo
from jobs.operations.payloads import has_value
from jobs.states import TERMINAL, State

#: How long ago, or a moment.
When: TypeAlias = Duration | datetime
TimeKind = Literal["enqueued", "finished"]

_KEYS = {
    "state": "states",
    "queue": "queues",
    "job": "functions",
    "id": "ids",
    "tag": "tags",
    "error": "errors",
    "text": "text",
    "since": "since",
    "until": "until",
    "by": "by",
}
_ALIASES = {"function": "job", "name": "job"}
_PAYLOAD = "args."
_LISTS = ("queues", "functions", "ids", "tags", "errors", "text")
#: Parts whose values may be given as `a,b`.
_MANY = {"states", "queues", "functions", "ids"}
_TOKEN = re.compile(
    r'(?:(?P<key>[A-Za-z][\w.-]*):)?(?P<value>"(?:[^"\\]|\\.)*"|[^\s"]\S*|$)(?=\s|$)'
)
_UNCLOSED = re.compile(r'[A-Za-z][\w.-]*:"(?:[^"\\]|\\.)*$')
_HOUR = re.compile(r"[0-2]?\d:\d\d(:\d\d)?")


class Window(NamedTuple):
    """A time from one ms on until before another; `None` for no limit."""

    since_ms: int | None = None
    until_ms: int | None = None

    def holds(self, ms: float) -> bool:
        """Whether a moment lies in it."""
        return (self.since_ms is None or ms >= self.since_ms) and (
            self.until_ms is None or ms < self.until_ms
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which jobs; every part narrows the choice, and one without parts means all jobs.

    Args:
        states: jobs in one of these states.
        queues: in one of these queues; a name may have the wildcards `* ? [ab]`.
        functions: of one of these functions, by name or with the same wildcards.
        ids: whose id begins with one of these texts.
        tags: with all of these tags.
        errors: whose last error has each of these texts in its type or message, in whatever case.
        text: that have each of these texts in id, function, payload or error.
        payload: whose arguments have these values: `{"to": "ada@example.com"}`, a path for what
            is inside (`"address.city"`), a number for a positional argument (`"0"`).
        since, until: from this moment on, and before that one: a duration ago ("1h"), an aware
            datetime, or text ("2026-12-01T14:00+01:00", "14:00" today).
        by: the moment that counts: "enqueued" or "finished"; by default the end of ended jobs
            and the enqueue of others.

    Raises:
        InvalidFilter: a state that does not exist, a time that is none, an empty text.
    """

    states: Sequence[State | str] = ()
    queues: Sequence[str] = ()
    functions: Sequence[str] = ()
    ids: Sequence[str] = ()
    tags: Sequence[str] = ()
    errors: Sequence[str] = ()
    text: Sequence[str] = ()
    payload: Mapping[str, Any] = field(default_factory=dict)
    since: When | None = None
    until: When | None = None
    by: TimeKind | None = None

    def __post_init__(self) -> None:
        own = object.__setattr__
        states = [self.states] if isinstance(self.states, str) else self.states
        own(self, "states", tuple(dict.fromkeys(map(_state, states))))
        for name in _LISTS:
            own(self, name, _texts(name, getattr(self, name)))
        own(self, "payload", dict(self.payload))
        for name in ("since", "until"):
            own(self, name, _when(name, getattr(self, name)))
        if self.by not in (None, "enqueued", "finished"):
            hint = did_you_mean(str(self.by), ("enqueued", "finished"))
            raise InvalidFilter(f'`by` is "enqueued" or "finished", not {self.by!r}{hint}')

    @classmethod
    def of(cls, value: Filter | str | None) -> Filter:
        """A filter, the one that a query says, or the one of all jobs.

        Raises:
            InvalidFilter: the query is none.
        """
        if isinstance(value, Filter):
            return value
        return cls.parse(value) if value else cls()

    @classmethod
    def parse(cls, query: str) -> Self:
        """The filter that a text such as `state:failed error:"timed out" since:1h` says.

        Raises:
            InvalidFilter: names what is not understood, and the nearest that would be.
        """
        found: dict[str, Any] = {}
        payload: dict[str, Any] = {}
        for key, value in _tokens(query):
            if key.startswith(_PAYLOAD):
                payload[key.removeprefix(_PAYLOAD)] = value
                continue
            name = _part(key)
            if name in {"since", "until", "by"}:
                if name in found:
                    raise InvalidFilter(f"{key!r} is given twice in the query {query!r}")
                found[name] = value
            else:
                values = value.split(",") if name in _MANY else [value]
                found.setdefault(name, []).extend(values)
        return cls(**found, payload=payload)

    @property
    def empty(self) -> bool:
        """Whether nothing narrows the choice."""
        parts = (getattr(self, f.name) for f in fields(self) if f.name != "by")
        return all(part in (None, (), {}) for part in parts)

    def at(self, now_ms: int) -> Filter:
        """The same with relative times fixed at a moment."""
        return replace(self, since=_fixed(self.since, now_ms), until=_fixed(self.until, now_ms))

    @property
    def window(self) -> Window:
        """The time that is meant; relative times must have been fixed by `at`."""
        return Window(_ms(self.since), _ms(self.until))

    def is_by_order(self, state: State) -> bool:
        """Whether the order of a state's set alone tells which of its jobs match."""
        timed = self.since is not None or self.until is not None
        by_order = not timed or (state in TERMINAL and self.by != "enqueued")
        return by_order and not (
            self.functions or self.ids or self.tags or self.errors or self.text or self.payload
        )

    def takes_queue(self, name: str) -> bool:
        """Whether jobs of this queue are meant."""
        return not self.queues or _is_one_of(name, self.queues)

    def matches(self, info: JobInfo) -> bool:
        """Whether one job is meant; relative times must have been fixed by `at`."""
        return (
            (not self.states or info.state in self.states)
            and (not self.ids or info.id.startswith(tuple(self.ids)))
            and (not self.functions or _is_one_of(info.function, self.functions))
            and set(self.tags) <= tags_of(info)
            and self._matches_time(info)
            and self._matches_texts(info)
            and all(has_value(info, path, value) for path, value in self.payload.items())
        )

    def _matches_time(self, info: JobInfo) -> bool:
        if self.since is None and self.until is None:
            return True
        at = info.enqueued_at if self.by == "enqueued" else info.finished_at
        if at is None and self.by is None:
            at = info.enqueued_at
        return at is not None and self.window.holds(at.timestamp() * 1000)

    def _matches_texts(self, info: JobInfo) -> bool:
        if not self.errors and not self.text:
            return True
        error = error_text(info).casefold()
        if not all(part.casefold() in error for part in self.errors):
            return False
        payload = to_json([info.args, info.kwargs], fallback=str, inf_nan_mode="constants")
        everything = f"{info.id}\n{info.function}\n{payload.decode()}\n{error}".casefold()
        return all(part.casefold() in everything for part in self.text)

    def __str__(self) -> str:
        parts: list[str] = []
        for key, name in _KEYS.items():
            value = getattr(self, name)
            if name in _MANY:
                parts += [f"{key}:{_quoted(','.join(value))}"] if value else []
            elif name in _LISTS:
                parts += [f"{key}:{_quoted(item)}" for item in value]
            elif value is not None:
                parts.append(f"{key}:{_quoted(_time_text(value))}")
        parts += [f"{_PAYLOAD}{k}:{_quoted(_plain(v))}" for k, v in self.payload.items()]
        return " ".join(parts)


def tags_of(info: JobInfo) -> set[str]:
    """The tags of a job."""
    tags = info.options.get("tags")
    return set(tags) if isinstance(tags, list | tuple) else set()


def error_text(info: JobInfo) -> str:
    """`TypeOfError: its message` of a job that did not complete, or nothing."""
    error = info.error if info.state is not State.completed else None
    return f"{error.get('type', '')}: {error.get('message', '')}" if error else ""


def _is_one_of(name: str, patterns: Sequence[str]) -> bool:
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


def _state(value: State | str) -> State:
    try:
        return State(value)
    except ValueError:
        raise InvalidFilter(
            f"there is no state {value!r}{did_you_mean(str(value), map(str, State))}; "
            f"the states are {', '.join(State)}"
        ) from None


def _texts(name: str, value: Any) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value)
    for text in texts:
        if not isinstance(text, str) or not text:
            raise InvalidFilter(f"`{name}` of a filter takes text that is not empty, not {text!r}")
    return texts


def _when(name: str, value: Any) -> When | None:
    """A time of a filter: a duration as it is, anything else as an aware datetime."""
    if value is None or (isinstance(value, datetime) and value.tzinfo):
        return cast("When | None", value)
    try:
        if isinstance(value, datetime):
            until_ms(value, what=name)
        else:
            to_ms(value, what=name)
    except InvalidOption as error:
        if isinstance(value, str):
            return _moment(name, value)
        raise InvalidFilter(str(error)) from None
    return cast("When", value)


def _moment(name: str, text: str) -> datetime:
    zone = clock.system_zone()
    try:
        if _HOUR.fullmatch(text):
            today = clock.from_ms(clock.now_ms()).astimezone(zone).date().isoformat()
            text = f"{today}T{text.rjust(5, '0')}"
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidFilter(
            f'`{name}` is a duration ago such as "1h", or a moment such as '
            f'"2026-12-01T14:00+01:00" or "14:00", not {text!r}'
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=zone)


def _fixed(when: When | None, now_ms: int) -> When | None:
    if when is None or isinstance(when, datetime):
        return when
    return clock.from_ms(max(0, now_ms - to_ms(when)))


def _ms(when: When | None) -> int | None:
    if when is None:
        return None
    assert isinstance(when, datetime)  # noqa: S101 -- `at` was called
    return until_ms(when)


def _part(key: str) -> str:
    name = _KEYS.get(_ALIASES.get(key, key))
    if name is None:
        known = [*_KEYS, *_ALIASES]
        raise InvalidFilter(
            f"a query has no part {key!r}{did_you_mean(key, known)}; it has "
            f'{", ".join(_KEYS)} and args.<field>; text with a colon is quoted: "{key}:…"'
        )
    return name


def _tokens(query: str) -> list[tuple[str, str]]:
    found = []
    at = len(query) - len(query.lstrip())
    while at < len(query):
        match = _TOKEN.match(query, at)
        if match is None or match.end() == at or _UNCLOSED.match(match[0]):
            raise InvalidFilter(f"a quote is not closed in the query: {query[at:]!r}")
        value = match["value"]
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        if not value or (match["key"] is None and value.endswith(":")):
            raise InvalidFilter(f"a value is missing in the query behind {match[0]!r}")
        found.append((match["key"] or "text", value))
        at = match.end() + len(query[match.end() :]) - len(query[match.end() :].lstrip())
    return found


def _quoted(text: str) -> str:
    if text and not re.search(r'[\s":\\]', text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _time_text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return f"{to_ms(value)}ms" if isinstance(value, timedelta) else str(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value, fallback=str).decode()
