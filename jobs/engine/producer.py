"""Serves one queue: claims jobs for free slots, starts them, and writes how they ended.

One step of the store does all of it in one round trip. While there is nothing to do the loop
sleeps; it is woken by a job that ended, by an element in the queue's `wake` list, or by the
moment when the next delayed job is due.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from jobs import clock, logs
from jobs.engine.executor import Executor
from jobs.engine.lease import Held
from jobs.engine.link import Link
from jobs.engine.outcome import Why
from jobs.engine.run import Run
from jobs.keys import QueueKeys
from jobs.options import Queue
from jobs.store import queue as store
from jobs.store._script import MAX_ITEMS
from jobs.tasks import end_tasks

#: An idle worker looks at its queue this often, in case a wake-up was lost (FAULTS S12).
POLL_S = 2.0


@dataclass
class Counters:
    """What a worker has done, by arq's names."""

    complete: int = 0
    failed: int = 0
    retried: int = 0
    started: int = 0

    def note(self, verb: store.Verb) -> None:
        """Count one written ack."""
        match verb:
            case store.Verb.complete:
                self.complete += 1
            case store.Verb.fail | store.Verb.cancel | store.Verb.expire:
                self.failed += 1
            case store.Verb.retry | store.Verb.snooze | store.Verb.interrupt:
                self.retried += 1
            case store.Verb.park:
                pass

    def figures(self, ongoing: int) -> str:
        """The counters in the words of arq's health key."""
        return (
            f"j_complete={self.complete} j_failed={self.failed} "
            f"j_retried={self.retried} j_ongoing={ongoing}"
        )


@dataclass
class Budget:
    """How many more jobs a burst may start; `None` for no limit."""

    left: int | None = None

    def grant(self, want: int) -> int:
        """As many of `want` as are left."""
        return want if self.left is None else min(want, self.left)

    def spend(self, number: int) -> None:
        """Note that jobs were started."""
        if self.left is not None:
            self.left -= number


@dataclass
class Station:
    """Where a producer works: its queue, its server, its executor, and shared accounts."""

    queue: Queue
    keys: QueueKeys
    concurrency: int
    worker: str
    lease_ms: int
    link: Link
    executor: Executor
    held: dict[str, Held]
    counters: Counters
    budget: Budget = field(default_factory=Budget)


