"""A place of one's own on somebody's server: how much room there is, and how it is left again.

All keys lie under a prefix of their own, `jobs:bench-<random>`, so no queue, worker or list of the
applications on the server sees them. They are removed at the end whatever happens; meanwhile they
expire, so that even a killed run leaves nothing that matters for long: at most a key or two made
in its last half second, a lease or a wake-up.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Self

from jobs import Client
from jobs.cli.codes import Code, Problem
from jobs.connections import trouble
from jobs.keys import PREFIX, queue_keys, queues_key, schema_key
from jobs.tasks import end_tasks

#: Never more jobs at once than this, so that a server in use feels little.
MOST_QUEUED = 50_000
#: A queued job takes less than half of this, and all never more than a quarter of what is free.
BYTES_A_JOB, FREE_SHARE = 1024, 4
#: A server without room for this many is full.
LEAST_QUEUED = 500
#: Keys of a run that was killed are gone after this time.
FUSE_S, FUSE_EVERY_S = 120, 0.5

Tell = Callable[[str], None]


class Scratch:
    """One queue with a name that nobody else has; `async with` leaves nothing of it behind.

    Args:
        client: its keys are removed through this one.
        say: tells people something.
    """

    def __init__(self, client: Client, say: Tell) -> None:
        self.name = f"bench-{secrets.token_hex(6)}"
        self.prefix = f"{PREFIX}:{self.name}"
        self.value = f"{self.prefix}:value"
        self.health = f"{self.prefix}:health-check"
        self._client, self._say = client, say
        self._fuse: asyncio.Task[None] | None = None

    def names(self) -> list[str]:
        """Every key that is written."""
        own = [queues_key(self.prefix), schema_key(self.prefix), self.value, self.health]
        return [*queue_keys(self.name, self.prefix).all(), *own]

    async def __aenter__(self) -> Self:
        self._fuse = asyncio.create_task(self._keep_expiring(), name="jobs-bench-fuse")
        return self

    async def __aexit__(self, *_: object) -> None:
        await surely(self._leave())

    async def empty(self) -> None:
        """Remove every key, without making the server wait for the freeing of memory."""
        await self._client.unlink(*self.names())

    async def _leave(self) -> None:
        await end_tasks(self._fuse)
        try:
            await self.empty()
        except Exception as error:
            if trouble(error) is None:
                raise
            self._say(f"the keys {self.prefix}:* could not be removed; they expire in {FUSE_S} s")

    async def expire(self) -> None:
        """Let the keys that there are now expire soon, unless this is called again."""
        async with self._client.pipeline(transaction=False) as pipe:
            for name in self.names():
                pipe.expire(name, FUSE_S)
            await pipe.execute()

    async def _keep_expiring(self) -> None:
        while True:
            try:
                await self.expire()
            except Exception as error:
                if trouble(error) is None:
                    raise
            await asyncio.sleep(FUSE_EVERY_S)


def room(info: Mapping[str, Any], address: str) -> int:
    """How many jobs may be queued at once on a server that says this of itself.

    Raises:
        Problem: it is as good as full.
    """
    limits = [int(info.get(name) or 0) for name in ("maxmemory", "total_system_memory")]
    given = [limit for limit in limits if limit]
    if not given:
        return MOST_QUEUED
    free = max(0, min(given) - int(info.get("used_memory") or 0))
    jobs = min(MOST_QUEUED, free // FREE_SHARE // BYTES_A_JOB)
    if jobs < LEAST_QUEUED:
        raise Problem(
            f"the server at {address} is full: {free / 2**20:.1f} MiB are left, and jobs need them",
            "free memory or raise maxmemory, then measure again",
            Code.server,
        )
    return jobs


async def surely(work: Coroutine[Any, Any, None]) -> None:
    """Do `work` to its end, however often the caller is cancelled meanwhile."""
    task, cancelled = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled
