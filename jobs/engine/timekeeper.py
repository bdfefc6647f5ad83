"""A worker without jobs: the process that only makes them, by the clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from jobs.client import Client
from jobs.engine.clockwork import clockwork
from jobs.engine.health import take_leave
from jobs.engine.link import Link
from jobs.engine.presence import resident_bytes, who
from jobs.engine.upkeep import Heartbeat, Upkeep
from jobs.engine.worker import Worker
from jobs.keys import QueueKeys, control_channel, queue_keys
from jobs.store import workers
from jobs.store.commands import EVERY_WORKER, Wish, read_command
from jobs.store.control import read_request
from jobs.subscription import Subscription
from jobs.tasks import end_tasks

logger = logging.getLogger("jobs.worker")


class Timekeeper(Worker):
    """Makes the jobs of a worker's schedules and cron jobs, and runs none: it claims nothing,
    holds no leases, and runs neither `on_startup` nor `on_shutdown`.

    Many may run, beside workers with schedulers of their own: each instant is one job. In the
    registry it is "scheduling", and counts nowhere as a worker that serves a queue.

    Args and errors: those of `Worker`; what is about running jobs is not looked at.
    """

    _kind = "scheduler"

    def __init__(self, functions: Sequence[Any] = (), **settings: Any) -> None:
        super().__init__(functions, **(settings | {"on_startup": None, "on_shutdown": None}))

    async def _serve(self, client: Client) -> None:
        link = Link(client)
        keys = {name: queue_keys(name, client.prefix) for name in self.queues}
        loops = [self._heartbeat(link, keys), *clockwork(link, keys, self)]
        news = Subscription(client, partial(self._hear, client.prefix, loops), lambda: None)
        listening = asyncio.create_task(self._listen(link, news), name="jobs-listening")
        try:
            for loop in loops:
                loop.start()
            await self._stopping.wait()
            logger.info("stopping: no more jobs are made by the clock here")
        finally:
            for loop in loops:
                await loop.stop()
            await end_tasks(listening)
            await news.aclose()
            await take_leave(partial(self._leave, client, keys), None)

    def _task(self) -> str:
        schedules, queues = len(self.schedules), ", ".join(self.queues)
        of_code = f"{schedules} schedules and {len(self.cron_jobs)} cron jobs of its code"
        return f"makes the jobs of {of_code}, and of those stored in {queues}"

    # -- the registry ----------------------------------------------------------------------

    def _heartbeat(self, link: Link, keys: Mapping[str, QueueKeys]) -> Heartbeat:
        interval_s = self._lease_ms / 2000
        fixed = who((), list(keys), self._server, int(interval_s * 3000))

        def describe(_: str) -> dict[str, Any]:
            now = {"rss": resident_bytes(), "lag_ms": 0, "blocked": None, "stuck": False}
            none = {"running": 0, "jobs": [], "concurrency": 0, "taking": False}
            return {**fixed, **none, **now, "state": workers.SCHEDULING}

        return Heartbeat(
            link,
            keys,
            worker=self.id,
            interval_s=interval_s,
            describe=describe,
            on_overdue=lambda _: None,  # a delayed job is for those who run it
        )

    async def _leave(self, client: Client, keys: Mapping[str, QueueKeys]) -> int:
        for one in keys.values():
            await workers.leave(client, one, self.id, self._lease_ms)
        return 0

    # -- news ------------------------------------------------------------------------------

    async def _listen(self, link: Link, news: Subscription) -> None:
        for name in self.queues:
            channel = control_channel(name, link.client.prefix)
            await link.insist(partial(news.subscribe, channel))

    def _hear(self, prefix: str, loops: Sequence[Upkeep], channel: str, data: bytes) -> None:
        """Hear of changed schedules, and of the wish that it stop; what cannot be read must not
        end the listening.
        """
        try:
            if command := read_command(data):
                if command.worker in (self.id, EVERY_WORKER) and command.wish is Wish.stop:
                    logger.warning("asked from outside: stop")
                    self.stop()
                return
            job_id, line = read_request(data)
            queues = (name for name in self.queues if control_channel(name, prefix) == channel)
            for queue in queues if not job_id else ():
                for loop in loops:
                    loop.told(queue, line)
        except Exception as error:  # noqa: BLE001 -- any program may write to the channel
            logger.warning("a message on %s is not understood: %r", channel, error)
