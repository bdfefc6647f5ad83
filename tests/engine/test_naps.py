"""An idle worker: its next step lies at the server behind the wait for a wake-up."""

from __future__ import annotations

import asyncio
import random
import time

from jobs import Client, State
from jobs.keys import queue_keys
from tests.helpers.acting import act
from tests.helpers.keyspace import audit, untyped
from tests.helpers.proxy import Proxy
from tests.helpers.servers import Server
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running, stage_of

#: A short lease makes short naps: 0.4 of it.
LEASE_S = 0.5
SEED = 7


async def test_a_delayed_job_outlasts_many_naps(client: Client, redis_url: str) -> None:
    """Each nap ends without news; the moment at which the job is due stays what it is."""
    async with running(redis_url, lease=LEASE_S) as worker:
        began = time.monotonic()
        job = await act.options(client=client, delay=1.5).enqueue("ok", 1)
        await job.result(timeout=20)
        ((_, _, started),) = stage_of(worker).starts
    assert 1.5 <= started - began < 1.7


async def test_no_job_is_overlooked_between_naps(client: Client, redis_url: str) -> None:
    """Jobs come when a nap begins, ends, or is under way, beside jobs that end just then."""
    dice = random.Random(SEED)
    async with running(redis_url, lease=LEASE_S / 5, max_jobs=3):
        for number in range(150):
            job = await act.options(client=client).enqueue("sleep", dice.random() / 500)
            await asyncio.sleep(dice.random() / 50)  # to meet the naps at every moment
            if number % 3:
                await job.result(timeout=20)

        async def all_done() -> bool:
            return (await client.queue().counts())[State.completed] == 150

        await wait_until(all_done, description="every job has run")


async def test_a_nap_whose_answer_is_lost_is_asked_for_again(
    server: Server, client: Client
) -> None:
    """The server has claimed the job by then: the same request tells of it."""
    with Proxy(server.port) as proxy:
        async with running(proxy.url) as worker:
            proxy.cuts = lambda asked: b"#\r\n" in asked and proxy.cut < 1
            job = await act.options(client=client).enqueue("ok", 5)
            assert await job.result(timeout=20) == 5
            assert proxy.cut == 1
            assert stage_of(worker).attempts(job.id) == [1]
            info = await job.details()
    assert (info.losses, info.interruptions) == (0, 0)


async def test_a_worker_that_stops_while_it_naps_keeps_no_job(
    client: Client, redis_url: str
) -> None:
    dice = random.Random(SEED)
    for _ in range(15):
        async with running(redis_url) as worker:
            enqueued = asyncio.ensure_future(act.options(client=client).enqueue("ok"))
            await asyncio.sleep(dice.random() / 300)  # the job meets the stop at every moment
            worker.stop()
            await enqueued
    counts = await client.queue().counts()
    assert counts[State.active] == 0
    assert counts[State.completed] + counts[State.waiting] == 15
    assert await audit(client) == []


async def test_a_worker_that_leaves_forgets_its_naps(client: Client, redis_url: str) -> None:
    async with running(redis_url):
        await act.options(client=client).enqueue("ok")
    assert await untyped(client).hlen(queue_keys("default").claims) == 0
