"""The server is killed, stopped, emptied or demoted: workers live on and lose nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from jobs import Client, Request, State
from jobs.errors import ServerRefused
from jobs.store.audit import audit
from tests.faults.judging import (
    KEYS,
    assert_all_is_well,
    enqueue_noted,
    enqueue_work,
    lost,
    random_of_this_run,
    wait_counts,
    wait_done,
    wait_settled,
)
from tests.helpers.ledger import judge
from tests.helpers.processes import LEASE_S, QUEUE, Crew, crew
from tests.helpers.servers import MakeServer, Server
from tests.helpers.waiting import wait_until

RECONNECTED_S = 15.0


@pytest.fixture
def private(make_server: MakeServer) -> Server:
    """A server that the test may mistreat."""
    return make_server()


@pytest.fixture
def workers(private: Server, tmp_path: Path) -> Iterator[Crew]:
    with crew(private.url, tmp_path) as made:
        yield made


@pytest.fixture
async def client(private: Server) -> AsyncIterator[Client]:
    async with Client.connect(private.url) as made:
        yield made


def mixed(random: Random, number: int, prefix: str) -> dict[str, Request]:
    """Jobs that run, wait, fail once, come back by themselves."""
    kinds: list[Callable[[], Request]] = [
        lambda: Request("work", kwargs={"ms": random.uniform(5, 60)}),
        lambda: Request("work", kwargs={"ms": 5}, options={"delay": random.uniform(0.1, 2)}),
        lambda: Request("flaky"),
        lambda: Request("snoozer"),
        lambda: Request("work", kwargs={"ms": 5}, options={"priority": random.randint(1, 9)}),
    ]
    return {f"{prefix}{n}": random.choice(kinds)() for n in range(number)}


async def test_a_killed_server_loses_nothing_that_it_confirmed(
    make_server: MakeServer, tmp_path: Path
) -> None:
    """S13: three times, in the middle of everything; every write is synced (AOF always)."""
    config = {"appendfsync": "always"}
    server = make_server(tmp_path / "data", persistent=True, config=config)
    random = random_of_this_run()
    with crew(server.url, tmp_path) as workers:
        async with Client.connect(server.url) as client:
            workers.start_many(2)
            for kill in range(3):
                await enqueue_noted(client, workers.ledger, mixed(random, 150, f"k{kill}-"))
                done = workers.ledger.count("effect") + random.randrange(20, 60)
                await wait_done(workers, done, timeout_s=RECONNECTED_S)
                server.kill()
                server.start()
                await client.connection_pool.disconnect()  # these are broken
                assert await audit(client, KEYS) == []
            judgement = await assert_all_is_well(
                client, workers.ledger, completed=450, most_duplicates=0
            )
            assert len(judgement.attempts) == 450
            assert all("is back after" in worker.log for worker in workers.workers)
            assert workers.stop_all() == [0, 0]


@pytest.mark.parametrize("socket_timeout_s", [1, 5])
async def test_a_stopped_server_takes_no_job_from_a_living_worker(
    private: Server, client: Client, tmp_path: Path, socket_timeout_s: int
) -> None:
    """S15: every lease is over when it goes on, and every worker lives.

    Once the calls of that time fail and are repeated, once they are only late.
    """
    url = f"{private.url}?socket_timeout={socket_timeout_s}"
    with crew(url, tmp_path, lease=LEASE_S / 2, concurrency=130) as workers:
        await stop_server_for_three_leases(private, client, workers, tmp_path / "gate")


async def stop_server_for_three_leases(
    private: Server, client: Client, workers: Crew, gate: Path
) -> None:
    workers.start_many(2)
    hold = Request("hold", kwargs={"gate": str(gate)})
    await enqueue_noted(client, workers.ledger, {f"h{n}": hold for n in range(250)})
    await wait_until(
        lambda: workers.ledger.count("start") == 250, description="all have begun", timeout=10
    )
    private.pause()
    await asyncio.sleep(3.2 * LEASE_S / 2)  # the fault itself: so long it is stopped
    private.resume()

    async def renewed() -> bool:
        now_s, _ = await client.time()
        deadlines = await client.zrange(KEYS.leases, 0, -1, withscores=True)
        return len(deadlines) == 250 and all(at > now_s * 1000 for _, at in deadlines)

    await wait_until(renewed, description="every lease is renewed", timeout=10)
    gate.touch()  # noqa: ASYNC240 -- a local file
    judgement = await assert_all_is_well(client, workers.ledger, completed=250, most_duplicates=0)
    assert judgement.attempts.total() == 250
    assert await lost(client) == 0
    assert workers.stop_all() == [0, 0]


async def test_connections_killed_all_the_time(
    private: Server, client: Client, workers: Crew
) -> None:
    """S16, small: every client is cut off ten times in two seconds."""
    await cut_off(private, client, workers, jobs=400, times=10)


@pytest.mark.faults
async def test_connections_killed_for_long(private: Server, client: Client, workers: Crew) -> None:
    """S16: fifty times, and once everything is held up for five seconds."""
    await cut_off(private, client, workers, jobs=5000, times=50, pause_ms=5000)


async def cut_off(
    private: Server, client: Client, workers: Crew, *, jobs: int, times: int, pause_ms: int = 0
) -> None:
    workers.start_many(2, concurrency=20)
    enqueue = asyncio.create_task(enqueue_work(client, workers.ledger, jobs, lambda: 20))
    with private.client() as admin:
        for _ in range(times):
            await asyncio.sleep(0.2)  # the fault itself: so often it happens
            admin.client_kill_filter(_type="normal", skipme=True)
        if pause_ms:
            admin.client_pause(pause_ms, all=True)
    await enqueue
    asked = len(workers.ledger.ids("ack") | workers.ledger.ids("unknown"))
    assert asked + len(workers.ledger.ids("fail")) == jobs
    await wait_until(
        lambda: len(workers.ledger.ids("effect")) >= len(workers.ledger.ids("ack")),
        description="every confirmed job ran",
        timeout=60,
        poll=0.05,
    )
    await wait_settled(client)
    ran = len(workers.ledger.ids("effect"))
    await assert_all_is_well(client, workers.ledger, completed=ran, most_duplicates=0)
    assert workers.stop_all() == [0, 0]


async def test_forgotten_scripts_are_sent_again(
    private: Server, client: Client, workers: Crew
) -> None:
    """S19: the server's script cache is emptied every 50 ms, and nobody notices."""
    workers.start_many(2)
    enqueue = asyncio.create_task(enqueue_work(client, workers.ledger, 500, lambda: 20))

    async def flush_scripts() -> None:
        with private.client() as admin:
            while True:
                admin.script_flush()
                await asyncio.sleep(0.05)  # the fault itself: so often it happens

    flushing = asyncio.create_task(flush_scripts())
    await enqueue
    judgement = await assert_all_is_well(client, workers.ledger, completed=500, most_duplicates=0)
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    assert judgement.attempts.total() == 500
    assert not [worker.log for worker in workers.workers if "NOSCRIPT" in worker.log]


