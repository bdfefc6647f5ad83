"""Follows the log of one job while it is written, by push."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from jobs.errors import JobNotFound
from jobs.events import QueueEvent
from jobs.notes import LogLine
from jobs.states import TERMINAL

if TYPE_CHECKING:
    from jobs.client import Client

#: Events after which the log is looked at, or is over.
_NAMES = ("log", "completed", "failed", "cancelled", "expired", "removed")


async def follow_log(client: Client, queue: str, job_id: str) -> AsyncGenerator[LogLine, None]:
    """The lines of a job's log, those that are there and those that come, until the job has ended.

    Raises:
        JobNotFound: the queue does not hold the job.
    """
    view = client.queue(queue)
    async with client.events(queue, names=_NAMES, job_id=job_id) as events:
        over = (await view.job(job_id)).state in TERMINAL
        seen = 0
        log = await view.logs(job_id)
        while True:
            total = log.dropped + len(log)
            for line in log.lines[max(0, len(log) - (total - seen)) :] if total > seen else ():
                yield line
            seen = total
            if over:
                return
            event = await anext(aiter(events))
            try:
                over = _is_end(event) or (await view.job(job_id)).state in TERMINAL
                log = await view.logs(job_id)
            except JobNotFound:  # it has ended and is not kept
                return


def _is_end(event: QueueEvent) -> bool:
    """Whether a job has ended; one that failed may have attempts left."""
    return event.name not in {"log", "gap", "failed"}
