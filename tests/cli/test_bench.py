"""`bench`: real figures of a real server, and nothing left on it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs import Client
from jobs.cli import application, bench, measuring, scratch
from jobs.cli.codes import Problem
from jobs.cli.measuring import Measurement, Plan
from jobs.cli.scratch import LEAST_QUEUED, MOST_QUEUED, Scratch, room, surely
from tests.cli.conftest import Cli, Program
from tests.helpers.servers import MakeServer, Server, ttls_of
from tests.helpers.waiting import wait_until, wait_until_sync

MIB = 2**20
SHORT = ("bench", "--seconds", "1")


def keys_of(server: Server) -> list[str]:
    with server.client() as client:
        found: Any = client.keys("*")
        return sorted(key.decode() for key in found)


def writing(server: Server) -> Callable[[], bool]:
    """Whether the round trips have begun, which write the one plain value."""
    return lambda: any(key.endswith(":value") for key in keys_of(server))


# -- what it says --------------------------------------------------------------------------


def test_the_figures_as_json(cli: Cli, server: Server) -> None:
    done = cli(*SHORT, "--json")
    found = done.json
    assert done.code == 0
    assert found["place"]["address"] == f"127.0.0.1:{server.port}"
    assert found["place"]["concurrency"] == 100
    assert found["place"]["loop"] in {"uvloop", "asyncio"}
    for name in ("ping", "write", "pickup", "awaited"):
        assert 0 < found[name]["p50_ms"] <= found[name]["p99_ms"], name
        assert found[name]["samples"] >= 10
    for name in ("one_by_one", "bulk", "drain"):
        assert found[name]["per_s"] == pytest.approx(
            found[name]["jobs"] / found[name]["seconds"], 1
        )
    assert 0 < found["drain"]["worker_share"] < 2
    assert found["drain"]["server_cpu_s"] > 0
    assert found["verdict"][0]["topic"] == "capacity"
    assert "jobs/s" in found["verdict"][0]["text"]


def test_a_table_and_a_verdict_for_people(cli: Cli) -> None:
    done = cli(*SHORT)
    table, verdict = done.out.split("\n\n")
    assert [line.split("  ")[0] for line in table.splitlines()] == [
        "MEASURED", "round trip (PING)", "round trip (SET)", "enqueue one by one",
        "enqueue in bulk", "drain", "pick-up", "enqueue and await",
    ]  # fmt: skip
    first, *others = verdict.splitlines()
    assert first.startswith("- ")
    assert "server and one worker process carry about" in first
    assert {line[:2] for line in others} <= {"- ", "! "}
    assert "writes only to a queue of its own" in done.err
    assert "%" not in done.err


def test_a_bar_on_a_terminal_alone(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = cli(*SHORT)
    assert " %" in done.err
    assert "enqueue" in done.err
    assert cli(*SHORT, "--quiet").err == ""


def test_the_concurrency_is_that_of_the_settings() -> None:
    async def f(ctx: object) -> None: ...

    def concurrency(asked: int | None = None, **settings: Any) -> int:
        app = application.of({"functions": [f], **settings})
        return bench._plan(app, 20, asked).concurrency

    assert (concurrency(), concurrency(max_jobs=7), concurrency(3, max_jobs=7)) == (100, 7, 3)
    assert bench._plan(None, 20, None).concurrency == 100


def test_the_jobs_travel_by_the_serializer_of_the_settings(cli: Cli, home: Path) -> None:
    (home / "own.py").write_text(
        "import pickle\nfrom pathlib import Path\n"
        "def write(value):\n    Path('written').touch()\n    return pickle.dumps(value)\n"
        "async def f(ctx): ...\nclass S:\n    functions = [f]\n"
        "    job_serializer = write\n    job_deserializer = pickle.loads\n"
    )
    assert cli(*SHORT, "--json", "--app", "own:S").code == 0
    assert (home / "written").exists()


@pytest.mark.parametrize("words", [["--seconds", "0.5"], ["--seconds", "x"], ["-c", "0"]])
def test_wrong_words(words: list[str], cli: Cli) -> None:
    done = cli("bench", *words)
    assert (done.code, done.out) == (2, "")


# -- what it leaves ------------------------------------------------------------------------


def test_nothing_of_others_is_touched(cli: Cli, server: Server) -> None:
    cli("enqueue", "add", "1", "--id", "1")
    before = keys_of(server)
    with server.client() as client:
        queues = client.smembers("jobs:queues")
        assert cli(*SHORT, "--app", "nowhere:Settings").code == 0
        assert client.smembers("jobs:queues") == queues
    assert keys_of(server) == before
    assert cli("show", "1", "--json").json["job"]["state"] == "waiting"


def test_on_an_empty_server_nothing_remains(cli: Cli, server: Server) -> None:
    assert cli(*SHORT, "--quiet").code == 0
    assert keys_of(server) == []


def test_the_queue_is_on_no_list_while_it_exists(program: Program, cli: Cli) -> None:
    process = program.start("bench", "--seconds", "600")
    program.wait_for("measuring")
    try:
        queues = cli("metrics", "--json").json["queues"]
        assert not [entry for entry in queues if "bench" in entry["queue"]]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


@pytest.mark.parametrize("part", ["round trips", "drain", "pick-up"])
def test_an_interruption_removes_everything(
    part: str, program: Program, server: Server, redis_url: str
) -> None:
    process = program.start("bench", "--seconds", "6", FORCE_COLOR="1")
    wait_until_sync(lambda: part in program.errors(), description=f"{part} is shown", timeout=15)
    wait_until_sync(lambda: keys_of(server), description="keys are written")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in program.errors()
    assert keys_of(server) == []


async def test_a_killed_run_leaves_what_expires(
    redis_url: str, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "FUSE_EVERY_S", 0.01)

    async def expiring() -> bool:
        ttls = await ttls_of(redis_client)
        return len(ttls) >= 3 and all(0 < ttl <= 120_000 for ttl in ttls.values())

    async with Client.connect(redis_url) as client, Scratch(client, print) as own:
        client.prefix = own.prefix
        await client.enqueue("f", queue=own.name)
        await wait_until(expiring, description="every key expires by itself")
        assert all(key.startswith(f"jobs:{own.name}:") for key in await ttls_of(redis_client))
    assert await ttls_of(redis_client) == {}


async def test_leaving_is_not_cut_short(redis_url: str, redis_client: Redis) -> None:
    async def work(client: Client) -> None:
        async with Scratch(client, print) as own:
            await client.set(own.value, 1)
            held.set()
            await asyncio.sleep(60)

    held = asyncio.Event()
    async with Client.connect(redis_url) as client:
        task = asyncio.create_task(work(client))
        await held.wait()
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
    assert task.cancelled()
    assert await ttls_of(redis_client) == {}


async def test_surely_hands_on_errors_and_cancellations() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await surely(fails())
    ended = asyncio.Event()

    async def slow() -> None:
        await asyncio.sleep(0.01)
        ended.set()

    task = asyncio.create_task(surely(slow()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


# -- servers in trouble --------------------------------------------------------------------


def told(program: Program, what: str) -> None:
    assert what in program.errors()
    assert "Traceback" not in program.errors()


def test_a_server_that_dies(program: Program, make_server: MakeServer) -> None:
    server = make_server()
    process = program.start("bench", "--seconds", "20", "--redis", server.url)
    wait_until_sync(writing(server), description="it writes", timeout=15)
    server.kill()
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (3, "")
    told(program, "error: no server answers at 127.0.0.1:")
    told(program, "could not be removed; they expire in 120 s")


def test_a_server_that_becomes_full(program: Program, make_server: MakeServer) -> None:
    server = make_server()
    process = program.start("bench", "--seconds", "20", "--redis", server.url)
    wait_until_sync(writing(server), description="it writes", timeout=15)
    with server.client() as client:
        client.config_set("maxmemory", 1)
        out, _ = process.communicate(timeout=20)
        assert (process.returncode, out) == (3, "")
        assert client.dbsize() == 0
    told(program, "takes no more data")


def test_a_server_without_room(cli: Cli, make_server: MakeServer) -> None:
    server = make_server()
    with server.client() as client:
        info: Any = client.info("memory")
        client.config_set("maxmemory", info["used_memory"] + MIB)
    done = cli(*SHORT, "--redis", server.url)
    assert (done.code, done.out) == (3, "")
    assert "is full" in done.err
    assert "raise maxmemory" in done.err
    assert keys_of(server) == []


def test_a_server_that_evicts(cli: Cli, make_server: MakeServer) -> None:
    """Here 50,000 jobs could push out what others keep."""
    server = make_server(config={"maxmemory-policy": "allkeys-lru"})
    done = cli(*SHORT, "--redis", server.url)
    assert (done.code, done.out) == (2, "")
    assert "expected 'noeviction'" in done.err
    assert keys_of(server) == []


@pytest.mark.parametrize(
    ("info", "jobs"),
    [
        ({}, MOST_QUEUED),
        ({"used_memory": 1, "maxmemory": 0, "total_system_memory": 0}, MOST_QUEUED),
        ({"used_memory": MIB, "maxmemory": 0, "total_system_memory": 2**33}, MOST_QUEUED),
        ({"used_memory": 0, "maxmemory": 4 * MIB, "total_system_memory": 2**33}, 1024),
        ({"used_memory": 0, "maxmemory": 2**33, "total_system_memory": 4 * MIB}, 1024),
        ({"used_memory": 60 * MIB, "maxmemory": 64 * MIB}, 1024),
    ],
)
def test_the_room_that_is_taken(info: dict[str, int], jobs: int) -> None:
    assert room(info, "host:1") == jobs


@pytest.mark.parametrize("used", [63, 64, 70])
def test_a_full_server_is_refused(used: int) -> None:
    with pytest.raises(Problem, match="the server at host:1 is full") as caught:
        room({"used_memory": used * MIB, "maxmemory": 64 * MIB}, "host:1")
    assert caught.value.code == 3
    assert LEAST_QUEUED < 1024


# -- inside --------------------------------------------------------------------------------


def measurement(client: Client, own: Scratch, seconds: float = 0.2) -> Measurement:
    plan = Plan(seconds, concurrency=10, loop="asyncio", settings={})
    return Measurement(client, client, own, plan, lambda _: None)


async def test_no_more_jobs_than_there_is_room_for(redis_url: str) -> None:
    async with Client.connect(redis_url) as client, Scratch(client, print) as own:
        run = measurement(client, own, seconds=600)
        run._room = 500
        rate = await run._fill(600)
        assert rate.jobs == 400  # the first hundred opens the way
        assert all(ttl > 0 for ttl in (await ttls_of(client)).values())
        assert sum((await client.queue(own.name).counts()).values()) == 500
        drained = await run._drain(500, float("inf"))
        assert (drained.jobs, run.tally.count) == (499, 500)
        await own.empty()
        assert (await run._one_by_one()).jobs == 250


async def test_a_drain_ends_with_the_time(redis_url: str) -> None:
    async with Client.connect(redis_url) as client, Scratch(client, print) as own:
        run = measurement(client, own)
        jobs = (await run._fill(0.5)).jobs + 100
        drained = await run._drain(jobs, 0.0)
        assert 99 <= drained.jobs <= jobs
        assert drained.per_s > 0


async def test_a_worker_that_begins_nothing(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "STALL_S", 0.05)
    monkeypatch.setattr(measuring, "LOOK_S", 0.01)
    async with Client.connect(redis_url) as client, Scratch(client, print) as own:
        with pytest.raises(Problem, match="the worker began no job") as caught:
            await measurement(client, own)._pick_up()
    assert caught.value.code == 1


async def test_a_worker_that_cannot_start(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(_: object) -> str:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("jobs.engine.startup.check", refuses)
    async with Client.connect(redis_url) as client, Scratch(client, print) as own:
        with pytest.raises(ZeroDivisionError, match="oops"):
            await measurement(client, own)._drain(1, float("inf"))


async def test_a_server_that_does_not_tell_its_costs(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> None:
        return None

    async with Client.connect(redis_url) as client, Scratch(client, print) as own:
        run = measurement(client, own)
        monkeypatch.setattr(run, "_server_cpu", nothing)
        monkeypatch.setattr(run, "_info", nothing)
        bulk, drained = await run._fill_and_drain()
        assert min(bulk.jobs, drained.jobs) >= 99
        assert (drained.server_cpu_s, drained.server_share) == (None, None)
        assert run._bytes_a_job == 0
