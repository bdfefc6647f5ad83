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
from dataclasses import dataclass, field, replace

from jobs import clock, logs
from jobs.engine.accounts import Budget, Counters
from jobs.engine.deadlines import Deadlines
from jobs.engine.executor import Executor
from jobs.engine.link import Link
from jobs.engine.notes import NoteWriter
from jobs.engine.outcome import Why
from jobs.engine.run import Run
from jobs.engine.slots import Slots
from jobs.keys import QueueKeys
from jobs.lane import Lane
from jobs.options import Queue
from jobs.store import queue as store
from jobs.store._script import MAX_ITEMS
from jobs.tasks import end_tasks

#: A step stands behind the wait for a wake-up for this share of a lease, and at most so many
#: seconds; then the server makes it in any case.
NAP_OF_LEASE, LONGEST_NAP_S = 0.4, 12.0
#: One that is silent so long after its time is given up, with its connection.
NAP_MARGIN_S = 1.0
#: Jobs of a burst that were due so lately are about to be staged.
STAGED_S = 2.0
#: A step is worth its round trip when it carries so many acks …
ENOUGH = MAX_ITEMS // 2
#: … or when one has been put off so long.
ACK_WAIT_S = 0.001


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
    notes: NoteWriter
    deadlines: Deadlines
    counters: Counters
    budget: Budget = field(default_factory=Budget)


