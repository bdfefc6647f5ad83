"""Everything of a worker that lives from its start to its stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic_core import from_json

from jobs import clock
from jobs.client import Client
from jobs.durations import to_ms
from jobs.emitting import note_subscriptions
from jobs.engine.accounts import Budget, Counters
from jobs.engine.deadlines import Deadlines
from jobs.engine.errors_told import ErrorTeller
from jobs.engine.executor import Bench, Executor
from jobs.engine.helm import Helm
from jobs.engine.lease import LeaseKeeper
from jobs.engine.letter_teller import LetterTeller
from jobs.engine.link import Link
from jobs.engine.notes import NoteWriter
from jobs.engine.outcome import Why
from jobs.engine.presence import Mode, Presence
from jobs.engine.producer import Producer, Station
from jobs.engine.upkeep import Heartbeat, Pruner, Rescuer, Unparker, Upkeep, retention_by
from jobs.keys import DEFAULT_QUEUE, QueueKeys, control_channel, queue_keys
from jobs.limits import scopes
from jobs.notes import Capturing
from jobs.options import Queue
from jobs.store import limits, workers
from jobs.store.commands import EVERY_WORKER, read_command
from jobs.store.control import read_request
from jobs.store.events import listen
from jobs.subscription import Subscription
from jobs.tasks import end_tasks

logger = logging.getLogger("jobs.worker")

#: Longest time that a stopping worker spends on writing what it knows.
FLUSH_S = 5.0
#: A worker begins without its introduction when the server does not answer within this time.
INTRODUCTION_S = 1.0
#: A burst waits for its own retries that are due within this time.
BURST_SOON_S = 60.0


@dataclass(frozen=True)
class Setup:
    """What a session is made from."""

    worker: str
    client: Client
    queues: Mapping[str, Queue]
    default_concurrency: int
    lease_ms: int
    most_losses: int
    bench: Bench
    counters: Counters
    budget: Budget
    connect_blocking: Callable[[], Any]
    #: Stops the worker, with so many seconds of grace (`None`: its own).
    stop: Callable[[float | None], None]
    #: Kind and version of the server.
    server: str = "?"
    #: Whether the worker claims jobs from its start; else it is quiet until told.
    autorun: bool = True


class Session:
    """Duties: 1. start producers, leases and upkeep in the right order; 2. stop them so that
    nothing is lost: no more claims, time to finish, release of the rest, last acks.
    """

    def __init__(self, setup: Setup, extra_loops: Callable[[Link], Sequence[Upkeep]]) -> None:
        self.setup = setup
        self.link = Link(setup.client)
        self._rules = {name: _rules(setup, name) for name in setup.queues}
        self.keys = {name: self._keys(name) for name in setup.queues}
        self._declared = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._leases = LeaseKeeper(
            setup.connect_blocking,
            setup.lease_ms,
            loop,
            self._on_lost,
            self._on_cancel,
        )
        self._deadlines = Deadlines(loop)
        self.producers = {name: self._producer(name) for name in setup.queues}
        self._presence = Presence(
            setup.worker,
            self.producers,
            self.keys,
            self._leases.watch,
            functions=setup.bench.functions,
            fallbacks=setup.bench.fallbacks,
            server=setup.server,
            stale_ms=_stale_ms(setup),
        )
        self._leases.on_blocked = self._presence.beat_while_blocked
        self._control = Subscription(setup.client, self._on_control, lambda: None)
        self._channels = {control_channel(n, setup.client.prefix): n for n in setup.queues}
        self._heartbeat = Heartbeat(
            self.link,
            self.keys,
            worker=setup.worker,
            interval_s=setup.lease_ms / 2000,
            describe=self._presence.describe,
            on_overdue=lambda name: self.producers[name].look(),
        )
        self._loops: list[Upkeep] = [self._heartbeat, *self._upkeep(), *extra_loops(self.link)]
        self._tasks: list[asyncio.Task[None]] = []
        self._introduction: asyncio.Task[None] | None = None
        functions = {**setup.bench.fallbacks, **setup.bench.functions}.values()
        levels = [function.capture for function in functions]
        self._capturing = Capturing(setup.bench.capture, levels)
        self.hurry = asyncio.Event()
        self.helm = Helm(self.producers, self._presence, self._heartbeat, setup.stop)
        if not setup.autorun:
            self.helm.turn(Mode.quiet)

    def _keys(self, name: str) -> QueueKeys:
        shared = limits.are_shared(self._rules[name])
        return queue_keys(name, self.setup.client.prefix, shared=shared)

    def _producer(self, name: str) -> Producer:
        setup, queue = self.setup, self.setup.queues[name]
        notes = NoteWriter(self.link, self.keys[name])
        producer = Producer(
            Station(
                queue=queue,
                keys=self.keys[name],
                concurrency=queue.concurrency or setup.default_concurrency,
                worker=setup.worker,
                lease_ms=setup.lease_ms,
                link=self.link,
                executor=Executor(
                    setup.bench, queue.defaults, setup.bench.fallbacks.get(name), notes=notes
                ),
                notes=notes,
                deadlines=self._deadlines,
                counters=setup.counters,
                budget=setup.budget,
            )
        )
        self._leases.serve(name, self.keys[name], producer.slots.runs)
        return producer

    def _upkeep(self) -> list[Upkeep]:
        setup, keys = self.setup, self.keys
        bench = setup.bench
        return [
            Rescuer(
                self.link,
                keys,
                lease_ms=setup.lease_ms,
                most_losses=setup.most_losses,
                retention=retention_by(bench.functions, setup.queues, bench.deserializer),
            ),
            Unparker(
                self.link,
                keys,
                functions=bench.functions.keys(),
                fallbacks=bench.fallbacks.keys(),
                interval_s=setup.lease_ms / 3000,
                deserializer=bench.deserializer,
            ),
            Pruner(self.link, keys),
            ErrorTeller(self.link, keys, worker=setup.worker),
            *self._letter_teller(),
        ]

    def _letter_teller(self) -> list[Upkeep]:
        """The loop for the queues that have a function for their dead letters."""
        setup = self.setup
        functions = {name: q.dead_letter for name, q in setup.queues.items() if q.dead_letter}
        if not functions:
            return []
        return [
            LetterTeller(
                self.link,
                self.keys,
                worker=setup.worker,
                functions=functions,
                known=setup.bench.functions,
            )
        ]

    # -- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to claim; a server that is away at this moment delays nothing but the jobs."""
        self._capturing.begin()
        self._introduction = asyncio.create_task(self._introduce(), name="jobs-introduction")
        await asyncio.wait([self._introduction], timeout=INTRODUCTION_S)
        self._leases.start()
        for loop in self._loops:
            if loop.before_work:
                await loop.turn()
            loop.start()

    async def _introduce(self) -> None:
        """Write the limits down, name the queues to everybody, and listen for wishes, however
        long the server is away.
        """
        client = self.setup.client
        names = list(self.setup.queues)
        for name in names:
            await self.link.insist(partial(self._declare_limits, name))
        self._declared.set()
        await self.link.insist(lambda: workers.add_queues(client, client.prefix, names))
        for name, queue in self.setup.queues.items():
            if queue.events:
                await self.link.insist(partial(listen, self.link.lane, self.keys[name], -1))
        for channel in self._channels:
            await self.link.insist(partial(self._control.subscribe, channel))
        await self.link.insist(lambda: note_subscriptions(client, self.setup.bench.functions))

    async def _declare_limits(self, name: str) -> None:
        ageing = self.setup.queues[name].ageing
        ageing_ms = 0 if ageing is None else to_ms(ageing)
        keys, rules = self.keys[name], self._rules[name]
        await limits.write_rules(self.link.lane, keys, rules, ageing_ms=ageing_ms)

    def serve(self) -> None:
        """Serve every queue until stopped."""
        self._tasks = [
            asyncio.create_task(self._serve(producer), name=f"jobs-producer-{name}")
            for name, producer in self.producers.items()
        ]

    async def _serve(self, producer: Producer) -> None:
        await self._declared.wait()  # nothing is claimed before the limits are known
        await producer.serve()

    async def drain(self) -> None:
        """Work until every queue is empty at once; a job may fill another queue."""
        await self._declared.wait()
        while any(await asyncio.gather(*(p.drain(BURST_SOON_S) for p in self.producers.values()))):
            pass

    async def finish_burst(self, burst: asyncio.Future[None], grace_s: float) -> None:
        """Let a burst that was asked to stop end by itself within the grace."""
        hurry = asyncio.ensure_future(self.hurry.wait())
        either: list[asyncio.Future[Any]] = [burst, hurry]
        await asyncio.wait(either, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()

    async def failure(self) -> None:
        """Wait until a producer ends, which only an error of this code can make it do."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def take_no_more(self) -> None:
        """Claim nothing any more: the worker stops."""
        self.helm.turn(Mode.stopping)

    async def stop(self, grace_s: float) -> None:
        """Stop claiming, let jobs finish for `grace_s` seconds, release the rest, write all acks.

        `hurry` cuts the grace short.
        """
        self.take_no_more()
        await self._stop_loops(draining=False)
        await self._finish(grace_s)
        for producer in self.producers.values():
            producer.stop_all(Why.shutdown)
        await self._finish(FLUSH_S, hurried=False)
        await end_tasks(*self._tasks, self._introduction)
        await self._stop_loops(draining=True)
        await self.helm.aclose()
        await self._flush()
        for producer in self.producers.values():
            await producer.station.notes.aclose()
        self._capturing.end()
        self._leases.stop()
        await self._control.aclose()
        self._leases.join(1)
        if self.setup.bench.processes:
            await self.setup.bench.processes.aclose()
        self._deadlines.close()
        if self.setup.bench.threads:
            self.setup.bench.threads.shutdown(wait=False, cancel_futures=True)

    async def _stop_loops(self, *, draining: bool) -> None:
        for loop in self._loops:
            if loop.while_draining is draining:
                await loop.stop()

    async def _finish(self, within_s: float, *, hurried: bool = True) -> None:
        """Wait for the running jobs to end."""
        over_s = clock.mono() + within_s
        while running := self._running():
            left = over_s - clock.mono()
            if left <= 0 or (hurried and self.hurry.is_set()):
                return
            hurry = asyncio.ensure_future(self.hurry.wait())
            await asyncio.wait(
                [*running, *([hurry] if hurried else [])],
                timeout=left,
                return_when=asyncio.FIRST_COMPLETED,
            )
            hurry.cancel()

    def ongoing(self) -> int:
        """How many jobs run now."""
        return sum(len(producer.slots.runs) for producer in self.producers.values())

    def _running(self) -> list[asyncio.Task[Any]]:
        return [task for producer in self.producers.values() for task in producer.slots.tasks()]

    async def _flush(self) -> None:
        """Write the last acks and leave the registry, if the server lets us."""
        try:
            async with asyncio.timeout(FLUSH_S):
                for producer in self.producers.values():
                    await producer.flush()
        except TimeoutError:
            logger.warning("no answer: the last acks are lost, so their jobs will run again")

    async def leave(self) -> int:
        """Take the worker out of the registry of its queues; how many others are alive."""
        stale_ms = int(self.setup.lease_ms)
        return max(
            [
                await workers.leave(self.setup.client, keys, self.setup.worker, stale_ms)
                for keys in self.keys.values()
            ]
        )

    # -- news ------------------------------------------------------------------------------

    def _on_control(self, channel: str, data: bytes) -> None:
        """Hear a wish; what cannot be read must not end the listening."""
        try:
            self._hear(channel, data)
        except Exception as error:  # noqa: BLE001 -- any program may write to the channel
            logger.warning("a message on %s is not understood: %r", channel, error)

    def _hear(self, channel: str, data: bytes) -> None:
        if command := read_command(data):
            if command.worker in (self.setup.worker, EVERY_WORKER):
                self.helm.obey(command)
            return
        job_id, line = read_request(data)
        if not job_id:
            for loop in self._loops:
                loop.told(self._channels[channel], line)
            return
        reason = str(from_json(line).get("reason", ""))
        self.producers[self._channels[channel]].stop_one(job_id, Why.cancel, detail=reason)

    def _on_lost(self, queue: str, leases: list[tuple[str, int]]) -> None:
        for job_id, token in leases:
            self.producers[queue].stop_one(job_id, Why.lost, token=token)

    def _on_cancel(self, queue: str, leases: list[tuple[str, int]]) -> None:
        for job_id, token in leases:
            self.producers[queue].stop_one(job_id, Why.cancel, token=token)


def _stale_ms(setup: Setup) -> int:
    """A worker counts as dead when it has missed three heartbeats."""
    return setup.lease_ms * 3 // 2


def _rules(setup: Setup, queue: str) -> dict[str, str]:
    """The limits of a queue and of the functions whose jobs go there, by scope."""
    functions = setup.bench.functions.values()
    of = {f.name: f.limits for f in functions if (f.queue or DEFAULT_QUEUE) == queue or f.limits}
    return scopes(setup.queues[queue].limits, of)
