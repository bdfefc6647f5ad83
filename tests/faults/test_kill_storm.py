"""S01: workers are killed at random moments, and every acknowledged job runs."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest

from jobs import Client
from tests.faults.judging import (
    assert_all_is_well,
    enqueue_work,
    logger,
    random_of_this_run,
    wait_done,
)
from tests.helpers.processes import Crew, crew
from tests.helpers.waiting import wait_until

RECOVERY_S = 30.0
"""How long after the last kill everything has to be done."""


async def storm(crew: Crew, client: Client, random: Random, *, jobs: int, kills: int) -> float:
    """Kill and restart workers while `jobs` jobs run; the seconds from the last kill to the end."""
    crew.start_many(4, concurrency=25)
    await enqueue_work(client, crew.ledger, jobs, lambda: random.uniform(10, 100))
    for kill in range(1, kills + 1):
        done = jobs * kill * random.uniform(0.5, 1) / (kills + 1)
        await wait_done(crew, done, timeout_s=60)
        alive = crew.alive()
        random.choice([worker for worker in alive if worker.started()] or alive).kill()
        crew.start_many(1, ready=False, concurrency=25)
    last_kill = time.monotonic()
    await wait_until(
        lambda: len(crew.ledger.ids("effect")) == jobs,
        description="every job has run",
        timeout=RECOVERY_S,
        poll=0.05,
    )
    return time.monotonic() - last_kill


async def test_no_job_is_lost_in_a_kill_storm(redis_url: str, tmp_path: Path) -> None:
    with crew(redis_url, tmp_path) as workers:
        async with Client.connect(redis_url) as client:
            took_s = await storm(workers, client, random_of_this_run(), jobs=1000, kills=5)
            judgement = await assert_all_is_well(client, workers.ledger, completed=1000)
            logger.info("%s; done %.1f s after the last kill", judgement, took_s)
            workers.wait_ready(*workers.alive())
            assert set(workers.stop_all()) == {0}


@pytest.mark.faults
@pytest.mark.parametrize("repetition", range(3))
async def test_a_long_kill_storm(redis_url: str, tmp_path: Path, repetition: int) -> None:
    with crew(redis_url, tmp_path) as workers:
        async with Client.connect(redis_url) as client:
            await storm(workers, client, random_of_this_run(), jobs=5000, kills=20)
            await assert_all_is_well(client, workers.ledger, completed=5000)
