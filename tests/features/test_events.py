"""What happens in queues, told to any process: names, data, resuming, ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs import Client, Context, Fail, JobFailed, Queue, State, fixed, job
from jobs.errors import InvalidOption, ServerAway
from jobs.keys import queue_keys
from tests.helpers.hearing import names, only, until
from tests.helpers.keyspace import untyped
from tests.helpers.servers import MakeServer
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running


@job("greet", attempts=2, backoff=fixed(0.01))
async def greet(ctx: Context, name: str = "Ada") -> str:
    """Fails for some names: once, or for good."""
    if name == "once" and ctx.attempt == 1:
        raise ValueError("not yet")
    if name == "never":
        raise ValueError("no such person")
    if name == "final":
        raise Fail("banned")
    if name == "slow":
        await asyncio.sleep(60)
    return f"Hello {name}"


# -- the events of a job -------------------------------------------------------------------


async def test_a78_waiting_a73_active_a74_completed(client: Client, redis_url: str) -> None:
    async with running(redis_url, [greet]) as worker, client.events("default") as reader:
        before = datetime.now(UTC) - timedelta(seconds=1)
        queued = await client.enqueue("greet", {"name": "Bo"})
        found = await until(reader, "completed")
    assert names(found) == ["added", "waiting", "active", "completed"]
    assert {(event.queue, event.job_id) for event in found} == {("default", queued.id)}
    assert only(found, "added").data == only(found, "active").data == {"function": "greet"}
    data = only(found, "completed").data
    assert (data["outcome"], data["result"], data["attempt"]) == ("completed", "Hello Bo", 1)
    assert data["worker"] == worker.id
    assert before < found[0].at <= found[-1].at < datetime.now(UTC) + timedelta(seconds=1)


async def test_a75_failed_each_attempt_and_exhausted_at_the_last(
    client: Client, redis_url: str
) -> None:
    async with running(redis_url, [greet]), client.events("default") as reader:
        await client.enqueue("greet", {"name": "never"})
        found = await until(reader, "failed", 2)
    failures = [event for event in found if event.name == "failed"]
    assert [(e.data["outcome"], e.data["attempt"]) for e in failures] == [
        ("retried", 1), ("failed", 2),
    ]  # fmt: skip
    assert {e.data["error"]["message"] for e in failures} == {"no such person"}
    assert names(found).count("delayed") == 1
    assert only(found, "retries-exhausted").data["error"]["type"] == "ValueError"
    assert only(found, "delayed").data["due_ms"] > 0


async def test_a76_progress(client: Client, redis_url: str) -> None:
    @job("half")
    async def half(ctx: Context) -> None:
        await ctx.progress(50)

    async with running(redis_url, [half]), client.events("default") as reader:
        queued = await client.enqueue("half")
        found = await until(reader, "completed")
    progress = only(found, "progress")
    assert (progress.job_id, progress.data) == (queued.id, {"progress": 50})
    assert names(found)[-2:] == ["progress", "completed"], "in this order"


async def test_a77_stalled(client: Client, redis_url: str) -> None:
    """The worker that ran a job does not renew its lease: another takes the job over."""
    async with client.events("default") as reader:
        queued = await client.enqueue("greet", {"name": "once"}, id="lost")
        from jobs.store import queue as store

        turn = store.Turn("dead", 1, 1, 1)
        await store.step(client.lane, queue_keys("default"), turn)
        async with running(redis_url, [greet], lease=0.3):
            await queued.result(timeout=10)
            found = await until(reader, "completed")
    stalled = only(found, "stalled")
    assert (stalled.job_id, stalled.data["error"]["type"]) == ("lost", "WorkerLost")
    assert names(found)[:5] == ["added", "waiting", "active", "stalled", "waiting"]


async def test_a79_errors_of_a_worker(client: Client, redis_url: str) -> None:
    async with running(redis_url, [greet]) as worker, client.events("default") as reader:
        session = worker._session
        assert session is not None
        try:
            await session.link.failed(ConnectionResetError("the cable is out"))
            (error,) = await until(reader, "error")
        finally:
            session.link._away_since_s = None
    assert error.job_id == ""
    assert error.data["error"] == {"type": "ConnectionResetError", "message": "the cable is out"}
    assert error.data["worker"] == worker.id


async def test_a79_errors_of_the_loops_of_a_worker(client: Client, redis_url: str) -> None:
    """Those that are no trouble of the server but of the worker itself."""
    async with running(redis_url, [greet]) as worker, client.events("default") as reader:
        session = worker._session
        assert session is not None
        await session._loops[0].failed(KeyError("a mistake of ours"))
        (error,) = await until(reader, "error")
    assert error.data["error"] == {"type": "KeyError", "message": "'a mistake of ours'"}


async def test_a79_an_error_waits_for_the_server(make_server: MakeServer, tmp_path: Path) -> None:
    """The server itself is away: its listeners hear of it when it is back."""
    config = {"appendonly": "yes", "appendfsync": "always"}
    server = make_server(tmp_path, persistent=True, config=config)
    async with (
        Client.connect(server.url) as client,
        running(server.url, [greet]) as worker,
        client.events("default") as reader,
    ):
        with server.away():
            session = worker._session
            assert session is not None
            await wait_until(lambda: session.link.away, description="the worker has noticed")
        heard = await until(reader, "error")
    assert "Error" in only(heard, "error").data["error"]["type"]


# -- the reader ----------------------------------------------------------------------------


async def test_a80_any_process_may_listen(client: Client, redis_url: str) -> None:
    """Every listener has every event, wherever it is and whatever the others read."""
    async with Client.connect(redis_url) as elsewhere:
        await client.enqueue("greet", delay=60)
        readers = [client.events("default"), client.events(), elsewhere.events("default")]
        for reader in readers:
            await reader.start()
        async with running(redis_url, [greet]):
            await client.enqueue("greet")
            heard = [await until(reader, "completed") for reader in readers]
        assert heard[0] == heard[1] == heard[2]
        assert len(heard[0]) == 4


async def test_b165_a_reader_resumes_where_it_was(client: Client, redis_url: str) -> None:
    async with running(redis_url, [greet]):
        async with client.events("default") as reader:
            await client.enqueue("greet", id="1")
            first = await until(reader, "waiting")
            position = reader.position
        await client.enqueue("greet", id="2")
        await client.job("2").result(timeout=20)
        for since in (first[-1].id, int(first[-1].id), position):
            rest = await until(client.events("default", since=since), "completed", 2)
            assert rest[0].job_id == "1"
            assert int(rest[0].id) == int(first[-1].id) + 1, "nothing is missing or told twice"
            ids = [int(event.id) for event in rest]
            assert ids == list(range(ids[0], ids[-1] + 1))
        everything = await until(client.events("default", since="0"), "completed", 2)
        assert everything[:2] == first


async def test_b165_since_a_time(client: Client, redis_url: str) -> None:
    await client.queue().keep_events()
    await client.enqueue("greet", id="1")
    await asyncio.sleep(0.005)  # events are told apart by the millisecond
    async with Redis.from_url(redis_url) as redis:
        seconds, micro = await redis.time()
    at = datetime.fromtimestamp(seconds + micro / 1e6, UTC)
    await client.enqueue("greet", id="2")
    found = await until(client.events("default", since=at), "waiting")
    assert {event.job_id for event in found} == {"2"}


async def test_b165_trimmed_events_are_a_gap(client: Client) -> None:
    async with client.events("default") as reader:
        await client.enqueue("greet", id="1")
        (added,) = await until(reader, "added")
    for _ in range(130):
        await client.enqueue_many([greet.request() for _ in range(100)])
    late = client.events("default", since=added.id)
    found = await until(late, "added")
    assert names(found) == ["gap", "added"]
    assert int(found[1].id) == int(found[0].id) + 1
    assert int(found[0].id) > int(added.id) + 1
    rest = await until(client.events("default", since=found[0].id), "added")
    assert names(rest) == ["added"], "told once"


async def test_b165_what_nobody_had_written_is_a_gap(client: Client) -> None:
    async with client.events("default") as reader:
        await client.enqueue("greet", id="1")
        (added,) = await until(reader, "added")
    await client.queue().keep_events(0)
    await client.enqueue("greet", id="2")
    async with client.events("default", since=added.id) as reader:
        await client.enqueue("greet", id="3")
        found = await until(reader, "waiting", 2)
    assert [(event.name, event.job_id) for event in found] == [
        ("waiting", "1"), ("gap", ""), ("added", "3"), ("waiting", "3"),
    ]  # fmt: skip


async def test_a_server_that_forgot_is_a_gap(client: Client) -> None:
    late = client.events("default", since="9" * 17)
    async with asyncio.timeout(20):
        async for event in late:
            assert event.name == "gap"
            break


async def test_b165_nothing_is_written_unless_somebody_listens(client: Client) -> None:
    async def stored() -> int:
        return int(await untyped(client).xlen(queue_keys("default").events))

    await client.enqueue("greet")
    assert await stored() == 0
    async with client.events("default"):
        pass
    await client.enqueue("greet")
    assert await stored() == 1, "for a day after the last listener"
    await client.queue().keep_events(0)
    await client.enqueue("greet")
    assert await stored() == 1


async def test_a_queue_may_always_write_its_events(client: Client, redis_url: str) -> None:
    queue = Queue("audit", events=True)

    async def until_ms() -> int:
        keys = queue_keys("audit")
        return int(await untyped(client).hget(keys.config, "listened") or 0)

    async with running(redis_url, [greet], queues=[queue]):
        await wait_until(until_ms, description="the worker has its events written")
    assert await until_ms() > 2 * 10**14
    await client.enqueue("greet", queue="audit")
    found = await until(client.events("audit", since="0"), "waiting")
    assert names(found) == ["added", "waiting"]


async def test_several_queues_at_once(client: Client) -> None:
    async with client.events("a", "b", names=["waiting"]) as reader:
        for queue in ("a", "b", "c"):
            await client.enqueue("greet", queue=queue, id=queue)
        found = await until(reader, "waiting", 2)
        assert {(event.queue, event.job_id) for event in found} == {("a", "a"), ("b", "b")}
        assert reader.position.keys() == {"a", "b"}


async def test_all_queues_and_those_that_come(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.event_reader.LOOK_MS", 20)
    async with client.events() as reader:
        await client.enqueue("greet", queue="a", id="1")
        (gap,) = await until(reader, "gap")
        assert (gap.queue, gap.job_id) == ("a", ""), "nobody listened there before"
        await client.enqueue("greet", queue="a", id="2")
        assert names(await until(reader, "waiting")) == ["added", "waiting"]
        await client.enqueue("greet", queue="b", id="2")
        (gap,) = await until(reader, "gap")
        assert gap.queue == "b"
        await client.enqueue("greet", queue="b", id="3")
        assert {event.job_id for event in await until(reader, "waiting")} == {"3"}


async def test_events_are_chosen_by_name_and_job(client: Client, redis_url: str) -> None:
    async with (
        running(redis_url, [greet]),
        client.events("default", names={"completed", "failed"}, job_id="2") as reader,
    ):
        for job_id in ("1", "2"):
            await client.enqueue("greet", id=job_id)
        found = await until(reader, "completed")
    assert [(event.name, event.job_id) for event in found] == [("completed", "2")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": "complete"}, "no event 'complete' .did you mean 'completed'"),
        ({"names": ["waiting", "whatever"]}, "names of your own have a dot"),
        ({"since": "yesterday"}, "`since` is the id of an event"),
        ({"since": -1}, "`since` is the id of an event"),
        ({"since": datetime(2026, 1, 1)}, "an aware datetime"),  # noqa: DTZ001 -- the point
        ({"since": {"default": "x"}}, "`since` is the id of an event"),
    ],
)
async def test_bad_questions(client: Client, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        client.events("default", **options)


async def test_a_reader_needs_a_server_to_begin() -> None:
    async with Client.connect("redis://127.0.0.1:1") as client:
        with pytest.raises(ServerAway):
            await client.events("default").start()
        with pytest.raises(ServerAway):
            async for _ in client.events("default"):
                pass


async def test_a_reader_leaves_nothing_behind(client: Client, redis_url: str) -> None:
    """However it is left: its connection is closed, and no task goes on."""

    async def connections() -> int:
        return sum("XREAD" in str(one["cmd"]).upper() for one in await admin.client_list())

    async with Redis.from_url(redis_url) as admin:
        async with client.events("default") as reader:
            waiting = asyncio.create_task(until(reader, "completed"))
            await wait_until(connections, description="it waits at the server")
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await client.enqueue("greet")
        async for _ in client.events("default", since="0"):
            break

        async def closed() -> bool:
            return await connections() == 0

        await wait_until(closed, description="its connections are closed")


async def test_a_closed_reader_ends_its_loop_and_can_go_on(client: Client) -> None:
    reader = client.events("default")
    await reader.start()
    waiting = asyncio.create_task(until(reader, "completed"))
    await client.enqueue("greet", id="1")
    await wait_until(lambda: reader.position, description="it reads")
    await asyncio.sleep(0.05)  # so that it waits at the server again
    await reader.aclose()
    with pytest.raises(AssertionError, match="a reader ends only when it is left"):
        await waiting
    await client.enqueue("greet", id="2")
    found = await until(reader, "waiting")
    assert {event.job_id for event in found} == {"2"}


async def test_failures_do_not_end_a_reader(client: Client, redis_url: str) -> None:
    """Ends that carry errors, among others."""
    async with running(redis_url, [greet]), client.events("default") as reader:
        final = await client.enqueue("greet", {"name": "final"})
        with pytest.raises(JobFailed):
            await final.result(timeout=20)
        found = await until(reader, "drained")
    assert only(found, "failed").data["error"]["type"] == "Fail"
    assert await final.state() is State.failed
