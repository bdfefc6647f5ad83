"""The measurements of `bench`: a real producer and a real worker at the user's own server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import uniform
from time import perf_counter, process_time
from typing import Any

from jobs import Client, Context, JobFunction, Queue, Worker, registry
from jobs.cli.codes import Code, Problem
from jobs.cli.scratch import MOST_QUEUED, Scratch, Tell, room, surely
from jobs.cli.verdict import Drained, Figures, Place, Rate, Spread
from jobs.engine import startup
from jobs.server_check import read_server, server_name
from jobs.signature import Signature

PAYLOAD = "x" * 200
BATCH = 100
LEAST_SAMPLES = 10
#: A worker that begins nothing for this long will not.
STALL_S = 10.0
LOOK_S = 0.25
#: Between two samples, so that the worker has gone to rest when the next job comes.
PAUSE_S = (0.005, 0.015)

#: The share of the time that each part gets; a tenth is left for starting and stopping workers.
PING, SET, ONE_BY_ONE, DRAIN, PICKUP, AWAITED = 0.05, 0.05, 0.12, 0.44, 0.12, 0.12
#: Of the time for bulk and drain, the share of one filling.
FILLING = 1 / 6


@dataclass(frozen=True)
class Plan:
    """For how long, and with a worker of which settings."""

    seconds: float
    concurrency: int
    loop: str
    settings: Mapping[str, Any]


class Tally:
    """What the jobs themselves note: how many, when the first and the last began."""

    def __init__(self) -> None:
        self.begin(1)

    def begin(self, goal: int) -> None:
        """Count from 0 to `goal`."""
        self.count, self.goal = 0, goal
        self.first_s = self.last_s = self.first_cpu_s = 0.0
        self.reached = asyncio.Event()

    def note(self) -> None:
        """A job began."""
        self.last_s = perf_counter()
        if not self.count:
            self.first_s, self.first_cpu_s = self.last_s, process_time()
        self.count += 1
        if self.count == self.goal:
            self.reached.set()


class Measurement:
    """One run.

    Args:
        client: the producer's connections.
        worker_client: those of the worker.
        scratch: where it may write.
        plan: what to measure.
        tick: called again and again with the name of what is measured.
    """

    def __init__(
        self, client: Client, worker_client: Client, scratch: Scratch, plan: Plan, tick: Tell
    ) -> None:
        self.client, self.scratch, self.plan, self.tick = client, scratch, plan, tick
        self._worker_client = worker_client
        self.tally = Tally()
        for each in (client, worker_client):
            each.prefix, each.default_queue_name = scratch.prefix, scratch.name
        self.function = _noop(scratch.name, self.tally)
        self._room = MOST_QUEUED
        self._bytes_a_job = 0

    async def run(self) -> Figures:
        """Measure everything."""
        place = await self._look_around()
        await self._warm_up()
        call = self.client.lane.execute_command  # the way that jobs travel
        ping = await self._sample("round trips", PING, timed(lambda: call("PING")))
        set_one = timed(lambda: call("SET", self.scratch.value, PAYLOAD))
        write = await self._sample("round trips", SET, set_one)
        one_by_one = await self._one_by_one()
        bulk, drain = await self._fill_and_drain()
        async with self._worker():
            pickup = await self._sample("pick-up", PICKUP, self._pick_up)
            awaited = await self._sample("enqueue and await", AWAITED, self._await_one)
        size = self._bytes_a_job or None
        return Figures(place, ping, write, one_by_one, bulk, drain, pickup, awaited, size)

    # -- before --------------------------------------------------------------------------------

    async def _look_around(self) -> Place:
        """What the server is; refuses one that cannot hold jobs, or has no room."""
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        info = await read_server(self.client)
        await startup.check(self.client)
        self._room = room(info, self.client.address)
        return Place(
            server=server_name(info),
            address=self.client.address,
            append_only=bool(int(info.get("aof_enabled", 0))),
            others_per_s=int(info.get("instantaneous_ops_per_sec", 0)),
            concurrency=self.plan.concurrency,
            loop=self.plan.loop,
            cores=os.cpu_count() or 1,  # the machine's, as its load is: also in a container
            load=round(load, 2),
        )

    async def _warm_up(self) -> None:
        """Open the connections and let the server load the scripts; costs that are paid once."""
        async with self._worker():
            await self._pick_up()
            await self._await_one()

    # -- the parts -----------------------------------------------------------------------------

    async def _sample(
        self, name: str, share: float, once: Callable[[], Awaitable[float]]
    ) -> Spread:
        """Do something for a share of the time; it returns the seconds that count."""
        until = perf_counter() + share * self.plan.seconds
        times: list[float] = []
        while len(times) < LEAST_SAMPLES or perf_counter() < until:
            self.tick(name)
            times.append(await once())
        return Spread.of(times)

    async def _one_by_one(self) -> Rate:
        began = now = perf_counter()
        until, jobs = began + ONE_BY_ONE * self.plan.seconds, 0
        while jobs < LEAST_SAMPLES or (now < until and jobs < self._room // 2):
            await self._enqueue(1)
            jobs += 1
            self.tick("enqueue one by one")
            now = perf_counter()
        await self.scratch.empty()
        return Rate(jobs, now - began)

    async def _fill_and_drain(self) -> tuple[Rate, Drained]:
        """Fill the queue in bulk and work it off, again and again."""
        began = perf_counter()
        seconds = DRAIN * self.plan.seconds
        fills: list[Rate] = []
        drains: list[Drained] = []
        while not fills or perf_counter() < began + seconds * (1 - FILLING):
            fills.append(await self._fill(seconds * FILLING))
            drains.append(await self._drain(fills[-1].jobs + BATCH, began + seconds))
            await self.scratch.empty()
        costs = [d.server_cpu_s for d in drains if d.server_cpu_s is not None]
        return Rate(sum(f.jobs for f in fills), sum(f.seconds for f in fills)), Drained(
            sum(d.jobs for d in drains),
            sum(d.seconds for d in drains),
            sum(d.worker_cpu_s for d in drains),
            sum(costs) if len(costs) == len(drains) else None,
        )

    async def _fill(self, seconds: float) -> Rate:
        used = await self._info("memory", "used_memory")
        await self._enqueue(BATCH)
        await self.scratch.expire()  # before the many come
        began = now = perf_counter()
        jobs = BATCH
        while jobs == BATCH or (now < began + seconds and jobs + BATCH <= self._room):
            await self._enqueue(BATCH)
            jobs += BATCH
            self.tick("enqueue in bulk")
            now = perf_counter()
        if used is not None and (after := await self._info("memory", "used_memory")) is not None:
            self._bytes_a_job = max(self._bytes_a_job, round((after - used) / jobs))
        return Rate(jobs - BATCH, now - began)

    async def _drain(self, jobs: int, until: float) -> Drained:
        """Work off what is queued with one worker, no longer than `until`."""
        tally = self.tally
        server_s = await self._server_cpu()
        tally.begin(jobs)
        async with self._worker() as worker:
            await self._reached("drain", worker, until)
            count, seconds = tally.count, tally.last_s - tally.first_s
            cpu_s = process_time() - tally.first_cpu_s
        after_s = await self._server_cpu()
        its_s = None if server_s is None or after_s is None else after_s - server_s
        return Drained(count - 1, seconds, cpu_s, its_s)

    async def _pick_up(self) -> float:
        """The time from enqueueing one job on an idle queue until it begins."""
        await asyncio.sleep(uniform(*PAUSE_S))
        self.tally.begin(1)
        began = perf_counter()
        await self._enqueue(1)
        await self._reached("pick-up", None, float("inf"))
        return self.tally.first_s - began

    async def _await_one(self) -> float:
        """The time from enqueueing one job on an idle queue until its result is here."""
        await asyncio.sleep(uniform(*PAUSE_S))
        began = perf_counter()
        (job,) = await self._enqueue(1)
        await job.result(timeout=STALL_S)
        return perf_counter() - began

    # -- tools ---------------------------------------------------------------------------------

    async def _enqueue(self, count: int) -> list[Any]:
        return await self.client.enqueue_many([self.function.request(PAYLOAD)] * count)

    async def _reached(self, name: str, worker: asyncio.Task[None] | None, until: float) -> None:
        """Wait until the jobs have begun that the tally waits for, or some have and time is over.

        Raises:
            Problem: the worker begins no job any more, though the server answers.
        """
        tally, seen, seen_s = self.tally, 0, perf_counter()
        while tally.count < tally.goal and not (tally.count >= BATCH and perf_counter() > until):
            self.tick(name)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await tally.reached.wait()
            if worker is not None and worker.done():
                worker.result()
            if tally.count != seen:
                seen, seen_s = tally.count, perf_counter()
            elif perf_counter() > seen_s + STALL_S:
                await self.client.ping()  # a server that is away says so
                text = f"the worker began no job for {STALL_S:g} s, though the server answers"
                raise Problem(text, "`arq-jobs doctor` looks closer", Code.failed)

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator[asyncio.Task[None]]:
        """A worker of the user's settings, without the user's functions and hooks."""
        own = self.scratch
        worker = Worker(
            [self.function],
            queues=[Queue(own.name)],
            queue_name=own.name,
            redis_pool=self._worker_client,
            max_jobs=self.plan.concurrency,
            handle_signals=False,
            job_completion_wait=0,
            health_check_key=own.health,
            **self.plan.settings,
        )
        task = asyncio.create_task(worker.async_run(), name="jobs-bench-worker")
        try:
            yield task
        finally:
            await surely(_end(worker, task))

    async def _server_cpu(self) -> float | None:
        """CPU seconds of the server's one thread for commands; of all its threads if not told."""
        info = await self.client.info("cpu")
        for end in ("_main_thread", ""):
            names = (f"used_cpu_user{end}", f"used_cpu_sys{end}")
            if all(name in info for name in names):
                return sum(float(info[name]) for name in names)
        return None

    async def _info(self, section: str, name: str) -> int | None:
        value = (await self.client.info(section)).get(name)
        return None if value is None else int(value)


def timed(call: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[float]]:
    """The call as one that returns how long it took."""

    async def once() -> float:
        began = perf_counter()
        await call()
        return perf_counter() - began

    return once


def _noop(queue: str, tally: Tally) -> JobFunction[[str], None]:
    """The job of the measurement; unknown to the application's own registry."""

    async def bench(_: Context, payload: str) -> None:  # noqa: ARG001 -- validated, as others are
        tally.note()

    signature = Signature.of("bench", bench)
    return JobFunction(registry.Function("bench", bench, signature, queue))


async def _end(worker: Worker, task: asyncio.Task[None]) -> None:
    worker.stop(grace=0)
    await worker.close()
    await asyncio.gather(task, return_exceptions=True)
