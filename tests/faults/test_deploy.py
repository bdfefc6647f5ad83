"""S42 and S47: old and new releases side by side, and what a drained queue leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs import Client, Keep, Request
from tests.faults.judging import (
    KEYS,
    assert_all_is_well,
    enqueue_noted,
    enqueue_work,
    wait_counts,
)
from tests.helpers.processes import QUEUE, Crew, crew
from tests.helpers.servers import MakeServer
from tests.helpers.waiting import wait_until


@pytest.fixture
def workers(redis_url: str, tmp_path: Path) -> Iterator[Crew]:
    with crew(redis_url, tmp_path) as made:
        yield made


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Client]:
    async with Client.connect(redis_url) as made:
        yield made


async def test_jobs_of_a_new_function_wait_for_the_new_release(
    client: Client, workers: Crew
) -> None:
    """S42: the old worker parks what it does not know; no attempt is used, nothing is lost."""
    old = workers.start(app="old")
    novel = {f"n{n}": Request("novel") for n in range(150)}
    await enqueue_noted(client, workers.ledger, novel)
    await enqueue_work(client, workers.ledger, 50, lambda: 5)
    await wait_counts(client, parked=150, completed=50)
    new = workers.start(app="new")
    await wait_counts(client, completed=200)
    assert {e.pid for e in workers.ledger.read() if e.job_id in novel and e.kind == "start"} == {
        new.pid
    }
    judgement = await assert_all_is_well(client, workers.ledger, completed=200, most_duplicates=0)
    assert judgement.attempts.total() == 200
    infos = [await client.job_info(QUEUE, job_id) for job_id in novel]
    assert {(info.failures, info.losses, info.interruptions) for info in infos} == {(0, 0, 0)}
    assert (old.stop(), new.stop()) == (0, 0)


async def test_both_releases_share_a_queue(client: Client, workers: Crew) -> None:
    """S42: a job may be parked by the old worker again and again, and it ends all the same."""
    workers.start(app="old")
    workers.start(app="new")
    await enqueue_noted(client, workers.ledger, {f"n{n}": Request("novel") for n in range(300)})
    await wait_counts(client, completed=300, timeout_s=15)
    judgement = await assert_all_is_well(client, workers.ledger, completed=300, most_duplicates=0)
    assert set(judgement.attempts.values()) == {1}


async def test_a_drained_queue_leaves_nothing_but_its_counters(
    make_server: MakeServer, tmp_path: Path
) -> None:
    """S47, small: the keys are gone, the memory is back."""
    server = make_server()
    with crew(server.url, tmp_path) as workers:
        async with Client.connect(server.url) as client:
            worker = workers.start(concurrency=100)
            await client.enqueue_many(passing(100))
            await wait_counts(client)
            size, memory = await client.dbsize(), await used_memory(client)
            await client.enqueue_many(passing(2000))
            peak = await used_memory(client)
            await wait_counts(client, timeout_s=20)
            assert peak - memory > 1_000_000, "the test must fill what it wants to see emptied"
            assert await used_memory(client) < memory * 1.1

            async def is_as_before() -> bool:
                """A ring of the bell stays until it is heard."""
                return bool(await client.dbsize() <= size)

            await wait_until(is_as_before, description="there are no more keys than before")
            assert worker.stop() == 0
            assert {key.decode() for key in await client.keys("jobs:{*")} == {
                KEYS.config,
                KEYS.stats,
            }


def passing(number: int) -> list[Request]:
    """Jobs of 1 kB of which nothing is kept."""
    options: Any = {"queue": QUEUE, "keep_completed": Keep(age=0)}
    kwargs = {"ms": 1, "padding": "x" * 1000}
    return [Request("work", kwargs=kwargs, options=options) for _ in range(number)]


async def used_memory(client: Client) -> int:
    """What the server holds, without the buffers of its connections."""
    stats = await client.memory_stats()
    return int(stats["dataset.bytes"])
