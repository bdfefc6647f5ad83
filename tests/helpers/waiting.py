"""Waiting for a condition instead of a duration."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any

POLL_S = 0.005
WAIT_S = 20.0
"""Long, for a busy machine: a wait ends with its condition, so only a failure takes longer."""


async def wait_until(
    predicate: Callable[[], Any | Awaitable[Any]],
    *,
    description: str,
    timeout: float = WAIT_S,
    poll: float = POLL_S,
) -> Any:
    """Wait until the predicate, plain or async, returns something true, and return that.

    Args:
        predicate: asked every `poll` seconds, and once more after the last wait.
        description: what is waited for, in words: "the job is completed".
        timeout: seconds; default `WAIT_S`.
        poll: seconds between two questions; default 0.005.

    Raises AssertionError with the description and the last answer when the time is over.
    """
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() >= deadline
        answer = predicate()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if late:
            raise AssertionError(_too_late(description, timeout, answer))
        await asyncio.sleep(poll)


def wait_until_sync(
    predicate: Callable[[], Any],
    *,
    description: str,
    timeout: float = WAIT_S,
    poll: float = POLL_S,
) -> Any:
    """The same as `wait_until` for a test without a loop; the predicate is a plain function."""
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() >= deadline
        if answer := predicate():
            return answer
        if late:
            raise AssertionError(_too_late(description, timeout, answer))
        time.sleep(poll)


def _too_late(description: str, timeout: float, answer: object) -> str:
    return f"waited {timeout:g} s until {description}; the last answer was {answer!r}"
