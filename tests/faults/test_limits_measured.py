"""Limits, measured: rates over worker processes, keys while they are killed, races, and shares."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs import Client, Context, Request, State, job
from jobs.keys import queue_keys
from jobs.store import queue as store
from jobs.store.audit import audit
from tests.faults.judging import (
    KEYS,
    assert_all_is_well,
    enqueue_noted,
    logger,
    random_of_this_run,
    wait_done,
)
from tests.faults.racing import QUEUE as RACE
from tests.helpers.keyspace import untyped
from tests.helpers.ledger import Entry, judge
from tests.helpers.processes import Crew, crew
from tests.helpers.source import ROOT
from tests.helpers.waiting import wait_until

RATE, PERIOD_MS = 30, 1000
PLACES = 3
TENANTS = "abc"
#: How much longer than the limit demands the whole may take.
MARGIN = 1.25
START = struct.Struct(">dd")


def sizes(small: int, large: int) -> list[Any]:
    """A test that is small in the suite and large among the fault tests."""
    return [small, pytest.param(large, marks=[pytest.mark.faults, pytest.mark.timeout(600)])]


# -- 30/s over 4 processes -------------------------------------------------------------------------


class Starts:
    """The starts that the server counts, of a function or of all, seen before it forgets them."""

    def __init__(self, client: Redis, function: str | None) -> None:
        self._client = client
        self._gate = f"f:{function}\x01".encode() if function else b""
        self._found: Counter[float] = Counter()

    async def look(self) -> int:
        """Read what there is now; how many starts were seen in all."""
        self._found |= Counter(await self._now())
        return self._found.total()

    async def _now(self) -> list[float]:
        if not self._gate:
            return [float(at) for at in await untyped(self._client).lrange(KEYS.rate, 0, -1)]
        members = await self._client.zrange(KEYS.starts, 0, -1)
        at = len(self._gate)
        return [START.unpack_from(m, at)[0] for m in members if m.startswith(self._gate)]

    @property
    def times(self) -> list[float]:
        """The moments in ms by the server's clock."""
        return sorted(self._found.elements())


def densest(times: list[float], period: float) -> int:
    """The most in any such time."""
    return max(sum(first <= at < first + period for at in times) for first in times)


@pytest.mark.parametrize("seconds", sizes(3, 20))
@pytest.mark.parametrize("of", ["function", "queue"])
async def test_thirty_a_second_over_four_processes(
    redis_url: str, tmp_path: Path, of: str, seconds: int
) -> None:
    number = RATE * (seconds + 1)
    function = "paced" if of == "function" else "work"
    settings = {"app": "limited"} if of == "function" else {"rate": f"{RATE}/s"}
    with crew(redis_url, tmp_path, **settings) as workers:
        async with Client.connect(redis_url) as client:
            workers.start_many(4)
            starts = Starts(client, "paced" if of == "function" else None)
            requests = {f"j{n}": Request(function) for n in range(number)}
            await enqueue_noted(client, workers.ledger, requests)

            async def all_started() -> bool:
                return await starts.look() >= number

            await wait_until(
                all_started, description="all have started", timeout=seconds * 3 + 20, poll=0.1
            )
            await assert_all_is_well(client, workers.ledger, completed=number, most_duplicates=0)
            pids = Counter(e.pid for e in workers.ledger.read() if e.kind == "start")
            assert set(workers.stop_all()) == {0}
    times = starts.times
    took_s = (times[-1] - times[0]) / 1000
    logger.info("%d starts by %s in %.2f s", number, dict(pids), took_s)
    assert len(times) == number
    assert densest(times, PERIOD_MS) == RATE
    assert seconds <= took_s <= seconds * MARGIN
    assert len(pids) > 1, "one process had all of them"


# -- three of a key, while workers are killed ------------------------------------------------------


async def most_by_leases(client: Redis) -> Counter[str]:
    """How many jobs of each tenant are leased, at one moment; held places are never more."""
    async with client.pipeline(transaction=True) as pipe:
        pipe.zrange(KEYS.leases, 0, -1)
        pipe.zrange(KEYS.holding, 0, -1)
        leases, holding = await pipe.execute()
    held = Counter(member.partition(b"\x01")[2].decode()[0] for member in holding)
    leased = Counter(job_id.decode()[0] for job_id in leases)
    assert held == leased, f"{held} places are held, {leased} jobs are leased"
    return leased


