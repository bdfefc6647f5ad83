"""An example of a payload, made from its JSON schema and tried until the function takes it.

A schema does not say everything: validators of one field and of several are code. So an example
is a draft, which what is wrong with it helps to repair.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from itertools import combinations
from typing import Any

#: What is wrong with a payload: (dotted field, problem) of each error.
Judge = Callable[[Mapping[str, Any]], list[tuple[str, str]]]

#: Schemas may contain themselves; deeper than this an example has nothing optional.
DEEPEST = 6
#: Most times that one draft is repaired.
REPAIRS = 60
#: Defaults that say nothing.
EMPTY: tuple[Any, ...] = (None, "", [], {})
#: With more optional fields than this, no two of them are tried together.
MOST_PAIRED = 15

FORMATS = {
    "date-time": "2026-12-01T09:00:00Z",
    "date": "2026-12-01",
    "time": "09:00:00",
    "duration": "PT5M",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "uuid": "6f0c5a4e-8d0b-4c43-9a3e-2f4b1c9d7e10",
    "uuid4": "6f0c5a4e-8d0b-4c43-9a3e-2f4b1c9d7e10",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "ipvanyaddress": "192.0.2.1",
    "ipv4network": "192.0.2.0/24",
    "ipv6network": "2001:db8::/32",
    "ipvanynetwork": "192.0.2.0/24",
    "base64": "ZXhhbXBsZQ==",
    "base64url": "ZXhhbXBsZQ==",
    "json-string": "{}",
    "directory-path": ".",
}
#: Tried in this order where the schema does not say what text is taken, or says it by a pattern.
TEXTS = (
    "example", "ada@example.com", "https://example.com/", "Example", "EXAMPLE", "1", "a", "A", "en",
    "DE", "EUR", "example.event", "example-1", "example_1", "user:1", "2999-12-31T09:00:00Z",
    "2999-12-31", "2000-01-01T09:00:00Z", "2000-01-01", "2000-01-01T09:00:00", "09:00:00", "09:00",
    "12345", "12345678", "+4930123456", "#336699", "1.0.0", "1.50", "/example", "example.txt",
    "Europe/Berlin", "en-GB", "en_GB", "example.com", "redis://localhost:6379/0",
    "postgresql://localhost/example", "s3://example/example.txt", "evt_example", "{}", "[]",
)  # fmt: skip
#: Tried first in fields with such names.
NAMED = {"url": FORMATS["uri"], "uri": FORMATS["uri"], "mail": FORMATS["email"]}
NUMBERS = (1, 0, 2, 10, 100, 1000, 0.5, -1, 2026, 3, 5, 7)


def example_of(
    schema: Mapping[str, Any], judge: Judge
) -> tuple[dict[str, Any] | None, list[tuple[str, str]]]:
    """A payload that `judge` has nothing against, and nothing; else `None`, and what was wrong
    with the plainest one.
    """
    wrong: list[tuple[str, str]] = []
    for draft in _drafts(schema):
        found, problems = _repaired(draft, judge)
        if found is not None:
            return found, []
        wrong = wrong or problems
    return None, wrong


def _drafts(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema's own examples; what is required with the defaults; more and more beside it."""
    yield from (dict(item) for item in schema.get("examples", ()) if isinstance(item, Mapping))
    maker = Maker(schema)
    base = maker.make(schema, 0)
    if not isinstance(base, dict):
        return
    yield base
    required = set(schema.get("required", ()))
    yield {name: value for name, value in base.items() if name in required}
    properties = schema.get("properties", {})
    left = {
        name: maker.make(part, 1, name) for name, part in properties.items() if name not in base
    }
    for count in (1, 2) if len(left) <= MOST_PAIRED else (1,):
        for names in combinations(left, count):
            yield base | {name: deepcopy(left[name]) for name in names}


# -- repair ------------------------------------------------------------------------------


def _repaired(
    draft: dict[str, Any], judge: Judge
) -> tuple[dict[str, Any] | None, list[tuple[str, str]]]:
    """The draft, with texts and numbers changed where it was refused until it is not."""
    tried: dict[str, int] = {}
    value, first = deepcopy(draft), None
    for _ in range(REPAIRS):
        problems = judge(value)
        if not problems:
            return value, []
        first = first or problems
        changes = [_change(value, path.split("."), tried) for path, _ in problems]
        if not any(changes):
            break
    return None, first or []


def _change(value: Any, path: list[str], tried: dict[str, int]) -> bool:
    """Put the next candidate where the path leads; whether there was one."""
    at, place = value, None
    for step in path:
        key: Any = int(step) if isinstance(at, list) and step.isdigit() else step
        if not _has(at, key):
            break  # the rest names a choice of a union
        place, at = (at, key), at[key]
    if place is None or not isinstance(at, str | int | float) or isinstance(at, bool):
        return False
    name = ".".join(path)
    candidates: tuple[Any, ...] = TEXTS if isinstance(at, str) else NUMBERS
    number = tried.get(name, 0)
    if number >= len(candidates):
        return False
    tried[name] = number + 1
    place[0][place[1]] = candidates[number]
    return True