class Producer:
    """Duties: 1. keep every slot busy; 2. write acks soon and in batches; 3. lose neither over a
    broken connection: an unanswered step is repeated under the same request number.
    """

    def __init__(self, station: Station) -> None:
        self.station = station
        self.slots = Slots(station.executor, station.concurrency, station.deadlines, self._ended)
        self.taking = True
        self._acks: deque[tuple[Run, store.Ack]] = deque()
        self._sent: tuple[store.Turn, list[tuple[Run, store.Ack]]] | None = None
        self._request = 0
        self._before = self._lately = 0
        self._ahead = 0
        self._limited = station.queue.rate is not None or station.budget.left is not None
        self._loop = asyncio.get_running_loop()
        self._kick = asyncio.Event()
        self._looks = False
        self._alarm_s: float | None = None
        self._heard_ms = 0
        self._nudge: asyncio.TimerHandle | None = None
        self._nap_s = min(LONGEST_NAP_S, NAP_OF_LEASE * station.lease_ms / 1000)
        self._bell = Lane(station.link.client.connection_pool, self._nap_s + NAP_MARGIN_S)
        self._nap: asyncio.Task[None] | None = None
        self._naps = 0
        self._napping: store.Turn | None = None
        self._reserved = 0
        self._news: store.Answer | None = None
        self._soon: dict[str, float] | None = None
        self._after: set[asyncio.Task[None]] = set()

    # -- the loop --------------------------------------------------------------------------

    async def serve(self) -> None:
        """Work until cancelled."""
        async with self._awake():
            answer = await self.step()
            while True:
                answer = await self._next(answer)

    async def drain(self, soon_s: float) -> int:
        """Work until nothing waits, runs, or comes back within `soon_s`; how many were started."""
        before = self.slots.started
        self._soon = {}
        while True:
            async with self._awake():
                answer = await self.step()
                while not self._drained(answer, soon_s):
                    answer = await self._next(answer)
            if not await self._recall_nap():
                return self.slots.started - before

    async def flush(self) -> None:
        """Write the acks of all jobs that have ended; give back what calls under way claimed."""
        if not self.station.link.away:
            await self._recall_nap()
        while self._acks or self._unanswered():
            await self.step()
        await asyncio.gather(*self._after, return_exceptions=True)

    def _unanswered(self) -> bool:
        """Whether a call must be repeated; one without acks is not worth waiting for a server."""
        return self._sent is not None and (bool(self._sent[1]) or not self.station.link.away)

    def take_no_more(self) -> None:
        """Claim nothing any more, and give back what has not begun."""
        self.taking = False
        self.slots.give_back()
        self._kick.set()

    def look(self) -> None:
        """Look at the queue at once: something may be there."""
        self._looks = True
        self._kick.set()

    def stop_all(self, why: Why) -> None:
        """Stop every running job."""
        for run in list(self.slots.runs.values()):
            run.stop_for(why)

    def stop_one(
        self, job_id: str, why: Why, *, token: int | None = None, detail: str = ""
    ) -> None:
        """Stop a job that runs here; with a `token`, only the attempt that it belongs to."""
        run = self.slots.runs.get(job_id)
        if run is not None and token in (None, run.token):
            run.stop_for(why, detail)

    # -- one step --------------------------------------------------------------------------

    async def step(self) -> store.Answer:
        """One round trip, repeated until it is answered."""
        station = self.station
        while True:
            turn, sent = self._sent or self._turn()
            self._sent = turn, sent
            try:
                if sent and station.notes.has_notes:  # the end of an attempt must not overtake them
                    await station.link.call(station.notes.write)
                answer = await station.link.call(
                    lambda turn=turn: store.step(station.link.lane, station.keys, turn)  # type: ignore[misc]  # mypy infers no type for the default
                )
            except Exception as error:  # noqa: BLE001 -- sorted by the link, which raises what is not the server's
                await station.link.failed(error)
                continue
            self._sent = None
            self._settle(sent, answer.accepted)
            self._take(answer)
            self._set_alarm(answer)
            return answer

    def _turn(self) -> tuple[store.Turn, list[tuple[Run, store.Ack]]]:
        station = self.station
        sent = [self._acks.popleft() for _ in range(min(MAX_ITEMS, len(self._acks)))]
        self._request += 1
        self._looks = False
        self._ahead = max(self._before + self._lately, self._ahead * 3 // 4)
        self._before, self._lately = self._lately, 0
        turn = self._new_turn(station.worker, self._request)
        return replace(turn, want=self._want(), acks=[ack for _, ack in sent]), sent

    def _new_turn(self, worker: str, request: int) -> store.Turn:
        rate = self.station.queue.rate
        return store.Turn(
            worker=worker,
            request=request,
            lease_ms=self.station.lease_ms,
            want=0,
            rate_limit=rate.limit if rate else 0,
            rate_period_ms=rate.period_ms if rate else 0,
        )

    def _want(self) -> int:
        """How many jobs to claim: one for each free slot, and as many ahead as lately ended
        during two round trips, so that no slot waits for the server.

        None ahead where that would be noticed: under a rate or a limit of a burst, and with one
        slot, so that a job which kills its worker takes no other with it.
        """
        if not self.taking:
            return 0
        ahead = 0 if self._limited or self.station.concurrency == 1 else min(self._ahead, MAX_ITEMS)
        want = self.station.concurrency + ahead - len(self.slots.runs) - self._reserved
        return max(0, self.station.budget.grant(min(want, MAX_ITEMS)))

    def _settle(self, sent: list[tuple[Run, store.Ack]], accepted: str) -> None:
        station = self.station
        has_after = station.executor.has_after
        for (run, ack), verdict in zip(sent, accepted, strict=True):
            if verdict != "1":
                logs.stale(run)
                continue
            station.counters.note(ack.verb)
            if self._soon is not None and ack.verb in (store.Verb.retry, store.Verb.snooze):
                self._soon[ack.id] = clock.mono() + ack.delay_ms / 1000
            if has_after:
                task = asyncio.create_task(station.executor.after(run))
                self._after.add(task)
                task.add_done_callback(self._after.discard)

    def _take(self, answer: store.Answer) -> None:
        if not answer.jobs:
            return
        queue, worker, now_s = self.station.queue.name, self.station.worker, clock.mono()
        self.slots.add(Run(job, queue, worker, answer.now_ms, now_s) for job in answer.jobs)
        if self._soon:
            for job in answer.jobs:
                self._soon.pop(job.id, None)
        self.station.budget.spend(len(answer.jobs))
        if not self.taking:
            self.slots.give_back()

    # -- rest ------------------------------------------------------------------------------

    def _ended(self, run: Run, ack: store.Ack | None) -> None:
        """An attempt is over: its ack waits for the next step."""
        if ack is not None:
            self._acks.append((run, ack))
        if ack is not None and ack.verb is store.Verb.release:
            self._ahead = self._before = self._lately = 0
        else:
            self._lately += 1
        if self._is_worth_a_step():
            self._kick.set()
        else:
            self._step_soon()

    def _is_worth_a_step(self) -> bool:
        """While jobs stand in line nothing is lost by waiting until a step carries enough."""
        return not self.slots.waiting or len(self._acks) >= ENOUGH

    def _step_soon(self) -> None:
        if self._nudge is None:
            self._nudge = self._loop.call_later(ACK_WAIT_S, self._step_now)

    def _step_now(self) -> None:
        self._nudge = None
        self.look()

    async def _next(self, answer: store.Answer) -> store.Answer:
        """Sleep until there may be something to do; the answer of the next step."""
        while True:
            if self._nap is not None and self._nap.done():
                self._nap.result()  # an error of this code ends the worker
                self._nap = None
            if self._news is not None:
                answer, self._news = self._news, None
                return answer
            want = self._want()
            more = self._acks or (want and answer.waiting and answer.rate_wait_ms < 0)
            if self._looks or (more and self._is_worth_a_step()):
                return await self.step()
            if more:
                self._step_soon()
            elif want and self._nap is None:
                self._begin_nap(want)
            await self._sleep()

    def _set_alarm(self, answer: store.Answer) -> None:
        """Note when the queue is to be looked at in any case: a delayed job is due, or the rate
        allows a claim. Naps may end before that; the moment stays.
        """
        waits = [ms / 1000 for ms in (answer.next_due_ms, answer.rate_wait_ms) if ms >= 0]
        if self._soon:
            waits.append(STAGED_S)
        at_s = self._loop.time() + min(waits) if waits else None
        if self._alarm_s is not None and answer.now_ms <= self._heard_ms:  # two answers may cross
            at_s = self._alarm_s if at_s is None else min(at_s, self._alarm_s)
        self._alarm_s, self._heard_ms = at_s, max(answer.now_ms, self._heard_ms)

    async def _sleep(self) -> None:
        self._kick.clear()
        alarm_s = self._alarm_s
        timer = None if alarm_s is None else self._loop.call_at(alarm_s, self.look)
        try:
            await self._kick.wait()
        finally:
            if timer is not None:
                timer.cancel()

    # -- naps ------------------------------------------------------------------------------

    @asynccontextmanager
    async def _awake(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await end_tasks(self._nap)
            self._nap = None
            await self._bell.aclose()

    def _begin_nap(self, want: int) -> None:
        """Have the server make a step as soon as there is a job; its claims are reserved."""
        self._reserved = want
        self._naps += 1
        turn = self._new_turn(f"{self.station.worker}#", self._naps)
        self._napping = turn = replace(turn, want=want, quiet=True)
        self._nap = asyncio.create_task(self._take_nap(turn), name=f"jobs-{turn.worker}")

    async def _take_nap(self, turn: store.Turn) -> None:
        station = self.station
        try:
            woken, answer = await store.step_when_woken(self._bell, station.keys, turn, self._nap_s)
        except Exception as error:  # noqa: BLE001 -- sorted by the link
            await station.link.failed(error)
            woken, answer = True, await self._recall(turn)
        finally:
            self._reserved = 0
            self._kick.set()
        self._napping = None
        if answer.now_ms:
            self._take(answer)
            self._set_alarm(answer)
            self._news = answer
        elif woken:  # by a delayed job that is due before all others
            self.look()

    async def _recall_nap(self) -> bool:
        """Take what the server claimed for a nap that was broken off; whether it did."""
        if not (turn := self._napping):
            return False
        answer, self._napping = await self._recall(turn), None
        self._take(answer)
        return bool(answer.jobs)

    async def _recall(self, turn: store.Turn) -> store.Answer:
        """What the server did of a nap whose answer is lost: the same request, claiming no more."""
        station = self.station
        turn = replace(turn, want=0, quiet=False)
        return await station.link.insist(lambda: store.step(station.link.lane, station.keys, turn))

    def _drained(self, answer: store.Answer, soon_s: float) -> bool:
        over = not self.taking or self.station.budget.left == 0
        left = answer.waiting or answer.rate_wait_ms >= 0
        if self.slots.runs or self._acks or (left and not over):
            return False
        now = clock.mono()
        soon = [due for due in (self._soon or {}).values() if now - STAGED_S < due < now + soon_s]
        return over or not soon
