"""What things cost: round trips, commands while idle, and the time until a job starts."""

from __future__ import annotations

import asyncio
import statistics
import time
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs import Client, State, Worker
from tests.helpers.acting import act
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running, stage_of


async def commands(admin: Redis) -> dict[str, int]:
    """How often each command came from clients, those inside scripts not counted apart."""
    found: Any = await admin.info("commandstats")
    return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in found.items()}


@pytest.mark.parametrize(("number", "trips"), [(1, 1), (100, 1), (101, 2), (1_000, 10)])
async def test_a_hundred_jobs_are_one_round_trip(
    client: Client, redis_url: str, number: int, trips: int
) -> None:
    async with Redis.from_url(redis_url) as admin:
        await client.enqueue_many([act.request()])  # connects, announces, loads the script
        await admin.config_resetstat()
        jobs = await client.enqueue_many([act.request("ok", n) for n in range(number)])
        spent = await commands(admin)
    assert len(jobs) == number
    assert spent["evalsha"] == trips
    assert spent.get("eval", 0) == spent.get("sadd", 0) == spent.get("multi", 0) == 0


async def test_a_hundred_jobs_run_in_few_round_trips(client: Client, redis_url: str) -> None:
    """Acks, staging and claims share a call; arq takes 17 commands a job."""
    async with Redis.from_url(redis_url) as admin, running(redis_url, max_jobs=100) as worker:
        await act.options(client=client).enqueue()
        await wait_until(lambda: worker.jobs_complete == 1, description="it is warm")
        await admin.config_resetstat()
        await client.enqueue_many([act.request("ok", n) for n in range(500)])
        await wait_until(lambda: worker.jobs_complete == 501, description="all have run")
        spent = await commands(admin)
    assert spent["evalsha"] <= 40, spent


def has_run(worker: Worker, number: int) -> bool:
    return worker.jobs_complete == number


async def test_an_idle_worker_starts_a_job_within_milliseconds(
    client: Client, redis_url: str
) -> None:
    """The median of fifty, from the call of enqueue to the first step of the function."""
    async with running(redis_url) as worker:
        stage = stage_of(worker)
        waits = []
        for number in range(1, 51):
            began = time.monotonic()
            await act.options(client=client).enqueue()
            ran = partial(has_run, worker, number)
            await wait_until(ran, description="it ran", poll=0.001)
            waits.append(stage.starts[-1][2] - began)
    assert statistics.median(waits) < 0.05, sorted(waits)


async def test_a_freed_slot_is_filled_at_once(client: Client, redis_url: str) -> None:
    """arq-B7: a hundred jobs of 10 ms through ten slots take about a tenth of a second."""
    await client.enqueue_many([act.request("sleep", 0.01) for _ in range(100)])
    async with running(redis_url, max_jobs=10) as worker:
        await wait_until(lambda: worker.jobs_complete == 100, description="all have run")
        stage = stage_of(worker)
    assert stage.most == 10
    assert stage.ends[-1][2] - stage.starts[0][2] < 2.5


async def test_an_idle_worker_is_quiet(client: Client, redis_url: str) -> None:
    """It blocks at the server until it is woken: nothing is polled twice a second."""
    async with running(redis_url, lease=30), Redis.from_url(redis_url) as admin:
        delayed = await act.options(client=client, delay=1).enqueue("ok", "later")
        await asyncio.sleep(0.1)  # the wake-up by the delayed job itself
        await admin.config_resetstat()
        began = time.monotonic()
        assert await delayed.result(timeout=10) == "later"
        idle_s = time.monotonic() - began
        spent = await commands(admin)
    blocking = spent.get("blpop", 0)
    assert 0.5 < idle_s < 3
    assert blocking <= 2
    assert spent["evalsha"] <= 6, spent


async def test_waiting_jobs_do_not_keep_an_idle_queue_busy(client: Client, redis_url: str) -> None:
    """A worker that is full looks when a job ends, not all the time."""
    one_slot = running(redis_url, max_jobs=1, lease=30)
    async with Redis.from_url(redis_url) as admin, one_slot as worker:
        jobs = await client.enqueue_many([act.request("gate") for _ in range(3)])
        await wait_until(lambda: stage_of(worker).starts, description="one runs")
        await admin.config_resetstat()
        with pytest.raises(TimeoutError):
            await jobs[0].result(timeout=0.5)
        spent = await commands(admin)
        stage_of(worker).gate.set()
        await asyncio.gather(*(job.result(timeout=10) for job in jobs))
    assert spent["evalsha"] <= 5, spent
    assert (await client.queue().counts())[State.completed] == 3
