"""The words of the event stream: a job's life, and the commands on jobs and queues."""

from __future__ import annotations

import asyncio

import pytest

from jobs import Client, Context, Unique, job
from tests.helpers.hearing import names, only, until
from tests.helpers.worker import running


@job("greet")
async def greet(ctx: Context, name: str = "Ada") -> str:
    """Return a greeting."""
    return f"Hello {name}"


async def test_b167_the_vocabulary(client: Client, redis_url: str) -> None:
    """Every word that a job's life and the commands on it have."""
    async with client.events("default") as reader:
        first = await client.enqueue("greet", id="1", delay=60)
        await client.enqueue("greet", id="1")
        await first.cancel("enough")
        await client.queue().retry(["1"])
        await client.enqueue("unknown", id="2")
        await client.enqueue("greet", id="3", expires=0.001)
        await asyncio.sleep(0.01)  # the time itself: the job expires meanwhile
        async with running(redis_url, [greet]):
            found = await until(reader, "drained")
    told = {(event.name, event.job_id) for event in found}
    assert told >= {
        ("added", "1"), ("delayed", "1"), ("duplicated", "1"), ("cancelled", "1"), ("waiting", "1"),
        ("active", "1"), ("completed", "1"), ("parked", "2"), ("expired", "3"), ("drained", ""),
    }  # fmt: skip
    assert only(found, "cancelled").data["reason"] == "enough"


async def test_b167_the_commands(client: Client) -> None:
    """Each by its name, on a job or on the whole queue."""
    queue = client.queue()
    async with client.events("default") as reader:
        await queue.pause(reason="maintenance")
        await queue.resume()
        for job_id in ("1", "2", "3"):
            await client.enqueue("greet", id=job_id, delay=60)
        await queue.promote(["1"])
        await queue.remove(["2"])
        await client.enqueue("greet", id="4")
        await queue.publish("test.over")
        found = await until(reader, "test.over")
    told = [(event.name, event.job_id) for event in found]
    assert told[:2] == [("paused", ""), ("resumed", "")]
    assert ("promoted", "1") in told
    assert ("removed", "2") in told
    assert told[-2] == ("waiting", "4")


async def test_b167_a_unique_job_that_is_there_already(client: Client) -> None:
    async with client.events("default") as reader:
        for job_id in ("1", "2"):
            await client.enqueue("greet", {"name": "Bo"}, id=job_id, unique=Unique("name"))
        await client.queue().publish("test.over")
        found = await until(reader, "test.over")
    event = only(found, "deduplicated")
    assert (event.job_id, event.data) == ("1", {"deduplicated": "2"})


async def test_a_reader_outlives_its_queue(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of the queue goes, the wish to listen too; it is said anew, with a gap."""
    monkeypatch.setattr("jobs.event_reader.BLOCK_MS", 20)
    async with client.events("default") as reader:
        await client.enqueue("greet", id="1")
        await until(reader, "waiting")
        await client.queue().obliterate(confirm="default")
        waiting = asyncio.create_task(until(reader, "gap"))
        for n in range(500):
            if waiting.done():
                break
            await client.enqueue("greet", id=f"n{n}")
            await asyncio.sleep(0.01)  # the events themselves: one every so often
        assert names(await waiting) == ["gap"]
        assert (await until(reader, "waiting"))[-1].job_id.startswith("n")