def of_tenant(entries: list[Entry], tenant: str) -> list[Entry]:
    """What a tenant's jobs did, and the kills."""
    return [e for e in entries if e.kind == "kill" or e.job_id.startswith(tenant)]


async def kill_workers(workers: Crew, random: Random, *, jobs: int, kills: int) -> None:
    for kill in range(1, kills + 1):
        await wait_done(workers, jobs * kill / (kills + 2), timeout_s=60)
        random.choice([worker for worker in workers.alive() if worker.started()]).kill()
        workers.start_many(1, ready=False)


@pytest.mark.parametrize("number", sizes(150, 1500))
async def test_three_of_a_key_while_workers_are_killed(
    redis_url: str, tmp_path: Path, number: int
) -> None:
    random, kills = random_of_this_run(), max(3, number // 150)
    with crew(redis_url, tmp_path, app="limited") as workers:
        async with Client.connect(redis_url) as client:
            workers.start_many(3)
            requests = {
                f"{name}{n}": Request(
                    "tenant", (name, random.uniform(10, 40)), options={"key": name}
                )
                for n in range(number)
                for name in TENANTS
            }
            jobs = len(requests)
            await enqueue_noted(client, workers.ledger, requests)
            storm = asyncio.create_task(kill_workers(workers, random, jobs=jobs, kills=kills))
            seen: Counter[str] = Counter()

            async def all_ran() -> bool:
                nonlocal seen
                seen |= await most_by_leases(client)
                return len(workers.ledger.ids("effect")) == jobs

            await wait_until(all_ran, description="every job has run", timeout=60 + number / 5)
            await storm
            await assert_all_is_well(client, workers.ledger, completed=jobs)
            assert await client.zcard(KEYS.holding) == 0
            entries = workers.ledger.read()
    ran = {name: judge(of_tenant(entries, name)).max_concurrency for name in TENANTS}
    logger.info("at most %s at once by the server, %s by the ledger", dict(seen), ran)
    assert set(seen.values()) == {PLACES}, "all places are used, and none more"
    assert max(ran.values()) <= PLACES


# -- 200 producers, one job ------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", sizes(10, 100))
async def test_two_hundred_producers_of_two_processes_make_one_job(
    redis_url: str, rounds: int
) -> None:
    words = [f"{kind}:{n}" for n in range(rounds) for kind in ("key", "id")]
    settings = {"url": redis_url, "clients": 10, "producers": 100, "words": words}
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.racing", json.dumps(settings),
            stdin=PIPE, stdout=PIPE, cwd=ROOT,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    made = [word for out, _ in answers for word in json.loads(out)]
    assert Counter(made) == Counter(words)
    async with Client.connect(redis_url) as client:
        assert (await client.queue(RACE).counts())[State.waiting] == len(words)
        assert not await audit(client, queue_keys(RACE))


# -- a tenant with very many jobs ------------------------------------------------------------------

SLOTS = 10


@pytest.mark.parametrize("number", sizes(10_000, 100_000))
async def test_a_tenant_of_very_many_jobs_delays_another_by_its_share(
    redis_url: str, number: int
) -> None:
    """The one job of the other tenant is among the next that fill the slots."""

    @job("call", queue="shared", key="tenant")
    async def call(ctx: Context, tenant: str, n: int) -> None: ...

    keys = queue_keys("shared")
    async with Client.connect(redis_url) as client:
        await client.enqueue_stream(call.request("noisy", n) for n in range(number))

        async def claim(request: int) -> list[store.Claimed]:
            turn = store.Turn("w", request, 30_000, SLOTS)
            return (await store.step(client, keys, turn)).jobs

        started = [claimed.id for request in range(1, 4) for claimed in await claim(request)]
        calm = await call.enqueue("calm", 0)
        started += [claimed.id for request in range(4, 6) for claimed in await claim(request)]
        assert len(started) == 5 * SLOTS
        assert started.index(calm.id) - 3 * SLOTS < SLOTS
