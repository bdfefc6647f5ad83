"""Ends asyncio tasks for sure."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

T = TypeVar("T")

_AGAIN_S = 0.05


async def end_tasks(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancel tasks and wait until they have ended; their errors are taken note of, not raised.

    A cancellation is repeated, since one may be swallowed: redis-py sends through
    `asyncio.wait_for`, which on Python 3.11 forgets a cancellation that comes just when what it
    waits for is done.
    """
    given = [task for task in tasks if task is not None]
    left = {task for task in given if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_S)
    for task in given:
        if not task.cancelled():
            task.exception()


async def within(future: asyncio.Future[T | None], timeout_s: float) -> T | None:
    """What the future gives, or `None` when the time is over first."""
    try:
        async with asyncio.timeout(max(0, timeout_s)):
            return await future
    except TimeoutError:
        return None
