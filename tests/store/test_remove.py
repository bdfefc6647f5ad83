"""Remove, promote, sweep: seed, call, compare the whole keyspace."""

from __future__ import annotations

import pytest

from jobs.keys import queue_keys
from jobs.states import State
from jobs.store import clearing, control, limits
from jobs.store.queue import Entry, Flow, Verb
from jobs.store.results import read_message
from tests.helpers.keyspace import untyped
from tests.store.steps import BEGUN, NOW, Steps, end, record, score


async def test_nobody_is_removed_or_promoted(steps: Steps) -> None:
    assert await steps.remove("a") == [(None, False)]
    assert await steps.promote("a") == [None]
    assert await steps.dump() == {}


# -- remove --------------------------------------------------------------------------------


async def test_a_waiting_job_leaves_nothing(steps: Steps) -> None:
    await steps.add("a", "b")
    before = await steps.dump()
    assert await steps.remove("a") == [(State.waiting, True)]
    after = await steps.changes(before)
    assert after == {"ready": {"b": score(3, 2)}, "body": {"b": (NOW, b"<b>")}}
    await steps.assert_sound()


@pytest.mark.parametrize(
    ("verb", "state"),
    [(Verb.retry, State.delayed), (Verb.park, State.parked), (Verb.complete, State.completed),
     (Verb.fail, State.failed), (Verb.cancel, State.cancelled), (Verb.expire, State.expired)],
)  # fmt: skip
async def test_it_goes_with_all_that_is_its(steps: Steps, verb: Verb, state: State) -> None:
    await steps.add("a")
    before = await steps.dump()
    await steps.finish("a", verb, delay_ms=5_000, keep=(60_000, -1, -1))
    client = untyped(steps.client)
    await client.hset(steps.keys.progress, "a", "1")
    await client.hset(steps.keys.logs, "a", "line")
    assert await steps.remove("a", "a") == [(state, True), (None, False)]
    found = await steps.dump()
    assert found.keys() - before.keys() == {"claims"}
    assert before.keys() - found.keys() == {"ready", "body"}
    assert not await steps.client.exists(steps.keys.progress, steps.keys.logs)
    await steps.assert_sound()


async def test_a_running_job_stays(steps: Steps) -> None:
    await steps.add("a")
    await steps.claim()
    before = await steps.dump()
    assert await steps.remove("a") == [(State.active, False)]
    assert await steps.changes(before) == {}


async def test_by_force_its_end_is_refused(steps: Steps) -> None:
    await steps.add("a")
    (claimed,) = await steps.claim()
    assert await steps.remove("a", running=True) == [(State.active, True)]
    assert await steps.ack(end(claimed)) == "0"
    assert (await steps.dump()).keys() == {"config", "stats", "wake", "claims"}


async def test_only_jobs_of_a_state_and_an_age(steps: Steps) -> None:
    await steps.add("old", "older", "late", delay_ms=1)
    steps.now += 1
    for job in await steps.claim():
        await steps.ack(end(job))
        steps.now += 100
    await steps.add("waits")
    ids = ["old", "older", "late", "waits"]
    removed = await steps.remove(*ids, state=State.completed, before_ms=NOW + 101)
    assert [done for _, done in removed] == [True, True, False, False]
    assert removed[3] == (State.waiting, False)
    removed = await steps.remove("waits", state=State.waiting, before_ms=NOW + 300)
    assert removed == [(State.waiting, False)], "enqueued later"
    assert await steps.remove("waits", before_ms=NOW + 301) == [(State.waiting, True)]
    await steps.assert_sound()


async def test_who_waits_for_it_hears_of_it(steps: Steps) -> None:
    await steps.add("a")
    await steps.watch("a", "inbox")
    async with steps.client.pubsub() as pubsub:
        await pubsub.subscribe("inbox")
        assert (await pubsub.get_message(timeout=5))["type"] == "subscribe"
        await steps.remove("a")
        message = await pubsub.get_message(timeout=5)
    job_id, told = read_message(message["data"])
    assert (job_id, told.state, told.line) == ("a", State.cancelled, b"gone")
    assert "waiters" not in await steps.dump()


async def test_a_unique_key_and_a_place_in_its_group_are_free_again(steps: Steps) -> None:
    flow = Flow(group="g", key="k", unique="u")
    await steps.put([Entry("a", b"A", 3, flow=flow)])
    await steps.remove("a")
    keys = steps.keys
    assert not await steps.client.exists(keys.unique, keys.uniques, keys.grouped, keys.turns)
    assert await steps.put([Entry("b", b"B", 3, flow=flow)]) == ["+"]
    await steps.assert_sound()


