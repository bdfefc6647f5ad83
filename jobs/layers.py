"""Where each option of a job comes from: the layers of a function or queue, looked through."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jobs.durations import format_ms, to_ms
from jobs.job_options import ADD_UP, OPTION_NAMES, JobOptions, add_up
from jobs.retry_rules import describe_rules
from jobs.timeouts import Timeout

#: Layers by name, the nearest first.
Layers = Sequence[tuple[str, JobOptions]]

_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|AUTH|COOKIE", re.IGNORECASE)


class Effective(NamedTuple):
    """One option that holds: its value for people, and the layer that said so."""

    option: str
    value: int | str | None
    source: str


def effective(layers: Layers) -> list[Effective]:
    """Every option of a job as it holds, with the layer that it comes from.

    Options that add up name each layer that adds to them. What no layer says has the value
    `None` and the source of the last one.
    """
    return [_effective(name, layers) for name in OPTION_NAMES]


def _effective(name: str, layers: Layers) -> Effective:
    said = [(layer, value) for layer, o in layers if (value := getattr(o, name)) is not None]
    if not said:
        value = "as keep_completed" if name in ("keep_cancelled", "keep_expired") else None
        return Effective(name, value, layers[-1][0])
    if name not in ADD_UP:
        source, value = said[0]
        return Effective(name, shown(name, value), source)
    value = said[0][1]
    for _, other in said[1:]:
        value = add_up(value, other)
    return Effective(
        name, shown(name, value), " + ".join(dict.fromkeys(layer for layer, _ in said))
    )


def shown(name: str, value: Any) -> int | str | None:
    """A value of an option for people; headers that may be secret are masked."""
    match name:
        case "timeout":
            return str(Timeout.of(value))
        case "expires" | "retry_for":
            return format_ms(to_ms(value))
        case "retry_on":
            return describe_rules(value)
        case "tags":
            return ", ".join(value)
        case "headers":
            return _headers(value)
        case "on_exhausted":
            return getattr(value, "__qualname__", None) or type(value).__qualname__
        case _:
            return value if isinstance(value, int) else str(value)


def _headers(headers: Mapping[str, str]) -> str:
    shown = ((name, "***" if _SECRET.search(name) else text) for name, text in headers.items())
    return ", ".join(f"{name}: {text}" for name, text in shown)
