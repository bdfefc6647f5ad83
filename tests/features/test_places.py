"""Where jobs run: B19, B20, B22."""

from __future__ import annotations

import asyncio
import os

import pytest

from jobs import (
    Client,
    Context,
    JobFailed,
    Queue,
    Worker,
    job,
)
from tests.features.conftest import Work
from tests.helpers import cpu

# -- B19, B20, B22: where jobs run ------------------------------------------------------------


async def test_b19_a_process_for_each_job_that_can_be_killed(client: Client, work: Work) -> None:
    await work(cpu.facts, cpu.compute)
    told = await (await client.enqueue("facts")).result(timeout=20)
    assert told["pid"] != os.getpid()
    stuck = await cpu.compute.options(timeout="100ms", attempts=1).enqueue("sleep", 60)
    with pytest.raises(JobFailed, match="JobTimedOut"):
        await stuck.result(timeout=20)


async def test_b20_a_worker_inside_the_application(client: Client) -> None:
    @job
    async def double(ctx: Context, n: int) -> int:
        return 2 * n

    worker = Worker([double], redis_pool=client, handle_signals=False)
    running = asyncio.create_task(worker.async_run())
    assert await (await double.enqueue(21)).result(timeout=20) == 42
    await worker.close()
    await running
    assert await client.ping()  # the application's connection stays open


async def test_b22_each_queue_has_its_own_number_of_slots(client: Client, work: Work) -> None:
    wide, narrow = Queue("wide", concurrency=3), Queue("narrow", concurrency=1)
    at_once = {"wide": 0, "narrow": 0}
    most = {"wide": 0, "narrow": 0}

    async def occupy(ctx: Context) -> None:
        at_once[ctx.queue] += 1
        most[ctx.queue] = max(most[ctx.queue], at_once[ctx.queue])
        await asyncio.sleep(0.02)
        at_once[ctx.queue] -= 1

    in_wide, in_narrow = wide.job("in_wide")(occupy), narrow.job("in_narrow")(occupy)
    queued = [await function.enqueue() for function in (in_wide, in_narrow) for _ in range(9)]
    await work(in_wide, in_narrow)
    for one in queued:
        await one.result(timeout=20)
    assert most == {"wide": 3, "narrow": 1}
