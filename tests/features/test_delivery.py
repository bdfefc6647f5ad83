"""Delivery: leases, rescue, poison, refunds, pick-up without polling, batches, stops, processes."""

from __future__ import annotations

import asyncio
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs import Client, Context, Queue, State, func
from jobs.errors import JobFailed, ServerAway
from jobs.handle import Job
from jobs.keys import queue_keys
from jobs.store import queue as store
from tests.helpers.acting import act
from tests.helpers.waiting import wait_until
from tests.helpers.worker import make_worker, running, stage_of

KEYS = queue_keys("default")
LEASE_S = 0.3


async def until(job: Job[Any], *states: State) -> None:
    async def reached() -> bool:
        return await job.state() in states

    await wait_until(reached, description=f"the job is {' or '.join(states)}", timeout=15)


async def claim_and_die(client: Client, number: int = 1) -> list[str]:
    """Claim jobs as a worker that is never heard of again; their ids."""
    turn = store.Turn(f"dead-{time.monotonic_ns()}", 1, lease_ms=int(LEASE_S * 1000), want=number)
    return [job.id for job in (await store.step(client, KEYS, turn)).jobs]


# -- concurrency and rate ------------------------------------------------------------------


async def test_a59_concurrency_of_each_queue_in_one_process(client: Client, redis_url: str) -> None:
    """Seed 001's and 003's numbers, side by side in one worker."""
    numbers = {"email": 10, "push": 20, "image": 5, "webhook": 3, "cleanup": 1}
    queues = [Queue(name, concurrency=number) for name, number in numbers.items()]
    for name in numbers:
        await client.enqueue_many([act.options(queue=name).request("gate") for _ in range(25)])

    async def full() -> bool:
        found = [(await client.queue(name).counts())[State.active] for name in numbers]
        return found == list(numbers.values())

    async with running(redis_url, queues=queues) as worker:
        await wait_until(full, description="every queue runs as many as it may", timeout=10)
        assert stage_of(worker).running == stage_of(worker).most == sum(numbers.values())
        stage_of(worker).gate.set()


async def test_a64_worker_limiter(client: Client, redis_url: str) -> None:
    """Seed 003: 100 starts in 60 s with concurrency 5; the others wait, none is dropped."""
    queue = Queue("default", concurrency=5, rate="100/min")
    await client.enqueue_many([act.request("ok") for _ in range(105)])
    async with running(redis_url, queues=[queue]) as worker:
        await wait_until(
            lambda: worker.jobs_complete == 100, description="100 are done", timeout=15
        )
        told = await client.queue().counts()
        assert (told[State.waiting], told[State.completed]) == (5, 100)
        assert stage_of(worker).most <= 5
        assert len(stage_of(worker).starts) == 100


# -- leases --------------------------------------------------------------------------------


async def test_b1_lease_per_job_with_token_and_renewal(client: Client, redis_url: str) -> None:
    """A job that runs for several leases keeps its own, under one token that it can read."""
    tokens: list[int] = []

    async def long(ctx: Context) -> None:
        tokens.append(ctx.token)
        await asyncio.sleep(LEASE_S * 4)

    async with running(redis_url, [func(long, name="long")], lease=LEASE_S):
        job = await client.enqueue("long")
        await until(job, State.active)
        first = await client.zscore(KEYS.leases, job.id)
        assert first is not None

        async def renewed() -> bool:
            now = await client.zscore(KEYS.leases, job.id)
            return now is not None and now > first

        await wait_until(renewed, description="the lease is renewed")
        await job.result(timeout=10)
    info = await job.details()
    assert (info.losses, len(info.history), len(tokens)) == (0, 1, 1)


async def test_b2_stalled_recovery_with_a_limit(client: Client, redis_url: str) -> None:
    """A job whose worker is gone runs elsewhere; after too many losses it is failed."""
    job = await act.options(client=client).enqueue("ok", 7)
    assert await claim_and_die(client) == [job.id]
    async with running(redis_url, lease=LEASE_S):
        assert await job.result(timeout=15) == 7
    assert (await job.details()).losses == 1
    lost = await act.options(client=client).enqueue("ok", 7)
    await claim_and_die(client)
    async with running(redis_url, lease=LEASE_S, max_deliveries=1) as worker:
        with pytest.raises(JobFailed, match="worker lost"):
            await lost.result(timeout=15)
        assert lost.id not in stage_of(worker).order


async def test_b3_poison_pill_detection(client: Client, redis_url: str) -> None:
    """The third worker that is lost with a job ends it; it is kept with its whole history."""
    job = await act.options(client=client).enqueue("ok", 7)
    async with running(redis_url, lease=LEASE_S, autorun=False, max_deliveries=3):
        for losses in (1, 2, 3):
            assert await claim_and_die(client) == [job.id]
            await until(job, State.waiting, State.failed)
            assert (await job.details()).losses == losses
    info = await job.details()
    assert info.state is State.failed
    assert [entry["outcome"] for entry in info.history] == ["lost"] * 3
    assert info.error is not None
    assert info.error["type"] == "WorkerLost"
    assert info.args == ["ok", 7]


