"""What every worker does beside running jobs: heartbeat, rescue, unpark, prune."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from jobs import clock
from jobs.codec import Deserializer, decode_body
from jobs.engine.link import Link
from jobs.errors import UnreadableBody
from jobs.kept import Retention, retention_of
from jobs.keys import QueueKeys
from jobs.loop import Loop
from jobs.options import Queue
from jobs.registry import Function
from jobs.store import queue as store
from jobs.store import workers
from jobs.store._script import MAX_ITEMS
from jobs.store.show import read_bodies

logger = logging.getLogger("jobs.worker")

PRUNE_S = 120.0
#: Parked jobs looked at in one turn.
PARKED_PAGES = 10


class Upkeep(Loop):
    """A loop over the queues of one worker, whose errors go to the link."""

    def __init__(
        self, name: str, interval_s: float, link: Link, queues: Mapping[str, QueueKeys]
    ) -> None:
        super().__init__(name, interval_s)
        self.link = link
        self.queues = queues

    def told(self, queue: str, data: bytes) -> None:
        """Hear a message of the control channel that is about no job."""

    async def failed(self, error: Exception) -> None:
        """The server's errors are waited out; others are logged."""
        try:
            await self.link.failed(error)
        except Exception as own:  # noqa: BLE001 -- a loop outlives every error
            self.link.on_trouble(own)
            await super().failed(own)


class Heartbeat(Upkeep):
    """Keeps the worker in the registry of each of its queues, and these on the list of queues,
    from which somebody may have removed them; and says which have overdue jobs: the wake-up for
    them was taken by a worker that died with it.
    """

    while_draining = True

    def __init__(  # noqa: PLR0913 -- what it says of the worker, and whom it tells
        self,
        link: Link,
        queues: Mapping[str, QueueKeys],
        *,
        worker: str,
        interval_s: float,
        describe: Callable[[str], dict[str, Any]],
        on_overdue: Callable[[str], None],
    ) -> None:
        super().__init__("heartbeat", interval_s, link, queues)
        self._worker = worker
        self._describe = describe
        self._on_overdue = on_overdue
        self.stale_ms = int(interval_s * 3000)

    async def run_once(self) -> None:
        """One heartbeat at every queue."""
        await workers.add_queues(self.link.lane, self.link.client.prefix, list(self.queues))
        for name, keys in self.queues.items():
            data = self._describe(name)
            _, overdue = await workers.beat(self.link.lane, keys, self._worker, data, self.stale_ms)
            if overdue:
                self._on_overdue(name)


class Rescuer(Upkeep):
    """Takes back the jobs of workers that are gone.

    A lease counts as dead only when this loop has seen the same deadline for a whole lease on
    its own monotonic clock. So neither a jump of the server's clock nor an outage hands out jobs
    whose workers live: after an outage the watching starts anew (FAULTS rule 11).
    """

    def __init__(
        self,
        link: Link,
        queues: Mapping[str, QueueKeys],
        *,
        lease_ms: int,
        most_losses: int,
        retention: Callable[[str, str, bytes | None], Retention],
    ) -> None:
        self._lease_s = lease_ms / 1000
        super().__init__("rescuer", self._lease_s / 3, link, queues)
        self._most_losses = most_losses
        self._retention = retention
        self._seen: dict[str, dict[str, tuple[int, float]]] = {}
        self._last_s = clock.mono()

    async def run_once(self) -> dict[str, str]:
        """Look at every queue once; what became of the jobs that were taken back."""
        self._forget_after_a_gap(self._last_s)
        taken: dict[str, str] = {}
        for name, keys in self.queues.items():
            asked_s = clock.mono()
            leases = await store.oldest_leases(self.link.client, keys)
            self._forget_after_a_gap(asked_s, self.interval_s)
            dead = self._observe(name, leases)
            for at in range(0, len(dead), MAX_ITEMS):
                taken |= await self._take_back(name, keys, dead[at : at + MAX_ITEMS])
        return taken

    async def failed(self, error: Exception) -> None:
        """An outage: the living may have missed their renewals, so the watching starts anew."""
        self._seen.clear()
        await super().failed(error)

    def _forget_after_a_gap(self, since_s: float, most_s: float | None = None) -> None:
        """Start anew if this loop was stopped, or its call took so long that the others' did."""
        self._last_s = clock.mono()
        if self._last_s - since_s > (2 * self.interval_s + 1 if most_s is None else most_s):
            self._seen.clear()

    def _observe(self, queue: str, leases: dict[str, int]) -> list[tuple[str, int]]:
        now = clock.mono()
        before = self._seen.get(queue, {})
        after: dict[str, tuple[int, float]] = {}
        for job_id, deadline in leases.items():
            seen = before.get(job_id)
            after[job_id] = seen if seen and seen[0] == deadline else (deadline, now)
        self._seen[queue] = after
        return [
            (job_id, deadline)
            for job_id, (deadline, since_s) in after.items()
            if now - since_s >= self._lease_s
        ]

    async def _take_back(
        self, queue: str, keys: QueueKeys, dead: Sequence[tuple[str, int]]
    ) -> dict[str, str]:
        message = "the worker that ran this job stopped renewing its lease"
        line = {
            "outcome": "lost",
            "at": clock.now_ms(),
            "error": {"type": "WorkerLost", "message": f"worker lost: {message}"},
        }
        taken: dict[str, str] = {}
        for keep, jobs in (await self._by_retention(queue, keys, dead)).items():
            taken |= await store.rescue(
                self.link.client,
                keys,
                jobs,
                most_losses=self._most_losses,
                keep=keep.failed,
                keep_cancelled=keep.cancelled,
                line=to_json(line),
            )
        for job_id, fate in taken.items():
            if fate != "alive":
                logger.warning("%s:%s was lost by its worker and is %s now", queue, job_id, fate)
        return taken

    async def _by_retention(
        self, queue: str, keys: QueueKeys, dead: Sequence[tuple[str, int]]
    ) -> dict[Retention, list[tuple[str, int]]]:
        """The jobs, those together that would be kept alike: one call has one retention."""
        bodies = await read_bodies(self.link.client, keys, [job_id for job_id, _ in dead])
        alike: dict[Retention, list[tuple[str, int]]] = {}
        for (job_id, deadline), body in zip(dead, bodies, strict=True):
            keep = self._retention(queue, job_id, body)
            alike.setdefault(keep, []).append((job_id, deadline))
        return alike


