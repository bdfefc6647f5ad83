"""arq's health key: the text that `arq --check` looks for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from jobs.engine.link import Link
from jobs.engine.upkeep import Upkeep

logger = logging.getLogger("jobs.worker")


class HealthKey(Upkeep):
    """Writes arq's health key, with a TTL just over the interval, from the event loop: a hung
    loop lets it expire.
    """

    def __init__(
        self, link: Link, key: str, interval_s: float, describe: Callable[[], str]
    ) -> None:
        super().__init__("health", interval_s, link, {})
        self.key = key
        self._describe = describe

    async def run_once(self) -> None:
        """Write the key once."""
        text = f"{datetime.now().astimezone():%b-%d %H:%M:%S} {self._describe()}"
        ttl_ms = int((self.interval_s * 1.2 + 1) * 1000)
        await self.link.client.psetex(self.key, ttl_ms, text.encode())

    async def remove(self) -> None:
        """Take the key away: no worker is left to answer for."""
        await self.link.client.delete(self.key)