class Producer:
    """Duties: 1. keep every slot busy; 2. write acks soon and in batches; 3. lose neither over a
    broken connection: an unanswered step is repeated under the same request number.
    """

    def __init__(self, station: Station) -> None:
        self.station = station
        self.running: dict[str, Run] = {}
        self.taking = True
        self._acks: deque[tuple[Run, store.Ack]] = deque()
        self._sent: tuple[store.Turn, list[tuple[Run, store.Ack]]] | None = None
        self._request = 0
        self._nap_s = _nap_s(station.link)
        self._kick = asyncio.Event()
        self._hungry = asyncio.Event()
        self._soon: dict[str, float] | None = None
        self._after: set[asyncio.Task[None]] = set()

    # -- the loop --------------------------------------------------------------------------

    async def serve(self) -> None:
        """Work until cancelled."""
        async with self._waking():
            while True:
                await self._rest(await self.step())

    async def drain(self, soon_s: float) -> int:
        """Work until nothing waits, runs, or comes back within `soon_s`; how many were started."""
        before = self.station.counters.started
        self._soon = {}
        async with self._waking():
            while not self._drained(answer := await self.step(), soon_s):
                await self._rest(answer)
        return self.station.counters.started - before

    async def flush(self) -> None:
        """Write the acks of all jobs that have ended; give back what a call under way claimed."""
        while self._acks or self._unanswered():
            claimed = [run for job in (await self.step()).jobs if (run := self.running.get(job.id))]
            for run in claimed:
                run.stop_for(Why.shutdown)
            await asyncio.gather(*(run.task for run in claimed if run.task), return_exceptions=True)
        await asyncio.gather(*self._after, return_exceptions=True)

    def _unanswered(self) -> bool:
        """Whether a call must be repeated; one without acks is not worth waiting for a server."""
        return self._sent is not None and (bool(self._sent[1]) or not self.station.link.away)

    def stop_all(self, why: Why) -> None:
        """Stop every running job."""
        for run in list(self.running.values()):
            run.stop_for(why)

    def stop_one(
        self, job_id: str, why: Why, *, token: int | None = None, detail: str = ""
    ) -> None:
        """Stop a job that runs here; with a `token`, only the attempt that it belongs to."""
        run = self.running.get(job_id)
        if run is not None and token in (None, run.token):
            run.stop_for(why, detail)

    def kick(self) -> None:
        """Make the loop look now."""
        self._kick.set()

    # -- one step --------------------------------------------------------------------------

    async def step(self) -> store.Answer:
        """One round trip, repeated until it is answered."""
        station = self.station
        while True:
            turn, sent = self._sent or self._turn()
            self._sent = turn, sent
            try:
                answer = await station.link.call(
                    lambda turn=turn: store.step(station.link.client, station.keys, turn)  # type: ignore[misc]  # mypy infers no type for the default
                )
            except Exception as error:  # noqa: BLE001 -- sorted by the link, which raises what is not the server's
                await station.link.failed(error)
                continue
            self._sent = None
            self._settle(sent, answer.accepted)
            self._start(answer)
            return answer

    def _turn(self) -> tuple[store.Turn, list[tuple[Run, store.Ack]]]:
        station = self.station
        sent = [self._acks.popleft() for _ in range(min(MAX_ITEMS, len(self._acks)))]
        self._request += 1
        rate = station.queue.rate
        turn = store.Turn(
            worker=station.worker,
            request=self._request,
            lease_ms=station.lease_ms,
            want=self._free(),
            acks=[ack for _, ack in sent],
            rate_limit=rate.limit if rate else 0,
            rate_period_ms=rate.period_ms if rate else 0,
        )
        return turn, sent

    def _free(self) -> int:
        if not self.taking:
            return 0
        free = self.station.concurrency - len(self.running)
        return max(0, self.station.budget.grant(min(free, MAX_ITEMS)))

    def _settle(self, sent: list[tuple[Run, store.Ack]], accepted: str) -> None:
        for (run, ack), verdict in zip(sent, accepted, strict=True):
            if verdict != "1":
                logs.stale(run)
                continue
            self.station.counters.note(ack.verb)
            if self._soon is not None and ack.verb in (store.Verb.retry, store.Verb.snooze):
                self._soon[ack.id] = clock.mono() + ack.delay_ms / 1000
            if self.station.executor.has_after:
                task = asyncio.create_task(self.station.executor.after(run))
                self._after.add(task)
                task.add_done_callback(self._after.discard)

    def _start(self, answer: store.Answer) -> None:
        station = self.station
        now_s = clock.mono()
        for claimed in answer.jobs:
            run = Run(claimed, station.queue.name, station.worker, now_s)
            if before := self.running.get(claimed.id):
                before.stop_for(Why.lost)
            self.running[claimed.id] = run
            if self._soon:
                self._soon.pop(claimed.id, None)
            station.held[claimed.id] = run
            work = station.executor.run(run, answer.now_ms)
            run.task = asyncio.create_task(work, name=f"job-{claimed.id}")
            run.task.add_done_callback(lambda task, run=run: self._ended(run, task))  # type: ignore[misc]  # mypy infers no type for the default
        if answer.jobs:
            station.counters.started += len(answer.jobs)
            station.budget.spend(len(answer.jobs))

    def _ended(self, run: Run, task: asyncio.Task[store.Ack | None]) -> None:
        """A job's task is done: its slot is free, and its ack waits for the next step."""
        if self.running.get(run.job_id) is run:
            del self.running[run.job_id]
            self.station.held.pop(run.job_id, None)
        ack = self.station.executor.released(run) if task.cancelled() else task.result()
        if ack is not None:
            self._acks.append((run, ack))
        self._kick.set()

    # -- rest ------------------------------------------------------------------------------

    async def _rest(self, answer: store.Answer) -> None:
        """Sleep until there may be something to do."""
        if self._acks or self._kick.is_set():
            self._kick.clear()
            await asyncio.sleep(0)
            return
        free = self._free()
        if free and answer.waiting and answer.rate_wait_ms < 0:
            return
        waits = [ms / 1000 for ms in (answer.next_due_ms, answer.rate_wait_ms) if ms >= 0]
        if free:
            self._hungry.set()
        timer = asyncio.get_running_loop().call_later(min([*waits, POLL_S * 2]), self._kick.set)
        try:
            await self._kick.wait()
        finally:
            timer.cancel()
            self._hungry.clear()
            self._kick.clear()

    @asynccontextmanager
    async def _waking(self) -> AsyncIterator[None]:
        waker = asyncio.create_task(self._wake(), name=f"jobs-waker-{self.station.queue.name}")
        try:
            yield
        finally:
            await end_tasks(waker)

    async def _wake(self) -> None:
        """Wait at the queue's `wake` list whenever the loop is hungry; one element wakes it."""
        link, keys = self.station.link, self.station.keys
        while True:
            await self._hungry.wait()
            try:
                await link.call(lambda: store.wait_for_wake(link.client, keys, self._nap_s))
            except Exception as error:  # noqa: BLE001 -- sorted by the link
                await link.failed(error)
            self._hungry.clear()
            self._kick.set()

    def _drained(self, answer: store.Answer, soon_s: float) -> bool:
        if self.running or self._acks or (answer.waiting and self._free()):
            return False
        now = clock.mono()
        soon = [due for due in (self._soon or {}).values() if now - POLL_S < due < now + soon_s]
        return self._free() == 0 or not soon


def _nap_s(link: Link) -> float:
    """How long one call waits for a wake-up: less than the silence that ends a connection."""
    silence_s = link.client.connection_pool.connection_kwargs.get("socket_timeout")
    return min(POLL_S, silence_s / 2) if silence_s else POLL_S
