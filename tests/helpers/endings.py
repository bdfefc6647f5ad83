"""How a test waits for the end of one job, or for its removal."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from jobs import Job, JobFailed, JobInfo
from jobs.errors import JobNotFound


async def end(queued: Job[Any]) -> JobInfo:
    """The job when it has ended."""
    with suppress(JobFailed):
        await queued.result(timeout=20)
    return await queued.details()


async def gone(queued: Job[Any]) -> bool:
    """Whether the queue holds the job no more."""
    try:
        await queued.details()
    except JobNotFound:
        return True
    return False
