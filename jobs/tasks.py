"""Ends asyncio tasks for sure."""

from __future__ import annotations

import asyncio
from typing import Any

_AGAIN_S = 0.05


async def end_tasks(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancel tasks and wait until they have ended; their errors are taken note of, not raised.

    One cancellation may be swallowed by redis-py while it makes a connection, so it is repeated.
    """
    left = {task for task in tasks if task is not None and not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_S)
    for task in tasks:
        if task is not None and not task.cancelled():
            task.exception()