async def test_b5_a_lost_lease_cancels_the_job(client: Client, redis_url: str) -> None:
    """The loser is told to stop, and writes nothing."""
    async with running(redis_url, lease=LEASE_S, max_jobs=1) as worker:
        job = await act.options(client=client).enqueue("gate")
        await until(job, State.active)
        seen = (await store.oldest_leases(client, KEYS)).items()
        fates = await store.rescue(
            client, KEYS, seen, most_losses=9, keep=(-1, -1, -1), line=b'{"outcome":"lost"}'
        )
        assert fates == {job.id: "waiting"}
        await wait_until(lambda: stage_of(worker).cancelled, description="it is cancelled")
        stage_of(worker).gate.set()
        await job.result(timeout=10)
        assert stage_of(worker).cancelled == [job.id]
        await wait_until(lambda: worker.jobs_complete == 1, description="one end is written")


# -- attempts ------------------------------------------------------------------------------


async def test_b6_interrupted_attempts_are_refunded(client: Client, redis_url: str) -> None:
    job = await act.options(client=client, attempts=1).enqueue("gate")
    for number in (1, 2, 3):
        async with running(redis_url):
            await until(job, State.active)
        info = await job.details()
        assert (info.state, info.interruptions, info.failures) == (State.waiting, number, 0)
    async with running(redis_url) as worker:
        await until(job, State.active)
        stage_of(worker).gate.set()
        assert await job.result(timeout=10) == "woke"


# -- speed ---------------------------------------------------------------------------------


async def test_b8_blocking_fetch_no_polling(client: Client, redis_url: str) -> None:
    """An idle worker picks a job up at once, and asks for nothing meanwhile."""
    times = []
    async with running(redis_url, lease=30) as worker, Redis.from_url(redis_url) as admin:
        for _ in range(20):
            await asyncio.sleep(0.01)
            begun = time.monotonic()
            job = await act.options(client=client).enqueue("ok")
            await job.result(timeout=10)
            (start,) = [at for job_id, _, at in stage_of(worker).starts if job_id == job.id]
            times.append(start - begun)
        assert statistics.median(times) < 0.05
        await admin.config_resetstat()
        await asyncio.sleep(1)
        found: Any = await admin.info("commandstats")
        assert sum(stat["calls"] for stat in found.values()) < 10


async def test_b10_batch_fetch_and_batch_ack(client: Client, redis_url: str) -> None:
    """A hundred jobs a round trip, both ways."""
    await client.enqueue_many([act.request("ok") for _ in range(1000)])
    async with Redis.from_url(redis_url) as admin:
        await admin.config_resetstat()
        async with running(redis_url, max_jobs=100, lease=30) as worker:
            await wait_until(lambda: worker.jobs_complete == 1000, description="done", timeout=20)
        found: Any = await admin.info("commandstats")
        calls = found["cmdstat_evalsha"]["calls"]
    assert calls < 150, "1000 claims and 1000 acks"


# -- servers and workers -------------------------------------------------------------------


async def test_b12_fail_fast_when_the_server_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # of a server that is gone when it is used
    async with Client.connect(f"redis://127.0.0.1:{port}") as client:
        begun = time.monotonic()
        with pytest.raises(ServerAway, match="no server answers"):
            await client.enqueue("anything")
        assert time.monotonic() - begun < 3


async def test_b13_an_unknown_function_is_kept(client: Client, redis_url: str) -> None:
    """A rolling deploy: the old worker keeps what only the new one can run."""
    job = await client.enqueue("new", {"value": 5})
    async with running(redis_url, lease=LEASE_S):
        await until(job, State.parked)

    async def new(ctx: Context, value: int) -> int:
        return value + 1

    async with running(redis_url, [func(new, name="new")], lease=LEASE_S):
        assert await job.result(timeout=10) == 6
    info = await job.details()
    assert (info.failures, info.losses) == (0, 0)


async def test_b15_soft_stop_then_cancel(client: Client, redis_url: str) -> None:
    """What ends within the grace ends well; the rest is cancelled and put back, uncharged."""
    short = await act.options(client=client).enqueue("sleep", 0.3)
    long = await act.options(client=client, attempts=1).enqueue("sleep", 60)
    worker = make_worker(redis_url, job_completion_wait=1)
    ending = asyncio.create_task(worker.async_run())
    await until(short, State.active)
    await until(long, State.active)
    begun = time.monotonic()
    worker.stop()
    await asyncio.wait_for(ending, 10)
    await worker.close()
    assert 1 <= time.monotonic() - begun < 6
    assert await short.state() is State.completed
    info = await long.details()
    assert (info.state, info.interruptions, info.failures) == (State.waiting, 1, 0)
    assert stage_of(worker).cancelled == [long.id]


SETTINGS = """
import asyncio
import os

async def who(ctx):
    await asyncio.sleep(0.05)
    return os.getpid()

class WorkerSettings:
    functions = [who]
    max_jobs = 1
"""


async def test_b17_multi_process_worker(client: Client, redis_url: str, tmp_path: Any) -> None:
    """One command, so many processes."""
    (tmp_path / "several.py").write_text(SETTINGS)
    queued = [await client.enqueue("who") for _ in range(100)]
    words = ["worker", "--app", "several:WorkerSettings", "--burst", "--processes", "2"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "jobs", *words, "--redis", redis_url, cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert await asyncio.wait_for(process.wait(), 60) == 0
    assert len({await one.result(timeout=1) for one in queued}) == 2
