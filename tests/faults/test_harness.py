"""The harness can fail: it finds lost, repeated and invented jobs; its tools do what they say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from redis.asyncio import Redis

from tests.helpers.ledger import Ledger, judge
from tests.helpers.proxy import Proxy
from tests.helpers.servers import Server
from tests.helpers.source import ROOT
from tests.helpers.waiting import wait_until, wait_until_sync


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger")
    yield made
    made.close()


@contextmanager
def naive(kind: str, url: str, ledger: Ledger) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.faults.naive", kind, url, str(ledger.path)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def fill(url: str, ledger: Ledger, number: int = 40) -> None:
    """Enqueue so many more jobs at the naive queue."""
    first = ledger.count("attempt")
    ids = [f"j{n}" for n in range(first, first + number)]
    ledger.note_all("attempt", ids)
    with redis.Redis.from_url(url) as client:
        client.zadd("ready", {job_id: n for n, job_id in enumerate(ids)})
    ledger.note_all("ack", ids)


def test_jobs_of_a_queue_that_forgets_are_lost(redis_url: str, ledger: Ledger) -> None:
    fill(redis_url, ledger)
    with naive("pop", redis_url, ledger) as worker:
        wait_until_sync(lambda: ledger.count("effect") > 2, description="it works", timeout=20)
        worker.kill()
        worker.wait()
        ledger.note("kill", "-", pid=worker.pid)
    with naive("pop", redis_url, ledger):
        wait_until_sync(lambda: "j39" in ledger.ids("written"), description="the rest", timeout=20)
    judgement = judge(ledger.read())
    assert 0 < len(judgement.lost) < 10
    assert "lost" in judgement.problems()[0]


def test_jobs_of_a_queue_without_renewal_run_twice(redis_url: str, ledger: Ledger) -> None:
    """Nobody was killed, so not one repetition is allowed."""

    def ran_twice() -> bool:
        """While one of the two works on a batch of ten, the other has nothing but its leases."""
        if ledger.count("finish") >= ledger.count("attempt"):
            fill(redis_url, ledger, 10)
        return judge(ledger.read()).duplicated > 0

    with naive("lease", redis_url, ledger), naive("lease", redis_url, ledger):
        wait_until_sync(lambda: ledger.count("up") == 2, description="two are up", timeout=20)
        wait_until_sync(ran_twice, description="a job ran twice", timeout=30)
    judgement = judge(ledger.read())
    assert judgement.in_flight == 0
    assert any("duplicated effects, at most 0" in problem for problem in judgement.problems())


def test_the_four_numbers(ledger: Ledger) -> None:
    told = {"a": "ack", "b": "ack", "c": "unknown", "d": "fail", "e": "ack"}
    ledger.note_all("attempt", told)
    for job_id, kind in told.items():
        ledger.note(kind, job_id)
    for job_id, token in [("a", 1), ("a", 2), ("a", 3), ("c", 1), ("d", 1), ("z", 1)]:
        ledger.note("start", job_id, token)
        ledger.note("effect", job_id, token)
    judgement = judge(ledger.read())
    assert judgement.lost == ["b", "e"]
    assert judgement.unexpected == ["d", "z"]
    assert judgement.recovered == ["c"]
    assert (judgement.duplicated, judgement.duplicates) == (2, {"a": 2})
    assert judgement.attempts["a"] == 3
    assert judgement.overlaps == ["a"]
    assert len(judgement.problems()) == 3


def test_what_was_in_flight_at_a_kill_may_run_twice(ledger: Ledger) -> None:
    """Job 1 had ended for good, job 2 had returned, job 3 ran; another process lives on."""
    for job_id in ("1", "2", "3"):
        ledger.note("start", job_id, 1, pid=77)
    ledger.note("start", "4", 1, pid=78)
    ledger.note("finish", "1", 1, pid=77)
    ledger.note("finish", "2", 1, pid=77)
    ledger.note("written", "1", 1, pid=77)
    ledger.note("kill", "-", pid=77)
    assert judge(ledger.read()).in_flight == 2


def test_attempts_one_after_the_other_do_not_overlap(ledger: Ledger) -> None:
    for token, pid in ((1, 7), (2, 8)):
        ledger.note("start", "a", token, pid=pid)
        ledger.note("finish", "a", token, pid=pid)
    ledger.note("start", "b", 1, pid=7)
    ledger.note("kill", "-", pid=7)
    ledger.note("start", "b", 1, pid=8)
    judgement = judge(ledger.read())
    assert (judgement.overlaps, judgement.max_concurrency) == ([], 1)
    assert judgement.reused_tokens == ["b"]


async def test_the_proxy_passes_everything_on(redis_client: Redis, server: Server) -> None:
    with Proxy(server.port) as proxy:
        async with Redis.from_url(proxy.url) as client:
            await client.set("jobs:x", b"y" * 300_000)
        assert await redis_client.strlen("jobs:x") == 300_000


async def test_the_proxy_drops_a_reply_after_the_deed(redis_client: Redis, server: Server) -> None:
    with Proxy(server.port) as proxy:
        proxy.cuts = lambda request: b"INCR" in request
        async with Redis.from_url(proxy.url, retry_on_timeout=False) as client:
            await client.ping()
            with pytest.raises(redis.ConnectionError):
                await client.incr("jobs:n")
        assert await redis_client.get("jobs:n") == b"1"
        assert proxy.cut == 1


async def test_the_proxy_is_silent_until_it_heals(redis_client: Redis, server: Server) -> None:
    with Proxy(server.port) as proxy:
        proxy.silent = lambda request: b"INCR" in request
        async with Redis.from_url(proxy.url, socket_timeout=0.2) as client:
            await client.ping()
            with pytest.raises(redis.TimeoutError):
                await client.incr("jobs:n")
            assert proxy.held == 1
            proxy.silent = lambda _: False
            assert await client.incr("jobs:n") == 2


async def test_the_proxy_resets_connections(server: Server, redis_client: Redis) -> None:
    with Proxy(server.port) as proxy:
        async with Redis.from_url(proxy.url) as client:
            await client.client_setname("cut-me")
            proxy.reset_all()

            async def gone() -> bool:
                names = [entry["name"] for entry in await redis_client.client_list()]
                return "cut-me" not in names

            await wait_until(gone, description="the server lost the connection")
