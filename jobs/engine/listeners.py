"""Functions of the application that are told of the ends of attempts, and can harm nothing."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.context import Context
    from jobs.engine.outcome import Resolution

logger = logging.getLogger("jobs.worker")

#: Called with the context of the attempt, and with its result or its error.
Listener = Callable[[Any, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Listeners:
    """What a worker tells, each after the end was recorded; an error in one is logged."""

    on_completed: Listener | None = None
    on_failed: Listener | None = None
    on_exhausted: Listener | None = None

    @property
    def listening(self) -> bool:
        """Whether somebody listens."""
        return (self.on_completed or self.on_failed or self.on_exhausted) is not None

    async def tell(self, ctx: Context, resolution: Resolution) -> None:
        """Tell of one end."""
        match resolution.outcome:
            case "completed":
                await _tell(self.on_completed, ctx, resolution.value)
            case "retried":
                await _tell(self.on_failed, ctx, resolution.error)
            case "failed":
                await _tell(self.on_failed, ctx, resolution.error)
                await _tell(self.on_exhausted, ctx, resolution.error)


async def _tell(listener: Listener | None, ctx: Context, what: Any) -> None:
    if listener is None:
        return
    try:
        await listener(ctx, what)
    except Exception:  # the application's code may raise anything; the end is recorded
        logger.exception("the listener %s failed; the job is not touched", listener)
