"""Why a job is not running: each reason on a real server, with its sentence and its estimate."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobs import Client, Context, Fleet, Queue, State, func
from jobs.errors import JobNotFound
from jobs.keys import queue_keys
from jobs.limits import Limit
from jobs.operations.explain import Explanation
from jobs.store.commands import Wish
from tests.helpers.acting import act
from tests.helpers.keyspace import untyped
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running, stage_of

KEYS = queue_keys("default")


def codes(told: Explanation) -> list[str]:
    return [reason.code for reason in told.reasons]


async def working(client: Client, number: int = 1) -> None:
    """Wait until so many workers are registered at the default queue."""

    async def registered() -> bool:
        return len(await client.queue().workers()) == number

    await wait_until(registered, description="the workers are registered")


async def runs(client: Client, *ids: str) -> None:
    """Wait until these jobs run."""
    for job_id in ids:
        job = client.job(job_id)

        async def active(job: Any = job) -> bool:
            return await job.state() is State.active

        await wait_until(active, description=f"{job_id} runs")


async def test_no_live_worker(client: Client) -> None:
    job = await act.options(client=client).enqueue("ok")
    told = await job.explain()
    assert told.summary == "no live worker serves the queue default"
    assert (told.state, told.function, told.starts_at) == (State.waiting, "act", None)
    with pytest.raises(JobNotFound):
        await client.job("nobody").explain()


async def test_no_live_worker_has_the_function(client: Client, redis_url: str) -> None:
    """The nearest name is told; the job itself is parked, and says so."""
    async with running(redis_url, autorun=False):
        await working(client)
        told = await (await client.enqueue("akt", id="typo")).explain()
    assert codes(told)[0] == "unknown_function"
    assert "has the function 'akt' (did you mean 'act'?)" in told.summary
    async with running(redis_url):

        async def parked() -> bool:
            return await client.job("typo").state() is State.parked

        await wait_until(parked, description="it is parked")
        told = await client.job("typo").explain()
    assert told.summary == "it is parked: no function 'akt' is registered in this worker"


async def test_a_fallback_has_every_function_of_its_queue(client: Client, redis_url: str) -> None:
    queue = Queue("default")

    @queue.fallback
    async def anything(ctx: Context) -> None: ...

    async with running(redis_url, autorun=False, functions=[anything]):
        await working(client)
        told = await (await client.enqueue("akt")).explain()
    assert codes(told) == ["workers_quiet"]


async def test_workers_that_are_quiet(client: Client, redis_url: str) -> None:
    async with running(redis_url) as worker:
        await working(client)
        (status,) = await Fleet(client).workers()
        await Fleet(client).steer(status, Wish.quiet)
        told = await (await act.options(client=client).enqueue("ok")).explain()
        assert told.summary == f"every live worker of the queue default is quiet: {worker.id}"


async def test_every_slot_is_taken(client: Client, redis_url: str) -> None:
    async with running(redis_url, max_jobs=2) as worker:
        await working(client)
        for job_id in ("a", "b"):
            await act.options(client=client, id=job_id).enqueue("gate")
        await runs(client, "a", "b")
        await act.options(client=client, id="c").enqueue("ok")
        told = await (await act.options(client=client).enqueue("ok")).explain()
        assert told.summary == "all 2 slots of the live workers are taken, by a, b"
        assert (told.reasons[-1].code, told.reasons[-1].text) == ("behind", "1 job ahead")
        assert told.ahead == 1
        stage_of(worker).gate.set()


async def test_it_runs_and_where(client: Client, redis_url: str) -> None:
    async with running(redis_url) as worker:
        await working(client)
        job = await act.options(client=client).enqueue("gate")
        await runs(client, job.id)
        told = await job.explain()
        assert codes(told) == ["active"]
        (status,) = await Fleet(client).workers()
        await Fleet(client).steer(status, Wish.resume, timeout_s=0.1)
        worker.set_concurrency(3)  # makes it beat

        async def said() -> bool:
            return f"it runs on {worker.id} since" in (await job.explain()).summary

        await wait_until(said, description="the worker is named")
        stage_of(worker).gate.set()


async def test_it_has_ended_and_how(client: Client, redis_url: str) -> None:
    async with running(redis_url):
        job = await act.options(client=client, attempts=1).enqueue("error", "no such address")

        async def failed() -> bool:
            return await job.state() is State.failed

        await wait_until(failed, description="it failed")
    told = await job.explain()
    assert codes(told) == ["ended"]
    assert told.summary.startswith("it is failed since ")
    assert told.summary.endswith(": ValueError: no such address")
    assert told.starts_at is None


async def test_it_is_scheduled(client: Client, redis_url: str) -> None:
    async with running(redis_url):
        await working(client)
        told = await (await act.options(client=client, delay="1h").enqueue("ok")).explain()
    assert codes(told) == ["scheduled"]
    assert "it is scheduled for " in told.summary
    assert told.starts_at is not None
    assert (told.starts_at - told.at).total_seconds() == pytest.approx(3600, abs=5)


async def test_it_waits_for_its_next_attempt(client: Client, redis_url: str) -> None:
    async with running(redis_url):
        await working(client)
        job = await act.options(client=client, attempts=3).enqueue("error", "x")

        async def delayed() -> bool:
            return await job.state() is State.delayed

        await wait_until(delayed, description="it backs off")
        assert (await job.explain()).summary.endswith(", after 1 failed attempt")


async def test_a_paused_queue_and_a_paused_function(client: Client) -> None:
    job = await act.options(client=client).enqueue("ok")
    await client.queue().pause("database moves")
    await client.queue().pause("a bug in it", functions=["act"])
    told = await job.explain()
    assert codes(told) == ["paused", "function_paused", "no_worker"]
    queue, function = (reason.text for reason in told.reasons[:2])
    assert queue.startswith("the queue default is paused since 2")
    assert queue.endswith(": database moves")
    assert function.startswith("the function act is paused since 2")
    assert function.endswith(": a bug in it")
    assert told.starts_at is None


async def test_a_queue_that_was_told_429(client: Client, redis_url: str) -> None:
    job = await act.options(client=client).enqueue("ok")
    now_ms = (await job.explain()).at.timestamp() * 1000
    await untyped(client).hset(KEYS.config, "closed", int(now_ms) + 60_000)
    async with running(redis_url):
        await working(client)
        told = await job.explain()
        assert codes(told)[0] == "closed"
        assert "a job told the queue default to slow down (429); it goes on in " in told.summary
        assert told.starts_at is not None
        assert told.starts_at.timestamp() * 1000 >= now_ms + 60_000
        await untyped(client).hdel(KEYS.config, "closed")
        (worker,) = await Fleet(client).workers()
        await Fleet(client).steer(worker, Wish.resume)


async def test_a_rate_limit_frees_in_so_many_seconds(client: Client, redis_url: str) -> None:
    queue = Queue("default", limits=[Limit(rate="1/30s")])
    async with running(redis_url, queues=[queue]):
        await (await act.options(client=client).enqueue("ok")).result(timeout=10)
        told = await (await act.options(client=client).enqueue("ok")).explain()
        (rate,) = [reason for reason in told.reasons if reason.code == "rate"]
        words = "the rate limit of the queue (1 in 30 s) is used up and frees in "
        assert rate.text.startswith(words)
        assert 20 < float(rate.text.removeprefix(words).removesuffix(" s")) <= 30
        assert rate.until_ms is not None
        assert told.starts_at is not None
        assert 20 < (told.starts_at - told.at).total_seconds() < 60


async def test_a_full_key_and_its_holders(client: Client, redis_url: str) -> None:
    queue = Queue("default", limits=[Limit(concurrency=1, per="key")])
    async with running(redis_url, queues=[queue]) as worker:
        await working(client)
        await act.options(client=client, id="a1", key="ada").enqueue("gate")
        await runs(client, "a1")
        for job_id in ("a2", "a3"):
            await act.options(client=client, id=job_id, key="ada").enqueue("ok")

        async def told() -> bool:
            return "concurrency" in codes(await client.job("a3").explain())

        await wait_until(told, description="the key is full")
        found = await client.job("a3").explain()
        (full,) = [reason for reason in found.reasons if reason.code == "concurrency"]
        assert full.text == "the concurrency limit of key ada is full: 1 of 1 run, held by a1"
        assert full.facts["held_by"] == ("a1",)
        stage_of(worker).gate.set()
        await client.job("a3").result(timeout=10)


async def test_the_order_of_a_key(client: Client, redis_url: str) -> None:
    queue = Queue("default", limits=[Limit(per="key", ordered=True)])
    async with running(redis_url, queues=[queue]) as worker:
        await working(client)
        await act.options(client=client, id="a1", key="ada").enqueue("gate")
        await runs(client, "a1")
        await act.options(client=client, id="a2", key="ada").enqueue("ok")
        found = await client.job("a2").explain()
        assert "the jobs of key ada run in order, and a1 is not over" in [
            reason.text for reason in found.reasons
        ]
        stage_of(worker).gate.set()
        await client.job("a2").result(timeout=10)


async def test_the_estimate_follows_the_pace_of_the_queue(client: Client, redis_url: str) -> None:
    """200 jobs of 20 ms one after another: the last one starts after four seconds or so."""

    async def nap(ctx: Any) -> None:
        await asyncio.sleep(0.02)

    async with running(redis_url, [func(nap, name="nap")], max_jobs=1):
        for _ in range(50):
            await client.enqueue("nap")
        last = await client.enqueue("nap", id="measure")
        await last.result(timeout=20)
        for _ in range(200):
            last = await client.enqueue("nap")
        told = await last.explain()
        assert told.ahead is not None
        assert told.ahead > 100
        assert told.starts_at is not None
        estimate_s = (told.starts_at - told.at).total_seconds()
        await last.result(timeout=30)
    assert 1 < estimate_s < 20


async def test_b159_position_and_counts_per_priority(client: Client) -> None:
    for priority, number in ((1, 2), (5, 3), (1000, 1)):
        for _ in range(number):
            job = await act.options(client=client, priority=priority).enqueue("ok")
    assert (await job.explain()).ahead == 5
    grouped = await act.options(client=client, priority=5, key="ada").enqueue("ok")
    assert (await grouped.explain()).ahead == 5
    assert await client.queue().priorities() == {1: 2, 5: 4, 1000: 1}


async def test_as_json(client: Client) -> None:
    told = await (await act.options(client=client).enqueue("ok")).explain()
    document = told.as_json()
    assert document["summary"] == told.summary
    assert document["reasons"][0]["code"] == "no_worker"
