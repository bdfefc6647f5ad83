"""How a worker process ends: exit codes, hooks, and nothing left behind."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.helpers.processes import QUEUE, Crew, WorkerProcess, crew
from tests.helpers.proxy import Proxy
from tests.helpers.servers import MakeServer, Server
from tests.helpers.waiting import wait_until_sync

AT_ONCE_S = 3.0
"""An idle worker has nothing to wait for, not even the end of its wait at the server."""

AWAY_S = 12.0
"""With the server gone: the time for last acks and for the goodbye, both in vain."""


@pytest.fixture
def private(make_server: MakeServer) -> Server:
    """A server with no other clients than those of the test."""
    return make_server()


@pytest.fixture
def workers(private: Server, tmp_path: Path) -> Iterator[Crew]:
    with crew(private.url, tmp_path, log="INFO") as made:
        yield made


def listed(client: Any) -> list[dict[str, Any]]:
    """CLIENT LIST, which redis-py types for both of its clients at once."""
    found: list[dict[str, Any]] = client.client_list()
    return found


def connections(server: Server) -> int:
    """The number of connections, without the one that asks."""
    with server.client() as client:
        return len(listed(client)) - 1


def idle(workers: Crew, server: Server) -> WorkerProcess:
    """A worker that waits for a wake-up."""
    worker = workers.start()

    def blocked() -> bool:
        with server.client() as client:
            return any(entry["cmd"] == "blpop" for entry in listed(client))

    wait_until_sync(blocked, description="the worker waits", timeout=10)
    return worker


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_worker_ends_at_once(
    private: Server, workers: Crew, number: signal.Signals
) -> None:
    before = connections(private)
    worker = idle(workers, private)
    begun = time.monotonic()
    worker.send(number)
    wait_until_sync(lambda: "on_shutdown ran" in worker.log, description="it stops", timeout=10)
    took_s = time.monotonic() - begun
    assert worker.wait() == 0
    assert took_s < AT_ONCE_S
    assert "Traceback" not in worker.log
    wait_until_sync(lambda: connections(private) == before, description="its connections are gone")
    with private.client() as client:
        assert not client.exists(f"jobs:{{{QUEUE}}}:workers", f"jobs:{{{QUEUE}}}:claims")


def test_a_worker_ends_without_its_server(private: Server, workers: Crew) -> None:
    """arq-B3: `on_shutdown` runs, the exit code is 0, and it takes seconds, not for ever."""
    worker = idle(workers, private)
    private.kill()
    wait_until_sync(lambda: "trying again" in worker.log, description="it noticed", timeout=10)
    begun = time.monotonic()
    assert worker.stop(timeout_s=AWAY_S) == 0
    assert time.monotonic() - begun < AWAY_S
    assert "on_shutdown ran" in worker.log
    assert "Traceback" not in worker.log


def test_a_worker_ends_while_its_server_hangs(private: Server, workers: Crew) -> None:
    worker = idle(workers, private)
    private.pause()
    try:
        assert worker.stop(timeout_s=AWAY_S) == 0
        assert "on_shutdown ran" in worker.log
    finally:
        private.resume()


def test_a_worker_leaves_no_process_behind(private: Server, workers: Crew) -> None:
    """SIGKILL too: nothing of it lives on, its connections included."""
    before = connections(private)
    worker = idle(workers, private)
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
    if children.exists():
        assert children.read_text().split() == []
    worker.kill()
    wait_until_sync(lambda: connections(private) == before, description="its connections are gone")


def refusal(workers: Crew, url: str | None = None) -> str:
    """What a worker says that cannot run: one line, and an exit code of 1."""
    worker = workers.start(ready=False, url=f"{url or workers.url}?conn_retries=1", log="WARNING")
    assert worker.wait(20) == 1
    assert "Traceback" not in worker.log
    (line,) = [line for line in worker.log.splitlines() if " CRITICAL " in line]
    return line.partition("CRITICAL jobs.worker: ")[2]


def test_a_worker_refuses_a_server_that_evicts(make_server: MakeServer, workers: Crew) -> None:
    url = make_server(config={"maxmemory-policy": "allkeys-lru"}).url
    said = refusal(workers, url)
    assert said.startswith("the worker cannot run: maxmemory-policy is 'allkeys-lru'")
    assert "expected 'noeviction'" in said


def test_a_worker_refuses_a_replica(
    make_server: MakeServer, private: Server, workers: Crew
) -> None:
    config = {"replicaof": f"127.0.0.1 {private.port}"}
    said = refusal(workers, make_server(config=config).url)
    assert "is a read-only replica: point REDIS_URL at its primary" in said


def test_a_worker_refuses_a_wrong_password(make_server: MakeServer, workers: Crew) -> None:
    server = make_server(config={"requirepass": "right"})
    said = refusal(workers, server.url.replace("right", "wrong-secret"))
    assert "refuses" in said
    assert "check the password" in said
    assert "wrong-secret" not in said


def test_a_worker_needs_a_password_where_one_is_set(make_server: MakeServer, workers: Crew) -> None:
    server = make_server(config={"requirepass": "right"})
    said = refusal(workers, server.url.replace(":right@", ""))
    assert "check the password" in said


def test_a_worker_that_finds_no_server_says_where_it_looked(private: Server, workers: Crew) -> None:
    private.stop()
    said = refusal(workers)
    assert f"no server answers at 127.0.0.1:{private.port}" in said


def test_a_worker_waits_for_a_server_that_is_starting(private: Server, workers: Crew) -> None:
    port = private.port
    private.stop()
    worker = workers.start(ready=False)
    time.sleep(0.5)  # the server is late
    assert worker.returncode is None
    private.port = port
    private.start()
    workers.wait_ready(worker)
    assert worker.stop() == 0


def test_a_worker_that_loses_its_server_while_it_starts_goes_on(
    private: Server, workers: Crew
) -> None:
    """The connection breaks between the check of the server and the first claim."""
    left: set[bytes | None] = {b"SADD", b"SUBSCRIBE", b":claims"}

    def cut(request: bytes) -> bool:
        word = next((word for word in left if word and word in request), None)
        left.discard(word)
        return word is not None

    with Proxy(private.port) as proxy:
        proxy.cuts = cut
        worker = workers.start(url=proxy.url)
        with redis.Redis.from_url(private.url) as client:
            wait_until_sync(
                lambda: client.exists(f"jobs:{{{QUEUE}}}:workers"),
                description="the worker works",
                timeout=10,
            )
        wait_until_sync(lambda: proxy.cut == 3, description="all was cut", timeout=10)
        assert worker.stop() == 0
        assert "Traceback" not in worker.log