async def test_a_server_that_comes_back_empty(
    private: Server, client: Client, workers: Crew, tmp_path: Path
) -> None:
    """S27: the jobs are gone with the server's memory; the worker is not.

    What it was running is refused and counts for nothing, and new jobs run.
    """
    gate = tmp_path / "gate"
    worker = workers.start()
    hold = Request("hold", kwargs={"gate": str(gate)})
    await enqueue_noted(client, workers.ledger, {f"h{n}": hold for n in range(5)})
    await wait_until(
        lambda: workers.ledger.count("start") == 5, description="all have begun", timeout=10
    )
    private.kill()
    private.start()
    await client.connection_pool.disconnect()  # these are broken
    await wait_until(
        lambda: workers.ledger.count("cancelled") == 5,
        description="jobs that the server does not know are cancelled",
        timeout=RECONNECTED_S,
    )
    await enqueue_work(client, workers.ledger, 20, lambda: 5)
    await wait_counts(client, completed=20)
    assert await audit(client, KEYS) == []
    assert worker.log.count("its result is void") == 5
    assert worker.stop() == 0


async def test_a_full_server_takes_no_jobs_and_ends_those_it_has(
    private: Server, client: Client, workers: Crew, tmp_path: Path
) -> None:
    """S14: enqueueing is refused; renewals and ends of attempts are written."""
    gate = tmp_path / "gate"
    worker = workers.start(concurrency=50)
    hold = Request("hold", kwargs={"gate": str(gate)})
    await enqueue_noted(client, workers.ledger, {f"h{n}": hold for n in range(50)})
    await wait_until(
        lambda: workers.ledger.count("start") == 50, description="all have begun", timeout=10
    )
    await enqueue_work(client, workers.ledger, 100, lambda: 5)
    await client.config_set("maxmemory", "1mb")
    with pytest.raises(ServerRefused, match="takes no more data"):
        await client.enqueue("work", {"ms": 5}, queue=QUEUE)
    await enqueue_work(client, workers.ledger, 20, lambda: 5, prefix="refused")
    assert len(workers.ledger.ids("fail")) == 20
    deadlines = await client.zrange(KEYS.leases, 0, -1, withscores=True)

    async def renewed() -> bool:
        now = dict(await client.zrange(KEYS.leases, 0, -1, withscores=True))
        return all(now.get(job_id, 0) > at for job_id, at in deadlines)

    await wait_until(renewed, description="leases are renewed on a full server")
    gate.touch()
    await wait_counts(client, completed=150)
    await client.config_set("maxmemory", "0")
    await enqueue_work(client, workers.ledger, 10, lambda: 5, prefix="after")
    judgement = await assert_all_is_well(client, workers.ledger, completed=160, most_duplicates=0)
    assert judgement.attempts.total() == 160
    assert await lost(client) == 0
    assert worker.stop() == 0