async def test_the_place_of_a_limit_is_free_again(steps: Steps) -> None:
    await limits.write_rules(steps.client, steps.keys, {"k": "o"}, now_ms=steps.now)
    await steps.put([Entry(i, b"x", 3, flow=Flow(group="k", key="k")) for i in "ab"])
    (first,) = await steps.claim()
    await steps.ack(end(first, Verb.retry, delay_ms=60_000))
    await steps.client.delete(steps.keys.wake)
    await steps.remove("a")
    assert (await steps.dump())["wake"] == 1, "somebody is woken for the next of the key"
    assert [job.id for job in await steps.claim()] == ["b"]
    await steps.assert_sound()


async def test_a_running_job_gives_back_its_place_of_a_shared_limit(steps: Steps) -> None:
    steps.keys = queue_keys("q", shared=True)
    await limits.write_rules(steps.client, steps.keys, {"q": "c1@stripe"}, now_ms=steps.now)
    await steps.add("a", "b")
    (first,) = await steps.claim()
    assert await steps.client.zcard(steps.keys.shared_holding) == 1
    await steps.remove("a", running=True)
    assert await steps.client.zcard(steps.keys.shared_holding) == 0
    assert [job.id for job in await steps.claim()] == ["b"]
    assert await steps.ack(end(first)) == "0"


# -- promote -------------------------------------------------------------------------------


async def test_a_delayed_job_waits_now(steps: Steps) -> None:
    await steps.add("a", "b", priority=7, delay_ms=60_000)
    await steps.add("c", priority=7)
    await steps.finish("c", Verb.park)
    steps.now += 1_000
    await steps.client.delete(steps.keys.wake)
    before = await steps.dump()
    assert await steps.promote("a", "c", "nobody") == [State.delayed, State.parked, None]
    assert await steps.changes(before) == {
        "later": {"b": NOW + 60_000},
        "ready": {"a": score(7, 4)},
        "record": before["record"]
        | {"a": record(7, 0, sequence=4.0, available_ms=float(NOW + 1_000))},
        "config": {"sequence": 4, "token": 1},
        "wake": 1,
    }


async def test_a_promoted_attempt_keeps_what_it_failed(steps: Steps) -> None:
    await steps.add("a")
    await steps.finish("a", Verb.retry, delay_ms=60_000)
    await steps.promote("a")
    found = await steps.dump()
    assert found["record"]["a"] == record(failures=1, flags=BEGUN, sequence=2.0)
    await steps.assert_sound()


async def test_the_holder_of_an_order_goes_first(steps: Steps) -> None:
    await limits.write_rules(steps.client, steps.keys, {"k": "o"}, now_ms=steps.now)
    await steps.put([Entry(i, b"x", 3, flow=Flow(group="k", key="k")) for i in "ab"])
    (first,) = await steps.claim()
    await steps.ack(end(first, Verb.retry, delay_ms=60_000))
    await steps.promote("a")
    assert [job.id for job in await steps.claim()] == ["a"]
    await steps.assert_sound()


# -- clear ---------------------------------------------------------------------------------


async def test_a_state_is_cleared_in_pages(steps: Steps) -> None:
    ids = [f"{n:03}" for n in range(230)]
    for at in range(0, 230, 100):
        await steps.add(*ids[at : at + 100])
    await steps.put([Entry(f"g{n}", b"g", 3, flow=Flow(group=f"{n % 3}")) for n in range(50)])
    await steps.claim(1)
    steps.now += 1
    await steps.add("young", priority=1)
    for limit, expected in ((120, 120), (None, 159), (None, 0)):
        removed = await clearing.clear(
            steps.client, steps.keys, State.waiting, line=b"gone", before_ms=NOW, limit=limit
        )
        assert removed == expected
    found = await steps.dump()
    assert found["ready"].keys() == {"young"}
    assert found["body"].keys() == {"000", "young"}
    await steps.assert_sound()


async def test_the_oldest_ended_ones_go_first(steps: Steps) -> None:
    for n in range(5):
        await steps.add(str(n))
        await steps.finish(str(n))
        steps.now += 10
    args = (steps.client, steps.keys, State.completed)
    assert await clearing.matching(*args, before_ms=NOW + 25, limit=2) == ["0", "1"]
    assert await clearing.matching(*args, before_ms=NOW + 25) == ["0", "1", "2"]
    assert await clearing.clear(*args, line=b"", before_ms=NOW + 25, limit=2) == 2
    assert (await steps.dump())["completed"].keys() == {"2", "3", "4"}
    assert await clearing.newest(*args, before_ms=NOW + 40, count=1) == ["3"]
    assert await clearing.newest(*args, before_ms=None, count=9) == ["4", "3", "2"]


