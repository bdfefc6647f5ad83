"""The arguments of a stored job by name, and the values inside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from jobs import registry
from jobs.handle import JobInfo


def payload_of(info: JobInfo, function: registry.Function | None = None) -> dict[str, Any]:
    """The arguments of a job by the names of its function's parameters.

    Args:
        info: the job.
        function: its function; by default the one declared under its name in this process. Of
            one that is not known here, positional arguments are under `args`.
    """
    function = function or registry.functions.get(info.function)
    if function is not None and function.signature.model is None:
        try:
            bound = function.signature.parameters.bind_partial(*info.args, **info.kwargs)
            return dict(bound.arguments)
        except TypeError:  # the function has changed since
            pass
    return {"args": list(info.args), **info.kwargs} if info.args else dict(info.kwargs)


def has_value(info: JobInfo, path: str, expected: Any) -> bool:
    """Whether an argument, or what lies inside one, has this value.

    Text fits what is written so in JSON too: "5" is 5, "true" is True.
    """
    steps = path.split(".")
    inner = (arg for arg in info.args if isinstance(arg, Mapping))
    found = [_inside(value, steps) for value in (payload_of(info), info.args, *inner)]
    return any(_same(value, expected) for value in found if value is not _NOTHING)


_NOTHING = object()


def _inside(value: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return _NOTHING
    return value


def _same(value: Any, expected: Any) -> bool:
    if value == expected and isinstance(value, bool) == isinstance(expected, bool):
        return True
    if not isinstance(expected, str) or isinstance(value, str):
        return False
    try:
        read = from_json(expected)
    except ValueError:
        return False
    return bool(value == read) and isinstance(value, bool) == isinstance(read, bool)
