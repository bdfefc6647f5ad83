"""Who is told: waiters of a job's end, the registry of workers, the instants of schedules."""

from __future__ import annotations

import struct

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from jobs.states import State
from jobs.store import workers
from jobs.store.queue import Verb
from jobs.store.record import late_name
from jobs.store.results import read_message
from tests.helpers.keyspace import untyped
from tests.store.steps import MINUTE, NOTHING, NOW, Steps, end, score


async def messages(pubsub: PubSub, steps: Steps) -> list[tuple[str, State, bytes]]:
    """What came so far: everything before a mark that is sent now."""
    await steps.client.publish("in", b"mark")
    found: list[tuple[str, State, bytes]] = []
    while True:
        message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
        if message is None:
            continue
        if message["data"] == b"mark":
            return found
        job_id, ended = read_message(message["data"])
        found.append((job_id, ended.state, ended.line))


# -- waiters -------------------------------------------------------------------------------


async def test_a_wait_for_an_ended_job_is_answered_at_once(steps: Steps) -> None:
    await steps.add("a")
    await steps.finish("a", Verb.retry, line=b"first")
    await steps.finish("a", Verb.fail, line=b"last")
    before = await steps.dump()
    assert await steps.watch("a") == (State.failed, b"last")
    assert await steps.watch("nobody") == (None, None)
    assert await steps.changes(before) == {}


async def test_a_wait_for_a_live_job_is_noted_once_an_inbox(steps: Steps) -> None:
    await steps.add("a")
    before = await steps.dump()
    for inbox in ("in:1", "in:11", "in:1"):
        assert await steps.watch("a", inbox) == (State.waiting, None)
    assert await steps.changes(before) == {"waiters": {"a": ["in:1", "in:11"]}}


@pytest.mark.parametrize(
    ("verb", "state"),
    [(Verb.complete, State.completed), (Verb.fail, State.failed), (Verb.cancel, State.cancelled),
     (Verb.expire, State.expired)],
)  # fmt: skip
async def test_every_waiter_is_told_exactly_once(
    steps: Steps, redis_client: Redis, verb: Verb, state: State
) -> None:
    async with redis_client.pubsub() as pubsub:
        await pubsub.subscribe("in", "other")
        await steps.add("a", "b")
        jobs = await steps.claim()
        await steps.watch("a", "in")
        await steps.watch("a", "other")
        acks = [end(job, verb, line=b"line", keep=NOTHING) for job in jobs]
        await steps.ack(*acks)
        await steps.ack(*acks)
        assert await messages(pubsub, steps) == [("a", state, b"line")] * 2
    assert "waiters" not in await steps.dump()


async def test_who_waits_hears_of_the_end_and_not_of_attempts(
    steps: Steps, redis_client: Redis
) -> None:
    async with redis_client.pubsub() as pubsub:
        await pubsub.subscribe("in")
        await steps.add("a")
        await steps.watch("a")
        for verb in (Verb.retry, Verb.snooze, Verb.interrupt, Verb.park):
            await steps.finish("a", verb)
        assert await messages(pubsub, steps) == []
        await steps.cancel("a")
        assert await messages(pubsub, steps) == [("a", State.cancelled, b"stop")]


async def test_poison_and_cancelled_waiting_jobs_are_told_too(
    steps: Steps, redis_client: Redis
) -> None:
    async with redis_client.pubsub() as pubsub:
        await pubsub.subscribe("in")
        await steps.add("poison")
        await steps.claim()
        await steps.add("b")
        for job_id in ("poison", "b"):
            await steps.watch(job_id)
        await steps.rescue("poison", most_losses=1)
        await steps.cancel("b")
        told = [("poison", State.failed, b"lost"), ("b", State.cancelled, b"stop")]
        assert await messages(pubsub, steps) == told
    await steps.assert_sound()


# -- workers -------------------------------------------------------------------------------


