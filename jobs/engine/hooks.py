"""arq's hooks round a job."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.context import Context

logger = logging.getLogger("jobs.worker")

Hook = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Hooks:
    """arq's hooks; an error in one is logged and harms no job (arq-B2)."""

    on_job_start: Hook | None = None
    on_job_end: Hook | None = None
    after_job_end: Hook | None = None


async def call_hook(hook: Hook, ctx: Context | None) -> None:
    """Call one hook."""
    try:
        await hook(ctx)
    except Exception:  # a hook of any kind must not harm the job
        logger.exception("the hook %s failed; the job goes on", hook)
