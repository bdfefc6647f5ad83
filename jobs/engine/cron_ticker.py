"""Fires the cron jobs of a worker: each instant once over all workers, by the server's clock."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Protocol

from arq.cron import CronJob

from jobs import clock
from jobs.codec import Serializer, encode_body
from jobs.crontab import fields_spec
from jobs.engine.link import Link
from jobs.engine.upkeep import Upkeep
from jobs.ids import new_id
from jobs.keys import QueueKeys
from jobs.loop import JITTER
from jobs.options import FRAMEWORK_DEFAULTS
from jobs.store import queue as store
from jobs.store import workers

logger = logging.getLogger("jobs.worker")

#: An instant is enqueued this long before it comes, as a delayed job that is due in time.
AHEAD = timedelta(seconds=2)
#: Workers that start within this time of each other count as one start (arq-D4).
ONE_START_MS = 10_000
_LONGEST_SLEEP_S, _SHORTEST_SLEEP_S = 30.0, 0.02


class Spec(Protocol):
    """Anything that knows its next instant."""

    def next_after(self, instant: datetime) -> datetime:
        """The first instant after `instant`."""


@dataclass
class Entry:
    """One cron job and its next instant; `None` before the first look."""

    job: CronJob
    spec: Spec
    due: datetime | None = None

    @property
    def ahead(self) -> timedelta:
        """How long before it comes an instant is enqueued: not at all under an id of its own,
        which the job of the previous instant may still hold.
        """
        return timedelta(0) if self.job.job_id else AHEAD


class CronTicker(Upkeep):
    """Duties: 1. know the next instant of every cron job; 2. enqueue it shortly before; 3. after
    a stall fire once, not once for each missed instant (arq-D8).
    """

    before_work = True

    def __init__(  # noqa: PLR0913 -- where the jobs go, and how they are written
        self,
        link: Link,
        queue: str,
        keys: QueueKeys,
        cron_jobs: Sequence[CronJob],
        *,
        zone: tzinfo,
        serializer: Serializer | None = None,
    ) -> None:
        super().__init__("cron", _LONGEST_SLEEP_S, link, {queue: keys})
        self._keys = keys
        self._serializer = serializer
        self._entries = [Entry(job, spec_of(job, zone)) for job in cron_jobs]
        self._started = False

    async def run_once(self) -> int:
        """Fire what comes within the next moments; how many instants this worker fired first."""
        seconds, micros = await self.link.client.time()
        now = clock.from_ms(seconds * 1000 + micros / 1000)
        fired = 0 if self._started else await self._fire_at_startup(now)
        self._started = True
        for entry in self._entries:
            entry.due = entry.due or entry.spec.next_after(now)
            if entry.due <= now + entry.ahead:
                fired += await self._fire(entry, entry.due)
                entry.due = entry.spec.next_after(max(entry.due, now))
            entry.job.next_run = entry.due
        self.interval_s = self._until_next(now)
        return fired

    def _until_next(self, now: datetime) -> float:
        """Seconds to sleep: until the next instant is within reach, less the loop's jitter."""
        left = min(
            (entry.due - entry.ahead - now).total_seconds()
            for entry in self._entries
            if entry.due is not None
        )
        return min(_LONGEST_SLEEP_S, max(_SHORTEST_SLEEP_S, left / (1 + JITTER)))

    async def _fire_at_startup(self, now: datetime) -> int:
        fired = 0
        for entry in self._entries:
            if entry.job.run_at_startup:
                name = f"{entry.job.name}@startup"
                fired += await self._fire(entry, now, schedule=name, apart_ms=ONE_START_MS)
        return fired

    async def _fire(
        self, entry: Entry, instant: datetime, *, schedule: str = "", apart_ms: int = 0
    ) -> bool:
        job = entry.job
        instant_ms = round(instant.timestamp() * 1000)
        if not job.unique:
            return await self._enqueue_own(job, instant_ms)
        job_id = job.job_id or f"{job.name}:{instant_ms}"
        return await workers.tick(
            self.link.client,
            self._keys,
            schedule=schedule or job.name,
            instant_ms=instant_ms,
            apart_ms=apart_ms,
            job_id=job_id,
            body=self._body(job_id, job),
            priority=FRAMEWORK_DEFAULTS.priority or 0,
        )

    async def _enqueue_own(self, job: CronJob, instant_ms: int) -> bool:
        """`unique=False`: every worker enqueues its own."""
        job_id = job.job_id or new_id()
        priority = FRAMEWORK_DEFAULTS.priority or 0
        entry = store.Entry(job_id, self._body(job_id, job), priority, due_ms=instant_ms)
        (answer,) = await store.enqueue(self.link.client, self._keys, [entry], again=False)
        return answer is store.Added.added

    def _body(self, job_id: str, job: CronJob) -> bytes:
        return encode_body(job_id, job.name, [], {}, serializer=self._serializer)


def spec_of(job: CronJob, zone: tzinfo) -> Spec:
    """The calculator for arq's keyword fields.

    Raises:
        InvalidOption: a field out of its range, or fields that never match.
    """
    return fields_spec(
        month=job.month,
        day=job.day,
        weekday=job.weekday,
        hour=job.hour,
        minute=job.minute,
        second=job.second,
        microsecond=job.microsecond,
        tz=zone,
    )
