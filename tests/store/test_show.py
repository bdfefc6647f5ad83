"""Reading what a queue holds."""

from __future__ import annotations

from redis.asyncio import Redis

from jobs.states import State
from jobs.store import show
from jobs.store.queue import Verb
from tests.helpers.servers import MakeServer
from tests.store.steps import BEGUN, MINUTE, NOW, Steps, record


async def test_jobs_are_read_as_they_are_stored(steps: Steps) -> None:
    await steps.add("done")
    await steps.finish("done", Verb.retry)
    await steps.finish("done")
    await steps.add("running")
    await steps.claim()
    await steps.add("waiting", priority=2)
    await steps.add("delayed", delay_ms=9_000)
    ids = ["delayed", "nobody", "running", "done", "waiting"]
    found = await show.read_jobs(steps.client, steps.keys, ids)
    assert [job and (job.id, job.state, job.score) for job in found] == [
        ("delayed", State.delayed, NOW + 9_000),
        None,
        ("running", State.active, NOW + 30_000),
        ("done", State.completed, NOW),
        ("waiting", State.waiting, 2 * 2**42 + 4),
    ]
    _, _, running, done, waiting = found
    assert done is not None
    assert done.history == [b"line", b"line"]
    size = 6 + len(b"<done>") + len(b"line\nline")
    assert done.record == record(token=2, failures=1, sequence=2.0, flags=BEGUN, size=size)
    assert waiting is not None
    assert waiting.record == record(2, 0, sequence=4.0), "read from its place in line"
    assert running is not None
    assert (running.body, running.enqueued_ms) == (b"<running>", NOW)
    assert await show.read_jobs(steps.client, steps.keys, []) == []


async def test_a_full_server_still_tells_what_it_holds(make_server: MakeServer) -> None:
    """Redis refuses MULTI when its memory is out, so looking must not need it."""
    async with Redis.from_url(make_server().url) as client:
        steps = Steps(client)
        await steps.add("a")
        await client.config_set("maxmemory", "1")
        (found,) = await show.read_jobs(client, steps.keys, ["a"])
        assert found is not None
        assert found.state is State.waiting
        assert (await show.size(client, steps.keys)).counts[State.waiting] == 1
        await client.config_set("maxmemory", "0")


async def test_more_than_a_hundred_are_read_in_order(steps: Steps) -> None:
    ids = [f"j{number}" for number in range(101)]
    for at in range(0, 101, 50):
        await steps.add(*ids[at : at + 50])
    found = await show.read_jobs(steps.client, steps.keys, ids)
    assert [job and job.id for job in found] == ids


async def test_the_oldest_waiting_job_is_known(steps: Steps) -> None:
    async def oldest() -> int | None:
        return (await show.size(steps.client, steps.keys, now_ms=steps.now)).oldest_ms

    assert await oldest() is None
    await steps.add("late", delay_ms=10)
    assert await oldest() is None, "a delayed job is not free to run"
    steps.now += 10
    await steps.step()
    assert await oldest() == NOW + 10, "free since it was due"
    await steps.add("first", priority=1)
    assert await oldest() == steps.now, "free since it was enqueued"


async def test_pages_are_in_the_order_that_matters(steps: Steps) -> None:
    """Live jobs as they will run, ended ones newest first."""
    for job_id in "abc":
        await steps.add(job_id)
        await steps.finish(job_id)
        steps.now += 1
    await steps.add("y", priority=3)
    await steps.add("x", priority=1)
    await steps.add("l2", delay_ms=20)
    await steps.add("l1", delay_ms=10)
    pages = {
        state: await show.page_ids(steps.client, steps.keys, state, 0, 2)
        for state in (State.completed, State.waiting, State.delayed)
    }
    assert pages == {
        State.completed: ["c", "b"],
        State.waiting: ["x", "y"],
        State.delayed: ["l1", "l2"],
    }
    assert await show.page_ids(steps.client, steps.keys, State.completed, 2, 2) == ["a"]


async def test_counts_and_counters_are_those_of_what_happened(steps: Steps) -> None:
    await steps.add("a", "b", "c", "d", "e")
    await steps.add("later", delay_ms=9_000)
    for job_id, verb in zip(
        "abcd", (Verb.complete, Verb.fail, Verb.park, Verb.expire), strict=True
    ):
        await steps.finish(job_id, verb)
    await steps.finish("e", Verb.interrupt)
    await steps.claim()
    await steps.cancel("later")
    await steps.rescue("e")
    counts = (await show.size(steps.client, steps.keys)).counts
    assert {state: number for state, number in counts.items() if number} == dict.fromkeys(
        [
            State.completed, State.failed, State.parked, State.expired, State.cancelled,
            State.waiting,
        ], 1,
    )  # fmt: skip
    minutes = await show.minute_counters(steps.client, steps.keys, MINUTE)
    totals = {name: n for name, n in minutes[MINUTE].items() if ":" not in name}
    assert totals == {
        "enqueued": 6, "claimed": 6, "completed": 1, "failed": 1, "parked": 1, "expired": 1,
        "interrupted": 1, "cancelled": 1, "lost": 1, "wait_ms": 0, "run_ms": 5 * 7,
    }  # fmt: skip
    assert await show.minute_counters(steps.client, steps.keys, MINUTE + 1) == {}
