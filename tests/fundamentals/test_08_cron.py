"""Chapter 8: cron jobs fire once for each instant, over all workers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from jobs import Client, State, cron
from tests.fundamentals.conftest import Work
from tests.helpers.waiting import wait_until

EVERY_SECOND = set(range(60))


async def test_an_instant_fires_once_over_two_workers(client: Client, work: Work) -> None:
    fired: list[str] = []

    async def tick(ctx: dict[Any, Any]) -> None:
        fired.append(ctx["job_id"])

    for _ in range(2):
        await work(cron_jobs=[cron(tick, second=EVERY_SECOND, microsecond=0)])

    await wait_until(lambda: len(fired) >= 2, description="two seconds have fired")
    assert len(fired) == len(set(fired))
    instants = sorted(int(job_id.rpartition(":")[2]) for job_id in fired)
    assert all(later - sooner >= 1000 for sooner, later in pairwise(instants))


async def test_run_at_startup_fires_once_over_workers_that_start_together(
    client: Client, work: Work
) -> None:
    warmed: list[str] = []

    async def warm(ctx: dict[Any, Any]) -> None:
        warmed.append(ctx["job_id"])

    schedule = cron(warm, hour=3, minute=0, run_at_startup=True)
    for _ in range(3):
        await work(cron_jobs=[schedule])

    async def done() -> bool:
        counts = await client.queue().counts()
        workers = await client.queue().workers()
        return len(workers) == 3 and bool(warmed) and not counts[State.waiting]

    await wait_until(done, description="three workers are up and the job has run")
    assert len(warmed) == 1
