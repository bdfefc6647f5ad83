"""S37 and S40: schedulers that are killed, and a time without any; S38 in full."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from jobs import Client, Queue, State
from jobs.crontab import CronSpec
from tests.faults.judging import KEYS, logger, random_of_this_run
from tests.helpers.keyspace import audit
from tests.helpers.processes import LEASE_S, QUEUE, Crew, crew
from tests.helpers.schedules import idle
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running
from tests.words.test_cron_clock import (
    END,
    MINUTE,
    RULES,
    START,
    ZONES,
    brute_force,
    calculated,
    local_clock,
)

SECOND_MS = 1000


async def instants(client: Client, name: str) -> list[int]:
    """The instants of all jobs that a schedule has made, in ms, whatever became of them."""
    ids = [i async for i in ids_of(client) if i.startswith(f"{name}:")]
    return sorted(int(i.rpartition(":")[2]) for i in ids)


async def ids_of(client: Client) -> Any:
    async for job_id, _ in client.hscan_iter(KEYS.body):
        yield job_id.decode()


async def ticks_while_schedulers_die(
    crew: Crew, client: Client, *, schedulers: int, seconds: int, every_s: float
) -> None:
    """Tick each second while one scheduler after the other is killed and another one started."""
    random = random_of_this_run()
    crew.start_many(schedulers)
    schedule = await client.schedules.upsert(
        "tick", "work", {"ms": 1}, cron="* * * * * *", misfire="all", queue=QUEUE
    )
    over, kill_at = time.monotonic() + seconds, time.monotonic() + every_s
    while time.monotonic() < over:
        await asyncio.sleep(min(over, kill_at) - time.monotonic())
        if time.monotonic() >= kill_at:
            random.choice(crew.alive()).kill()
            crew.start_many(1, ready=False)
            kill_at += every_s
    crew.wait_ready(*crew.alive())
    await client.schedules.pause("tick")
    fired = (await client.schedules.get("tick")).fired

    async def all_ended() -> bool:
        counts = await client.queue(QUEUE).counts()
        return counts[State.completed] == fired and sum(counts.values()) == fired

    await wait_until(
        all_ended, description="every run has completed", timeout=10 * LEASE_S, poll=0.05
    )
    made = await instants(client, "tick")
    first = made[0]
    assert schedule.next_at is not None
    assert first == int(schedule.next_at.timestamp() * 1000)
    assert made == [first + n * SECOND_MS for n in range(len(made))], "no gap, no instant twice"
    assert len(made) == fired
    assert seconds - 1 <= fired <= seconds + 20, "the clock went on while workers started"
    logger.info("%d ticks, %d kills", fired, len(crew.workers) - schedulers)
    assert not await audit(client)


async def test_s37_ticks_go_on_while_schedulers_die(redis_url: str, tmp_path: Path) -> None:
    with crew(redis_url, tmp_path) as workers:
        async with Client.connect(redis_url) as client:
            await ticks_while_schedulers_die(workers, client, schedulers=2, seconds=6, every_s=2)


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_s37_in_full(redis_url: str, tmp_path: Path) -> None:
    with crew(redis_url, tmp_path) as workers:
        async with Client.connect(redis_url) as client:
            await ticks_while_schedulers_die(workers, client, schedulers=5, seconds=60, every_s=3)


@pytest.mark.faults
@pytest.mark.parametrize(("misfire", "expected"), [("skip", 0), ("once", 1), ("all", 10)])
async def test_s40_ten_ticks_without_a_scheduler(
    redis_url: str, misfire: Any, expected: int
) -> None:
    """The real time of it; features/test_schedules_policies.py has it with hours, in no time."""
    async with Client.connect(redis_url, default_queue=QUEUE) as client:
        await client.schedules.upsert("tick", "idle", every="1s", misfire=misfire, queue=QUEUE)
        async with running(redis_url, [idle], queue_name=QUEUE, queues=[Queue(QUEUE)]):
            await wait_until(lambda: fired(client), description="it ticks")
        before = await instants(client, "tick")
        down = before[-1]
        back = down + 10 * SECOND_MS + 700
        await asyncio.sleep(back / 1000 - time.time())
        async with running(redis_url, [idle], queue_name=QUEUE, queues=[Queue(QUEUE)]):
            await wait_until(
                lambda: ahead_of(client, back), description="the time after it has come"
            )
        missed = [at for at in await instants(client, "tick") if down < at <= back]
        assert len(missed) == expected
        assert misfire != "once" or missed == [down + 10 * SECOND_MS]


async def fired(client: Client) -> bool:
    return (await client.schedules.get("tick")).fired > 0


async def ahead_of(client: Client, ms: int) -> bool:
    last = (await client.schedules.get("tick")).last_at
    return last is not None and last.timestamp() * 1000 > ms


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("zone", ZONES)
def test_s38_every_minute_of_two_years(zone: str) -> None:
    clock = local_clock(zone, START, END, MINUTE)
    for rule in RULES:
        spec = CronSpec.parse(rule.expression, zone)
        assert list(calculated(spec, START, END)) == list(brute_force(clock, rule))