def _has(at: Any, key: Any) -> bool:
    if isinstance(at, dict):
        return key in at
    return isinstance(at, list) and isinstance(key, int) and key < len(at)


# -- values ------------------------------------------------------------------------------


class Maker:
    """Makes values of the schemas inside one document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._definitions: Mapping[str, Any] = document.get("$defs", {})

    def make(self, schema: Mapping[str, Any], depth: int, name: str = "") -> Any:
        """A value of this schema: its example, default or constant, else a plain one, which may
        follow the name of its field.
        """
        schema = self._whole(schema)
        if schema.get("examples"):
            return deepcopy(schema["examples"][0])
        if schema.get("default") is not None:
            return deepcopy(schema["default"])
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        if choices := schema.get("anyOf") or schema.get("oneOf"):
            return self._one_of(choices, depth, name)
        kinds: dict[str, Callable[[Mapping[str, Any], int], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": lambda part, _: text(part, name),
            "integer": lambda part, _: number(part, whole=True),
            "number": lambda part, _: number(part, whole=False),
            "boolean": lambda *_: True,
            "null": lambda *_: None,
        }
        make = kinds.get(str(schema.get("type")))
        return make(schema, depth) if make else TEXTS[0]

    def _whole(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema with what it refers to."""
        parts = schema.get("allOf", ())
        whole = {name: part for name, part in schema.items() if name not in ("$ref", "allOf")}
        if "$ref" in schema:
            name = str(schema["$ref"]).rpartition("/")[2]
            whole = {**self._whole(self._definitions.get(name, {})), **whole}
        for part in parts:
            whole = {**self._whole(part), **whole}
        return whole

    def _one_of(self, choices: list[Mapping[str, Any]], depth: int, name: str) -> Any:
        nothing = any(choice.get("type") == "null" for choice in choices)
        if nothing and depth >= DEEPEST:
            return None
        real = [choice for choice in choices if choice.get("type") != "null"]
        return self.make(real[0], depth, name) if real else None

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties", {})
        required = set(schema.get("required", ()))
        if depth > 2 * DEEPEST:  # it must contain itself: no value is finite
            return {}
        chosen = {
            name: part
            for name, part in properties.items()
            if name in required
            or (depth < DEEPEST and self._whole(part).get("default") not in EMPTY)
        }
        made = {name: self.make(part, depth + 1, name) for name, part in chosen.items()}
        others = schema.get("additionalProperties")
        for count in range(len(made), int(schema.get("minProperties", 0))):
            part = others if isinstance(others, Mapping) else {}
            made[f"example{count or ''}"] = self.make(part, depth + 1)
        return made

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        fixed = [self.make(part, depth + 1) for part in schema.get("prefixItems", ())]
        least = int(schema.get("minItems", 0 if depth >= DEEPEST or fixed else 1))
        wanted = min(least, int(schema.get("maxItems", least)))
        part = schema.get("items", {})
        more = range(len(fixed), wanted) if isinstance(part, Mapping) else ()
        items = [self.make(part, depth + 1) for _ in more]
        return fixed + (_apart(items) if schema.get("uniqueItems") else items)


def _apart(items: list[Any]) -> list[Any]:
    """The same with no item twice, as a set wants it."""
    return [
        f"{item}{n or ''}" if isinstance(item, str)
        else item + n if isinstance(item, int | float) and not isinstance(item, bool)
        else item
        for n, item in enumerate(items)
    ]  # fmt: skip


def text(schema: Mapping[str, Any], name: str = "") -> str:
    """Text of the format, the pattern and the length that a schema wants, as far as it is known."""
    least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", 10**6))
    if (known := FORMATS.get(str(schema.get("format")))) is not None:
        return known
    pattern = schema.get("pattern")
    named = [word for part, word in NAMED.items() if part in name.lower()]
    candidates = [*named, *TEXTS, "x" * max(least, 1)]
    fitting = (word for word in candidates if least <= len(word) <= most and _fits(word, pattern))
    return next(fitting, TEXTS[0][:most])


def _fits(word: str, pattern: str | None) -> bool:
    try:
        return pattern is None or re.search(pattern, word) is not None
    except re.error:  # pydantic's patterns are those of Rust
        return True


def number(schema: Mapping[str, Any], *, whole: bool) -> float:
    """A number within the bounds that a schema sets: 1 if that is one."""
    step = schema.get("multipleOf", 1 if whole else None)
    nudge = step or 0.001
    least = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf) + nudge)
    most = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf) - nudge)
    value: float = min(max(1, least), most)
    if step:
        value = math.ceil(value / step) * step
        value = value - step if value > most else value
    return int(value) if whole or value == int(value) else value
