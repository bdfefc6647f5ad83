"""arq's health key: the text that `arq --check` looks for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from jobs.connections import trouble
from jobs.engine.link import Link
from jobs.engine.upkeep import Upkeep
from jobs.keys import QueueKeys

logger = logging.getLogger("jobs.worker")

#: Longest time that the leave-taking of a stopped worker may take.
GOODBYE_S = 2.0


class HealthKey(Upkeep):
    """Writes arq's health key, with a TTL just over the interval, from the event loop: a hung
    loop lets it expire.
    """

    while_draining = True

    def __init__(
        self,
        link: Link,
        queues: Mapping[str, QueueKeys],
        key: str,
        interval_s: float,
        describe: Callable[[], str],
    ) -> None:
        super().__init__("health", interval_s, link, queues)
        self.key = key
        self._describe = describe

    async def run_once(self) -> None:
        """Write the key once; as in arq, `queued` counts all jobs that have not ended."""
        client = self.link.client
        names = [name for keys in self.queues.values() for name in (keys.ready, keys.later)]
        names += [keys.leases for keys in self.queues.values()]
        queued = sum([await client.zcard(name) for name in names])
        now = datetime.now().astimezone()
        text = f"{now:%b-%d %H:%M:%S} {self._describe()} queued={queued}"
        ttl_ms = int((self.interval_s * 1.2 + 1) * 1000)
        await client.psetex(self.key, ttl_ms, text.encode())

    async def remove(self) -> None:
        """Take the key away: no worker is left to answer for."""
        await self.link.client.delete(self.key)


async def take_leave(leave: Callable[[], Awaitable[int]], health: HealthKey | None) -> None:
    """Leave the registry; the last worker takes arq's health key along (arq-E1)."""
    try:
        async with asyncio.timeout(GOODBYE_S):
            if await leave() == 0 and health:
                await health.remove()
    except Exception as error:
        if trouble(error) is None:
            raise
        logger.warning("the worker could not take leave of the server: %s", error)
