"""When a rescuer takes leases back, and when it must not: it judges by its own clock alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis

from jobs import Client
from jobs.engine.link import Link
from jobs.engine.upkeep import Rescuer
from jobs.kept import Retention
from jobs.store import queue as store
from tests.faults.judging import KEYS
from tests.helpers.processes import QUEUE
from tests.helpers.proxy import Proxy
from tests.helpers.servers import Server
from tests.helpers.waiting import wait_until

LEASE_MS = 300
KEEP = Retention(*[(-1, -1, -1)] * 4)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Client]:
    async with Client.connect(redis_url) as made:
        yield made


@pytest.fixture
async def leased(client: Client) -> None:
    """One job that is leased to a worker which is gone."""
    await client.enqueue("work", id="j1", queue=QUEUE)
    answer = await store.step(client, KEYS, store.Turn("gone", 1, LEASE_MS, 1))
    assert [job.id for job in answer.jobs] == ["j1"]


def rescuer(client: Client) -> Rescuer:
    return Rescuer(
        Link(client), {QUEUE: KEYS}, lease_ms=LEASE_MS, most_losses=3, retention=lambda *_: KEEP
    )


async def looks(rescuer: Rescuer) -> dict[str, str]:
    """What became of the jobs, by one look a tenth of a lease."""

    async def look() -> dict[str, str]:
        return await rescuer.run_once()

    found: dict[str, str] = await wait_until(
        look, description="a job is taken back", poll=LEASE_MS / 10_000
    )
    return found


@pytest.mark.usefixtures("leased")
async def test_a_lease_that_nobody_renews_is_taken_back(client: Client) -> None:
    assert await looks(rescuer(client)) == {"j1": "waiting"}
    assert await client.zcard(KEYS.leases) == 0


@pytest.mark.usefixtures("leased")
async def test_a_lease_that_is_over_for_long_is_watched_first(client: Client) -> None:
    """As after an outage: the deadline says nothing about whether its worker lives."""
    await client.zadd(KEYS.leases, {"j1": 1})
    assert await rescuer(client).run_once() == {}
    assert await client.zscore(KEYS.leases, "j1") == 1


@pytest.mark.usefixtures("leased")
async def test_a_renewed_lease_is_left_alone(client: Client) -> None:
    watching = rescuer(client)
    for deadline in range(100, 110):
        await client.zadd(KEYS.leases, {"j1": deadline})
        assert await watching.run_once() == {}
        await asyncio.sleep(LEASE_MS / 5_000)  # ten looks in two leases


@pytest.mark.usefixtures("leased")
async def test_troubles_of_other_connections_do_not_put_it_off(client: Client) -> None:
    """A wake connection that times out every few seconds says nothing about the leases."""
    watching = rescuer(client)
    watching.link._wait_s = 0

    async def look() -> dict[str, str]:
        watching.link._wait_s = 0
        await watching.link.failed(redis.TimeoutError("somebody else's"))
        return await watching.run_once()

    assert await wait_until(
        look, description="it is taken back all the same", poll=LEASE_MS / 10_000
    )


@pytest.mark.usefixtures("leased")
async def test_an_answer_that_comes_late_is_no_evidence(redis_url: str, server: Server) -> None:
    """The server hung for longer than a lease; the workers' renewals come right behind."""
    with Proxy(server.port) as proxy:
        async with Client.connect(proxy.url) as client:
            watching = rescuer(client)
            assert await watching.run_once() == {}
            proxy.latency_s = 1.5 * LEASE_MS / 1000
            assert await watching.run_once() == {}
            proxy.latency_s = 0
            assert await watching.run_once() == {}
            assert await looks(watching) == {"j1": "waiting"}


@pytest.mark.usefixtures("leased")
async def test_its_own_failed_look_puts_it_off(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise redis.ConnectionError("reset by peer")

    watching = rescuer(client)
    assert await watching.run_once() == {}
    await asyncio.sleep(LEASE_MS * 0.6 / 1000)
    with monkeypatch.context() as outage:
        outage.setattr(client, "execute_command", broken)
        await watching.turn()
    await asyncio.sleep(LEASE_MS * 0.6 / 1000)
    assert await watching.run_once() == {}


async def test_a_request_that_comes_late_claims_nothing(client: Client) -> None:
    """It was lost on the way, its sender has gone on, and nobody reads its answer."""
    for n in range(3):
        await client.enqueue("work", id=f"j{n}", queue=QUEUE)
    await store.step(client, KEYS, store.Turn("w", 5, LEASE_MS, 1))
    late = await store.step(client, KEYS, store.Turn("w", 4, LEASE_MS, 1))
    assert late.jobs == []
    assert await client.zcard(KEYS.leases) == 1
