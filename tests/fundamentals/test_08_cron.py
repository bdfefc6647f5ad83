"""Chapter 8: cron jobs fire once for each instant, over all workers."""

from __future__ import annotations

from typing import Any

from jobs import Client, State, cron
from tests.fundamentals.conftest import Work
from tests.helpers.waiting import wait_until

EVERY_SECOND = set(range(60))


async def test_an_instant_fires_once_over_two_workers(client: Client, work: Work) -> None:
    async def tick(ctx: dict[Any, Any]) -> None:
        await client.rpush("ticks", ctx["job_id"])

    for _ in range(2):
        await work(cron_jobs=[cron(tick, second=EVERY_SECOND, microsecond=0)])

    async def twice() -> bool:
        return await client.llen("ticks") >= 2

    await wait_until(twice, description="two seconds have fired")
    ids = await client.lrange("ticks", 0, -1)
    assert len(ids) == len(set(ids))
    seconds = sorted(int(name.rpartition(b":")[2]) for name in ids)
    assert all(b - a >= 1000 for a, b in zip(seconds, seconds[1:], strict=False))


async def test_run_at_startup_fires_once_over_workers_that_start_together(
    client: Client, work: Work
) -> None:
    async def warm(ctx: dict[Any, Any]) -> None:
        await client.incr("warmed")

    schedule = cron(warm, hour=3, minute=0, run_at_startup=True)
    for _ in range(3):
        await work(cron_jobs=[schedule])

    async def done() -> bool:
        counts = await client.queue().counts()
        workers = await client.queue().workers()
        return len(workers) == 3 and await client.get("warmed") and not counts[State.waiting]

    await wait_until(done, description="three workers are up and the job has run")
    assert await client.get("warmed") == b"1"
