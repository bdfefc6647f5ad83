"""Chapter 9: one worker process serves many queues, each with its own limits."""

from __future__ import annotations

import asyncio
import time

from jobs import Client, Context, Queue, State, func, job
from tests.fundamentals.conftest import Work
from tests.helpers.waiting import wait_until


async def test_one_worker_serves_the_queues_of_its_functions(client: Client, work: Work) -> None:
    @job("mail", queue="email")
    async def mail(ctx: Context) -> str:
        return ctx.queue

    @job("shrink", queue="images")
    async def shrink(ctx: Context) -> str:
        return ctx.queue

    worker = await work(mail, shrink)
    assert sorted(worker.queues) == ["email", "images"]
    handles = [await client.enqueue(name) for name in ("mail", "shrink")]
    assert [await handle.result(timeout=20) for handle in handles] == ["email", "images"]
    assert await client.queues() == ["email", "images"]


async def test_concurrency_is_per_queue_and_worker(client: Client, work: Work) -> None:
    running = {"narrow": 0, "wide": 0}
    most = dict(running)

    @job("busy")
    async def busy(ctx: Context) -> None:
        running[ctx.queue] += 1
        most[ctx.queue] = max(most[ctx.queue], running[ctx.queue])
        await asyncio.sleep(0.02)
        running[ctx.queue] -= 1

    handles = [
        await client.enqueue("busy", queue=name) for name in ("narrow", "wide") for _ in range(12)
    ]
    await work(busy, queues=[Queue("narrow", concurrency=2), Queue("wide", concurrency=6)])
    await asyncio.gather(*(handle.result(timeout=20) for handle in handles))
    assert most == {"narrow": 2, "wide": 6}


async def test_a_rate_holds_over_all_workers_and_drops_nothing(client: Client, work: Work) -> None:
    starts: list[float] = []

    @job("call", queue=Queue("api", rate="5/200ms"))
    async def call(ctx: Context) -> None:
        starts.append(time.monotonic())

    handles = await client.enqueue_many([call.request() for _ in range(12)])
    began = time.monotonic()
    for _ in range(2):
        await work(call)
    await asyncio.gather(*(handle.result(timeout=20) for handle in handles))
    assert len(starts) == 12
    # Five in each 200 ms: the eleventh may not be claimed before 400 ms after the first.
    assert sorted(starts)[10] - began >= 0.39


async def test_ids_belong_to_their_queue(client: Client) -> None:
    first = await client.enqueue("anything", queue="a", id="1")
    second = await client.enqueue("anything", queue="b", id="1")
    assert (first.duplicate, second.duplicate) == (False, False)


async def test_a_queue_can_be_looked_through(client: Client) -> None:
    for n, priority in enumerate([5, 1, 3]):
        await client.enqueue("anything", {"n": n}, priority=priority)
    await client.enqueue("anything", {"n": 9}, delay="1h")
    queue = client.queue()
    counts = await queue.counts()
    assert (counts[State.waiting], counts[State.delayed]) == (3, 1)
    page = await queue.jobs(State.waiting)
    assert [info.kwargs["n"] for info in page] == [1, 2, 0]
    assert [info.kwargs["n"] async for info in queue.iterate(State.waiting, State.delayed)] == [
        1,
        2,
        0,
        9,
    ]


async def test_a_job_that_nobody_knows_is_parked_and_runs_when_somebody_does(
    client: Client, work: Work
) -> None:
    async def old(ctx: Context) -> None: ...

    async def new(ctx: Context, n: int) -> int:
        return n + 1

    first = await work(func(old, name="old"))
    queued = await client.enqueue("new", {"n": 1})

    async def parked() -> bool:
        return await queued.state() is State.parked

    await wait_until(parked, description="the job is parked, not failed")
    await first.close()
    await work(func(new, name="new"))
    assert await queued.result(timeout=20) == 2


async def test_the_workers_of_a_queue_are_listed(client: Client, work: Work) -> None:
    @job("noop")
    async def noop(ctx: Context) -> None: ...

    worker = await work(noop, max_jobs=7)
    queue = client.queue()
    (listed,) = await wait_until(queue.workers, description="the worker is in the list")
    assert listed.id == worker.id
    assert listed.data["concurrency"] == 7