async def test_a_worker_is_registered_while_it_beats(steps: Steps) -> None:
    before = await workers.beat(steps.client, steps.keys, "w1", {"pid": 1}, 60_000)
    after = await workers.beat(steps.client, steps.keys, "w2", {"pid": 2}, 60_000)
    found = await workers.workers(steps.client, steps.keys)
    assert [(info.id, info.data) for info in found] == [("w1", {"pid": 1}), ("w2", {"pid": 2})]
    assert [(info.beat_ms, False) for info in found] == [before, after]


async def test_a_heartbeat_tells_of_overdue_jobs(steps: Steps) -> None:
    """Their wake-up was lost with the worker that took it, so nobody knows when they are due."""

    async def overdue() -> bool:
        return (await workers.beat(steps.client, steps.keys, "w", {}, 60_000))[1]

    assert not await overdue()
    await steps.add("later", due_ms=10**14)
    assert not await overdue()
    await untyped(steps.client).zadd(steps.keys.later, {late_name(1, "now"): 1})
    assert await overdue()


async def test_a_silent_worker_is_forgotten_with_its_last_request(steps: Steps) -> None:
    await steps.step("old")
    await steps.step("new")
    await untyped(steps.client).hset(steps.keys.workers, "old", struct.pack(">d", NOW) + b"{}")
    await workers.beat(steps.client, steps.keys, "new", {}, 60_000)
    found = await steps.dump()
    assert list(found["workers"]) == ["new"]
    assert found["claims"] == {"new": 1}


async def test_a_worker_that_leaves_learns_how_many_are_left(steps: Steps) -> None:
    for name in ("a", "b"):
        await steps.step(name)
        await workers.beat(steps.client, steps.keys, name, {}, 60_000)
    await untyped(steps.client).hset(steps.keys.workers, "dead", struct.pack(">d", NOW) + b"{}")
    assert await workers.leave(steps.client, steps.keys, "a", 60_000) == 1
    assert await workers.leave(steps.client, steps.keys, "a", 60_000) == 1
    assert await workers.leave(steps.client, steps.keys, "b", 60_000) == 0
    assert list((await steps.dump())["workers"]) == ["dead"]
    assert "claims" not in await steps.dump()


# -- schedules -----------------------------------------------------------------------------


async def test_an_instant_fires_once_over_all_workers(steps: Steps) -> None:
    assert await steps.tick(NOW)
    assert await steps.dump() == {
        "ready": {f"s:{NOW}": score(3, 1)},
        "body": {f"s:{NOW}": (NOW, b"<s>")},
        "config": {"sequence": 1},
        "ticks": {"s": NOW},
        "stats": {f"{MINUTE}:enqueued": 1},
        "wake": 1,
    }
    before = await steps.dump()
    assert not await steps.tick(NOW)
    assert not await steps.tick(NOW - 60_000), "an earlier instant is over"
    assert await steps.changes(before) == {}
    await steps.finish(f"s:{NOW}")
    assert not await steps.tick(NOW), "also when its job has ended and left the id free"


async def test_an_instant_that_comes_is_delayed_to_it(steps: Steps) -> None:
    assert await steps.tick(NOW + 2_000)
    assert (await steps.dump())["later"] == {f"s:{NOW + 2_000}": NOW + 2_000}


async def test_instants_close_together_can_count_as_one(steps: Steps) -> None:
    """Workers that start within ten seconds of each other are one start."""
    fired = [await steps.tick(NOW + at, apart=10_000) for at in (0, 9_999, 10_000)]
    assert fired == [True, False, True]


async def test_a_job_that_still_runs_under_the_id_is_not_doubled(steps: Steps) -> None:
    assert await steps.tick(NOW, job_id="fixed")
    assert not await steps.tick(NOW + 1_000, job_id="fixed")
    assert (await steps.dump())["ticks"] == {"s": NOW + 1_000}
    await steps.finish("fixed")
    assert await steps.tick(NOW + 2_000, job_id="fixed")
    assert list((await steps.dump())["later"]) == ["fixed"]
    await steps.assert_sound()
