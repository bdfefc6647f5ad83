"""Chapter 7: a job can be stopped wherever it is."""

from __future__ import annotations

import asyncio

import pytest

from jobs import Client, Context, State, job
from jobs.errors import JobCancelled
from tests.fundamentals.conftest import Work


async def test_a_waiting_and_a_delayed_job_are_cancelled_where_they_are(client: Client) -> None:
    waiting = await client.enqueue("anything")
    delayed = await client.enqueue("anything", delay="1h")
    assert await waiting.cancel("not needed") is State.waiting
    assert await delayed.cancel() is State.delayed
    with pytest.raises(JobCancelled, match="not needed"):
        await waiting.result(timeout=20)
    assert await delayed.state() is State.cancelled


async def test_a_running_job_is_stopped_and_may_clean_up(client: Client, work: Work) -> None:
    started, cleaned = asyncio.Event(), asyncio.Event()

    @job("long")
    async def long(ctx: Context) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.set()

    await work(long)
    queued = await client.enqueue("long")
    await started.wait()
    assert await queued.cancel() is State.active
    with pytest.raises(JobCancelled):
        await queued.result(timeout=20)
    assert cleaned.is_set()


async def test_abort_is_arqs_word_and_waits_for_the_end(client: Client, work: Work) -> None:
    started = asyncio.Event()

    @job("long")
    async def long(ctx: Context) -> None:
        started.set()
        await asyncio.sleep(60)

    await work(long)
    queued = await client.enqueue("long")
    await started.wait()
    assert await queued.abort(timeout=20)
    assert not await client.job("unknown").abort(timeout=20)


async def test_an_ended_or_unknown_job_stays_as_it_is(client: Client, work: Work) -> None:
    @job("quick")
    async def quick(ctx: Context) -> int:
        return 1

    await work(quick)
    queued = await client.enqueue("quick")
    await queued.result(timeout=20)
    assert await queued.cancel() is State.completed
    assert await queued.result(timeout=20) == 1
    assert await client.job("unknown").cancel() is None
