"""The loops of a worker that make jobs by the clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Protocol

from arq.cron import CronJob

from jobs import clock
from jobs.codec import Deserializer, Serializer
from jobs.engine.cron_ticker import CronTicker
from jobs.engine.link import Link
from jobs.engine.scheduler import Scheduler
from jobs.engine.upkeep import Upkeep
from jobs.keys import QueueKeys, check_name, queue_keys
from jobs.recurring import Schedule
from jobs.requests import Preparer


class Clocked(Protocol):
    """What a worker knows of time; `schedules` are those that its code declares."""

    schedules: list[Schedule]
    cron_jobs: list[CronJob]
    timezone: tzinfo | None
    queue_name: str
    job_serializer: Serializer | None
    job_deserializer: Deserializer | None


def clockwork(link: Link, keys: Mapping[str, QueueKeys], worker: Clocked) -> list[Upkeep]:
    """The scheduler of a worker, and one more loop if it has cron jobs of arq's.

    Args:
        link: the server.
        keys: those of the worker's queues, by name.
        worker: says what to do.

    Raises:
        InvalidOption, InvalidPayload: the jobs of a schedule could not be enqueued.
    """
    queue, serializer = check_name(worker.queue_name), worker.job_serializer
    loops: list[Upkeep] = [
        Scheduler(
            link,
            keys,
            worker.schedules,
            Preparer(queue, serializer=serializer),
            prefix=link.client.prefix,
            deserializer=worker.job_deserializer,
        )
    ]
    if worker.cron_jobs:
        zone = worker.timezone or clock.system_zone()
        own = keys.get(queue) or queue_keys(queue, link.client.prefix)  # served by others
        loops.append(
            CronTicker(link, queue, own, worker.cron_jobs, zone=zone, serializer=serializer)
        )
    return loops