# -- obliterate ----------------------------------------------------------------------------


async def obliterate(steps: Steps, *, force: bool = False) -> int | None:
    """Remove the queue `q`."""
    return await clearing.obliterate(
        steps.client, steps.keys, "jobs", "q", line=b"gone", force=force
    )


async def test_a_queue_goes_whole(steps: Steps) -> None:
    await steps.add("a", "b", "c")
    await steps.add("d", delay_ms=5)
    await steps.finish("a")
    await steps.finish("b", Verb.park)
    await steps.watch("c", "inbox")
    await steps.client.sadd("jobs:queues", "q", "other")  # type: ignore[misc]  # redis-py's hints
    async with steps.client.pubsub() as pubsub:
        await pubsub.subscribe("inbox")
        await pubsub.get_message(timeout=5)
        assert await obliterate(steps) == 4
        message = await pubsub.get_message(timeout=5)
    assert read_message(message["data"])[0] == "c"
    assert await steps.client.keys() == [b"jobs:queues"]
    assert await untyped(steps.client).smembers("jobs:queues") == {b"other"}


async def test_a_queue_whose_jobs_run_stays_as_it_is(steps: Steps) -> None:
    await steps.add("a", "b")
    await steps.claim(1)
    before = await steps.dump()
    assert await obliterate(steps) is None
    assert await steps.changes(before) == {}


async def test_by_force_a_late_end_proves_nothing(steps: Steps) -> None:
    """The new job of the same id gets another token than the one that still runs somewhere."""
    await steps.add("a", "b")
    old, _ = await steps.claim()
    assert await obliterate(steps, force=True) == 2
    assert await steps.dump() == {"config": {"token": 2}}
    await steps.add("a")
    (new,) = await steps.claim()
    assert await steps.ack(end(old, line=b"late")) == "0"
    assert await steps.ack(end(new)) == "1"
    await steps.assert_sound()


# -- orphans -------------------------------------------------------------------------------


async def sweep(steps: Steps) -> int:
    """Clear the orphans of the queue."""
    return await clearing.remove_orphans(steps.client, steps.keys, line=b"gone")


async def test_a_healthy_queue_loses_nothing(steps: Steps) -> None:
    await steps.add("a", "b", "c", "d", "e")
    await steps.add("f", delay_ms=50)
    await steps.put([Entry("g", b"G", 3, flow=Flow(group="g", unique="u"))])
    await steps.finish("a")
    await steps.finish("b", Verb.park)
    await steps.finish("c", Verb.retry, delay_ms=50)
    await steps.claim(1)
    await steps.watch("e", "in")
    before = await steps.dump()
    assert await sweep(steps) == 0
    assert await steps.changes(before) == {}
    await steps.assert_sound()


async def test_what_damage_left_behind_goes(steps: Steps) -> None:
    await steps.add("whole", "ended", "runs", "waits")
    await steps.add("late", delay_ms=50)
    await steps.put([Entry("grouped", b"G", 3, flow=Flow(group="g", unique="u"))])
    for job in await steps.claim(3):
        if job.id == "ended":
            await steps.ack(end(job))
        if job.id == "whole":
            await steps.ack(end(job, Verb.release))
    client, keys = untyped(steps.client), steps.keys
    await client.hdel(keys.body, "ended", "runs", "waits", "late", "grouped")
    await client.hset(keys.body, "stateless", b"123456body")
    await client.hset(keys.record, "recorded", b"r" * 37)
    await client.hset(keys.result, "nobody", b"line")
    await client.hset(keys.waiters, "awaited", b"in")
    await client.zadd(keys.later, {b"12345678lost": 5, b"12345678whole": 5})
    assert await sweep(steps) == 11
    found = await steps.dump()
    assert found["body"].keys() == {"whole"}
    assert not {"leases", "later", "completed", "waiters", "result"} & found.keys()
    assert not await steps.client.exists(keys.grouped, keys.turns, keys.unique)
    await steps.assert_sound()
    assert [job.id for job in await steps.claim()] == ["whole"]


async def test_keys_of_another_queue_are_left_alone(steps: Steps) -> None:
    other = Steps(steps.client, queue_keys("other"))
    await other.add("a")
    await steps.add("a")
    await steps.remove("a")
    assert "ready" in await other.dump()
    assert await control.promote(steps.client, other.keys, ["a"]) == [State.waiting]