def retention_by(
    functions: Mapping[str, Function],
    queues: Mapping[str, Queue],
    deserializer: Deserializer | None,
) -> Callable[[str, str, bytes | None], Retention]:
    """The retention of a job by its queue, id and body, as the worker with these functions says."""
    return lambda queue, job_id, body: retention_of(
        job_id, body, functions, queues[queue].defaults, deserializer
    )


class Unparker(Upkeep):
    """Makes parked jobs wait again whose function this worker has, or a fallback for."""

    def __init__(  # noqa: PLR0913 -- where, and what this worker can run
        self,
        link: Link,
        queues: Mapping[str, QueueKeys],
        *,
        functions: Collection[str],
        fallbacks: Collection[str] = (),
        interval_s: float,
        deserializer: Deserializer | None = None,
    ) -> None:
        super().__init__("unparker", interval_s, link, queues)
        self._functions = functions
        self._fallbacks = fallbacks
        self._deserializer = deserializer
        self._place: dict[str, int] = {}

    async def run_once(self) -> int:
        """Look at the next thousand parked jobs of every queue; how many wait now."""
        return sum([await self._look(name, keys) for name, keys in self.queues.items()])

    async def _look(self, queue: str, keys: QueueKeys) -> int:
        moved = 0
        for _ in range(PARKED_PAGES):
            page = await store.parked_page(self.link.client, keys, self._place.get(queue, 0))
            mine = [job_id for job_id, body in page if body and self._knows(queue, job_id, body)]
            if mine:
                moved += await store.unpark(self.link.client, keys, mine)
            self._place[queue] = self._place.get(queue, 0) + len(page) - len(mine)
            if len(page) < MAX_ITEMS:
                self._place[queue] = 0
                break
        return moved

    def _knows(self, queue: str, job_id: str, body: bytes) -> bool:
        try:
            name = decode_body(job_id, body, self._deserializer).function
        except UnreadableBody:
            return False
        return queue in self._fallbacks or name in self._functions


class Pruner(Upkeep):
    """Removes what is over its age, also from queues in which nothing happens."""

    def __init__(self, link: Link, queues: Mapping[str, QueueKeys]) -> None:
        super().__init__("pruner", PRUNE_S, link, queues)

    async def run_once(self) -> int:
        """Prune every queue until nothing is left to prune; how many jobs were removed."""
        removed = 0
        for keys in self.queues.values():
            cursor, jobs = "0", MAX_ITEMS
            while jobs == MAX_ITEMS or cursor != "0":
                jobs, cursor = await store.prune(self.link.client, keys, cursor=cursor)
                removed += jobs
        return removed
