"""What a job waits for: the chain of awaits of its task, at one moment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import CodeType
from typing import Any

#: Innermost steps that are kept.
MOST_STEPS = 20
_ENGINE = str(Path(__file__).parent)
#: How far a job may await tasks that await tasks …
_DEEPEST = 200


def chain_of(task: asyncio.Task[Any] | None) -> tuple[str, ...]:
    """A "file:line function" for each step from the job's function to what it waits for.

    The engine's own steps are left out. Never raises: it only looks.
    """
    steps: list[str] = []
    while task is not None and len(steps) < _DEEPEST:
        try:
            _walk(task.get_coro(), steps)
        except Exception:  # noqa: BLE001 -- objects of any library; what was seen is kept
            break
        waiter = getattr(task, "_fut_waiter", None)
        task = waiter if isinstance(waiter, asyncio.Task) and waiter is not task else None
    return tuple(steps[-MOST_STEPS:])


def _walk(awaited: Any, steps: list[str]) -> None:
    while awaited is not None and len(steps) < _DEEPEST:
        frame, code, following = _parts(awaited)
        if frame is None:
            return
        inner = frame.f_locals.get("coroutine") if following is None else None
        if not code.co_filename.startswith(_ENGINE):
            steps.append(f"{code.co_filename}:{frame.f_lineno} {_name(code)}")
        elif inner is not None:  # a step of the engine that drives the function by hand
            following = inner
        awaited = following


def _name(code: CodeType) -> str:
    return getattr(code, "co_qualname", code.co_name)


def _parts(awaited: Any) -> tuple[Any, Any, Any]:
    """(frame, code, what it awaits) of a coroutine or generator of any kind."""
    for prefix, following in (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await")):
        if hasattr(awaited, f"{prefix}_frame"):
            return (
                getattr(awaited, f"{prefix}_frame"),
                getattr(awaited, f"{prefix}_code"),
                getattr(awaited, following),
            )
    return None, None, None
