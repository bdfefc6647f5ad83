"""What a job costs the server, counted by the server itself: a regression of speed fails here.

No time is measured. Whoever changes one of these numbers makes every job of every queue cheaper or
dearer, and should know it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from jobs import Client, Context, job
from jobs.store.queue import NEW_ID, Entry
from tests.store.steps import Steps, end

#: Commands that this file itself sends.
OWN = {"config|resetstat", "info"}
HUNDRED = range(100)


@dataclass
class Meter:
    """Reads the server's statistics."""

    steps: Steps

    async def reset(self) -> None:
        await self.steps.client.config_resetstat()

    async def read(self) -> tuple[dict[str, int], int, int]:
        """(calls of each command, bytes that came in, bytes that went out) since `reset`."""
        found: dict[str, Any] = await self.steps.client.info("everything")
        calls = {
            name.removeprefix("cmdstat_"): stat["calls"]
            for name, stat in found.items()
            if name.startswith("cmdstat_")
        }
        net_in, net_out = found["total_net_input_bytes"], found["total_net_output_bytes"]
        return {name: n for name, n in calls.items() if name not in OWN}, net_in, net_out


@pytest.fixture
async def meter(steps: Steps) -> Meter:
    """The scripts are known to the server, and the connection is open."""
    await steps.put([Entry("warm", b"x", 3, id_ttl_ms=NEW_ID)])
    (claimed,) = await steps.claim()
    await steps.ack(end(claimed))
    return Meter(steps)


def hundred() -> list[Entry]:
    """Jobs with ids and bodies of the usual size."""
    return [Entry(f"{n:012}", b"x" * 214, 3, id_ttl_ms=NEW_ID) for n in HUNDRED]


async def test_a_hundred_enqueued(meter: Meter) -> None:
    await meter.reset()
    await meter.steps.put(hundred())
    calls, net_in, net_out = await meter.read()
    assert calls == {
        "evalsha": 1,
        "hmget": 2,
        "hset": 1,
        "hincrby": 2,
        "zadd": 1,
        "llen": 1,
    }
    assert net_in / 100 < 300
    assert net_out / 100 < 5


async def test_a_hundred_claimed(meter: Meter) -> None:
    await meter.steps.put(hundred())
    await meter.reset()
    assert len(await meter.steps.claim(100)) == 100
    calls, net_in, net_out = await meter.read()
    assert calls == {
        "evalsha": 1,
        "hget": 1,
        "zrange": 2,
        "zpopmin": 1,
        "hmget": 3,
        "hincrby": 4,
        "hset": 2,
        "zadd": 1,
        "zcard": 1,
    }
    assert net_in < 1_500
    assert net_out / 100 < 320


async def test_a_hundred_ended_and_a_hundred_claimed(meter: Meter) -> None:
    """The step of a busy worker: everything that is done for a job while a queue is drained."""
    await meter.steps.put(hundred())
    acks = [end(claimed, line=b"x" * 100) for claimed in await meter.steps.claim(100)]
    await meter.steps.put([entry._replace(id=f"a{entry.id[1:]}") for entry in hundred()])
    await meter.reset()
    answer = await meter.steps.step(acks=acks, want=100)
    calls, net_in, net_out = await meter.read()
    assert (answer.accepted, len(answer.jobs)) == ("1" * 100, 100)
    assert calls == {
        "evalsha": 1,
        "hget": 1,
        "exists": 1,
        "hmget": 4,
        "zmscore": 1,
        "zrem": 1,
        "hset": 4,
        "zadd": 2,
        "zrange": 2,
        "zpopmin": 1,
        "hincrby": 8,
        "zcard": 1,
    }
    assert net_in / 100 < 210
    assert net_out / 100 < 320


async def test_an_idle_look_is_three_commands(meter: Meter) -> None:
    await meter.reset()
    await meter.steps.step(quiet=True)
    calls, _, _ = await meter.read()
    assert calls == {"evalsha": 1, "hmget": 1, "zcard": 1}


async def test_a_queued_job_takes_few_bytes(redis_url: str) -> None:
    """Of a function with a 200-byte text: 347 on Valkey 9, 397 on Redis 7.0."""

    @job("work")
    async def work(ctx: Context, payload: str) -> None: ...

    async def used(client: Client) -> int:
        return int((await client.info("memory"))["used_memory"])

    async with Client.connect(redis_url) as client:
        await client.enqueue_stream(work.request("x" * 200) for _ in range(2_000))
        before = await used(client)
        await client.enqueue_stream(work.request("x" * 200) for _ in range(20_000))
        assert (await used(client) - before) / 20_000 <= 400
