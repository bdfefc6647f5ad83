"""Broken, silent and lossy connections between workers, producers and a server that is well."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import pytest

from jobs import Client, Request, State
from tests.faults.judging import (
    assert_all_is_well,
    counts,
    enqueue_noted,
    enqueue_work,
    random_of_this_run,
    wait_blocked,
    wait_counts,
    wait_settled,
)
from tests.helpers.processes import LEASE_S, QUEUE, Crew, crew
from tests.helpers.proxy import Proxy
from tests.helpers.servers import Server
from tests.helpers.waiting import wait_until

WATCHDOG_S = 5.0


@pytest.fixture
def proxy(server: Server, redis_url: str) -> Iterator[Proxy]:
    with Proxy(server.port) as made:
        yield made


@pytest.fixture
def workers(redis_url: str, proxy: Proxy, tmp_path: Path) -> Iterator[Crew]:
    """Workers behind the proxy."""
    with crew(proxy.url, tmp_path) as made:
        yield made


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Client]:
    """A client that sees the server itself."""
    async with Client.connect(redis_url) as made:
        yield made


def is_wake(request: bytes) -> bool:
    """The connection that waits for a wake-up, and for the step that stands behind it."""
    return b"BLPOP" in request.upper() or b"#\r\n" in request


def is_step(request: bytes) -> bool:
    """A worker's turn: of all scripts it alone names these keys."""
    return b":claims" in request and b":rate" in request


async def test_a_silent_wake_connection_delays_jobs_a_little(
    client: Client, workers: Crew, proxy: Proxy
) -> None:
    """S12: wake-ups are swallowed on the way, without any reset."""
    worker = workers.start()
    proxy.silent = is_wake
    await enqueue_work(client, workers.ledger, 1, lambda: 1, prefix="first")
    await wait_until(lambda: proxy.held, description="a wake-up is swallowed")
    for prefix in ("a", "b"):
        await enqueue_work(client, workers.ledger, 5, lambda: 1, prefix=prefix)
        await wait_counts(client, completed=6 if prefix == "a" else 11, timeout_s=WATCHDOG_S)
    proxy.silent = lambda _: False
    assert worker.stop() == 0


async def test_lost_replies_repeat_nothing(client: Client, workers: Crew, proxy: Proxy) -> None:
    """S08, S29: the server acts, and one reply in five is lost, to workers and to a producer."""
    random = random_of_this_run()
    workers.start_many(2)
    proxy.cuts = lambda request: b"EVALSHA" in request and random.random() < 1 / 5
    async with Client.connect(proxy.url) as producer:
        for n in range(10):
            await enqueue_work(producer, workers.ledger, 30, lambda: 10, prefix=f"p{n}-")
    await wait_until(lambda: proxy.cut >= 10, description="ten replies are lost", timeout=20)
    proxy.cuts = lambda _: False
    fate = {kind: workers.ledger.ids(kind) for kind in ("ack", "unknown", "fail")}
    assert not fate["fail"], "a lost reply is no refusal"
    await wait_settled(client)
    ran = 300 - len(fate["unknown"] - workers.ledger.ids("effect"))
    await assert_all_is_well(client, workers.ledger, completed=ran, most_duplicates=0)
    losses = [(await client.job_info(QUEUE, job_id)).losses for job_id in fate["ack"]]
    assert set(losses) == {0}, "claimed jobs are handed out again with the repeated call"
    assert workers.stop_all() == [0, 0]


async def test_a_worker_cut_off_is_fenced_off(
    redis_url: str, client: Client, workers: Crew, proxy: Proxy, tmp_path: Path
) -> None:
    """Its jobs run elsewhere, and when it is back its ends of attempts are refused."""
    gate = tmp_path / "gate"
    lonely = workers.start(log="INFO")
    hold = Request("hold", kwargs={"gate": str(gate)})
    await enqueue_noted(client, workers.ledger, {f"h{n}": hold for n in range(5)})
    await wait_until(lambda: workers.ledger.count("start") == 5, description="all have begun")
    proxy.silent = lambda _: True
    other = workers.start(url=redis_url)
    await wait_until(
        lambda: sum(e.kind == "start" and e.pid == other.pid for e in workers.ledger.read()) == 5,
        description="the other worker took over",
        timeout=6 * LEASE_S,
    )
    proxy.silent = lambda _: False
    await wait_until(
        lambda: lonely.log.count("its result is void") == 5,
        description="the lonely worker gives up its attempts",
        timeout=WATCHDOG_S + LEASE_S,
    )
    gate.touch()
    await assert_all_is_well(client, workers.ledger, completed=5, most_duplicates=5)
    assert (lonely.stop(), other.stop()) == (0, 0)


async def test_jobs_of_a_claim_whose_reply_is_late_are_released_at_the_stop(
    client: Client, workers: Crew, proxy: Proxy, tmp_path: Path
) -> None:
    """The worker was told to stop before it learnt what it had claimed."""
    worker = workers.start(grace=0, log="INFO", lease=30)
    await wait_blocked(client, 1)
    hold = Request("hold", kwargs={"gate": str(tmp_path / "gate")})
    proxy.silent = is_step
    await enqueue_noted(client, workers.ledger, {f"h{n}": hold for n in range(3)})
    await wait_counts(client, active=3)
    worker.send(signal.SIGTERM)
    await wait_until(lambda: "stopping:" in worker.log, description="the worker stops")
    proxy.silent = lambda _: False
    assert worker.wait() == 0
    assert await counts(client) == {State.waiting: 3}
    assert (await client.job_info(QUEUE, "h0")).losses == 0


async def test_resets_in_the_middle_of_everything(
    client: Client, workers: Crew, proxy: Proxy
) -> None:
    """Every connection is reset, again and again; nothing is lost or done twice."""
    workers.start_many(2)
    random = Random(1)
    work = asyncio.create_task(enqueue_work(client, workers.ledger, 300, lambda: 20))
    for _ in range(8):
        proxy.reset_all()
        await asyncio.sleep(random.uniform(0.05, 0.2))  # the fault itself: so often it happens
    await work
    await assert_all_is_well(client, workers.ledger, completed=300, most_duplicates=0)
    assert workers.stop_all() == [0, 0]
