"""Keeps the leases of running jobs, from a thread and a connection of its own.

So a job that blocks the event loop for a while keeps its lease. A loop that is stuck beyond the
job's own timeout lets go of it, so that another worker can run it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from threading import Event, Thread
from typing import Protocol

import redis

from jobs import clock
from jobs.connections import trouble
from jobs.engine.loop_watch import LoopWatch
from jobs.keys import QueueKeys
from jobs.store._script import MAX_ITEMS
from jobs.store.queue import Verdict, renew

logger = logging.getLogger("jobs.lease")

#: A lease is renewed this often in its length.
RENEWALS = 3
#: Seconds between two looks at the loop, at most.
LOOK_S = 0.25


class Held(Protocol):
    """One lease: the token that proves it, and when a stuck loop lets go of it (monotonic)."""

    give_up_s: float

    @property
    def token(self) -> int:
        """The token."""


#: Called with a queue and (id, token) of each lease that is meant.
Report = Callable[[str, list[tuple[str, int]]], None]
#: Called with the blocking client of the thread.
OnBlocked = Callable[[redis.Redis], None]


class LeaseKeeper:
    """Duties: 1. renew every held lease each third of its length; 2. report lost leases and
    requests to cancel to the event loop; 3. notice a stuck loop and let go of overdue jobs.

    Args:
        connect: makes the blocking client of the thread.
        lease_ms: length of a lease.
        loop: the event loop that runs the jobs.
        on_lost, on_cancel: called in that loop; see `Report`.
    """

    def __init__(
        self,
        connect: Callable[[], redis.Redis],
        lease_ms: int,
        loop: asyncio.AbstractEventLoop,
        on_lost: Report,
        on_cancel: Report,
    ) -> None:
        self._connect = connect
        self._lease_ms = lease_ms
        self._loop = loop
        self._reports = {Verdict.lost: on_lost, Verdict.cancel_asked: on_cancel}
        self._held: dict[str, Mapping[str, Held]] = {}
        self._keys: dict[str, QueueKeys] = {}
        self._ended = Event()
        self.watch = LoopWatch(loop)
        self._stuck = False
        #: Called in the thread while something blocks the loop: when that is noticed, and at
        #: every renewal.
        self.on_blocked: OnBlocked = lambda _: None
        self._thread = Thread(target=self._run, name="jobs-lease", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def serve(self, queue: str, keys: QueueKeys, held: Mapping[str, Held]) -> None:
        """Keep the leases in `held`, by job id; others add and remove them meanwhile."""
        self._keys[queue] = keys
        self._held[queue] = held

    def stop(self) -> None:
        """Ask the thread to end; `join` waits for it."""
        self._ended.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end; nothing to do if it was never started."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        client = self._connect()
        interval_s = self._lease_ms / 1000 / RENEWALS
        due_s = clock.mono() + interval_s
        while not self._ended.wait(min(LOOK_S, interval_s / 4)):
            try:
                found = self._watch_loop()
                is_due = clock.mono() >= due_s
                if is_due:
                    self._renew_all(client)
                    due_s = clock.mono() + interval_s
                if found or (is_due and self.watch.is_blocked):
                    self.on_blocked(client)
            except Exception as error:
                if trouble(error) is None:
                    logger.exception("the lease thread met an error of its own and goes on")
                due_s = clock.mono() + interval_s / 10
        client.close()

    def _watch_loop(self) -> bool:
        """Look after the loop; whether something was found now that blocks it."""
        if self._loop.is_closed():
            return False
        found = self.watch.look()
        silent_s = self.watch.silent_s
        stuck = silent_s > 2 * self._lease_ms / 1000 / RENEWALS + 1
        if stuck and not self._stuck:
            logger.error(
                "the event loop has not run for %.1f s: a job blocks it; leases are kept until "
                "the jobs' own timeouts (use a plain `def`, which runs in a thread)",
                silent_s,
            )
        self._stuck = stuck
        return found

    def _renew_all(self, client: redis.Redis) -> None:
        for queue, held in list(self._held.items()):
            for page in _pages(self._kept(held)):
                verdicts = renew(client, self._keys[queue], page, self._lease_ms)
                self._report(queue, page, verdicts)

    def _kept(self, held: Mapping[str, Held]) -> list[tuple[str, int]]:
        now = clock.mono()
        return [
            (job_id, lease.token)
            for job_id, lease in dict(held).items()  # a copy: the loop changes it
            if not (self._stuck and now > lease.give_up_s)
        ]

    def _report(self, queue: str, page: list[tuple[str, int]], verdicts: list[Verdict]) -> None:
        for verdict, report in self._reports.items():
            meant = [lease for lease, said in zip(page, verdicts, strict=True) if said is verdict]
            if meant:
                self._call(report, queue, meant)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)


def _pages(held: list[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    for at in range(0, len(held), MAX_ITEMS):
        yield held[at : at + MAX_ITEMS]
