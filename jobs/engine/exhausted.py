"""The application's hook for a job that failed for good."""

from __future__ import annotations

import asyncio
import inspect
import logging
from concurrent.futures import Executor as Pool
from typing import Any

from jobs.context import Context

logger = logging.getLogger("jobs.worker")

#: A hook gets this long: it runs in the job's slot, under the job's lease.
HOOK_S = 30.0


async def call_exhausted(
    hook: Any, context: Context, error: BaseException, threads: Pool | None
) -> None:
    """Call `on_exhausted`: a coroutine function here, a plain one in a thread.

    It is called before the failure is written, so that no failure goes by without it; a worker
    that dies in between has it called again. Whatever it does harms nothing.
    """
    try:
        async with asyncio.timeout(HOOK_S):
            if _is_async(hook):
                await hook(context, error)
            else:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(threads, hook, context, error)
    except GeneratorExit:  # the loop is being torn down
        raise
    except BaseException:  # a hook of any kind must not harm the job, and the job has ended
        logger.exception("`on_exhausted` of job %s failed; the job is failed", context.job_id)


def _is_async(hook: Any) -> bool:
    call = getattr(hook, "__call__", None)  # noqa: B004 -- the method itself is asked
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(call)