async def test_a_server_that_became_a_replica(
    private: Server, client: Client, workers: Crew, tmp_path: Path
) -> None:
    """arq-b: a worker on a read-only server says so, waits, and goes on when it may write."""
    worker = workers.start()
    await enqueue_work(client, workers.ledger, 20, lambda: 5)
    await wait_counts(client, completed=20)
    await client.slaveof("127.0.0.1", 1)
    with pytest.raises(ServerRefused, match="read-only replica"):
        await client.enqueue("work", {"ms": 5}, queue=QUEUE)
    await wait_until(lambda: "replica" in worker.log, description="the worker says why", timeout=10)
    await client.slaveof()
    await enqueue_work(client, workers.ledger, 20, lambda: 5, prefix="after")
    await assert_all_is_well(client, workers.ledger, completed=40, most_duplicates=0)
    assert "is back after" in worker.log
    assert worker.stop() == 0
    assert judge(workers.ledger.read()).attempts.total() == 40


async def test_jobs_that_are_due_when_the_server_returns(
    make_server: MakeServer, tmp_path: Path
) -> None:
    """What fell due while the server was away runs once, soon after it is back."""
    server = make_server(tmp_path / "data", persistent=True, config={"appendfsync": "always"})
    with crew(server.url, tmp_path) as workers:
        async with Client.connect(server.url) as client:
            workers.start()
            late = Request("work", kwargs={"ms": 1}, options={"delay": 0.5})
            await enqueue_noted(client, workers.ledger, {f"d{n}": late for n in range(50)})
            assert (await client.queue(QUEUE).counts())[State.delayed] == 50
            server.kill()
            await asyncio.sleep(0.6)  # the fault itself: longer than the delay
            server.start()
            await client.connection_pool.disconnect()  # these are broken
            await assert_all_is_well(client, workers.ledger, completed=50, most_duplicates=0)
