"""Cancel, retry, unpark: seed, call, compare the whole keyspace."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from jobs.keys import control_channel
from jobs.states import State
from jobs.store import control, queue
from jobs.store.queue import Verb
from jobs.store.record import CANCEL_ASKED
from tests.store.steps import BEGUN, MINUTE, NOTHING, NOW, Steps, end, record, score


async def test_an_unknown_job_is_not_found(steps: Steps) -> None:
    assert await steps.cancel("a") is None
    assert await steps.retry("a", "b") == [None, None]
    assert await steps.unpark("a") == 0
    assert await steps.dump() == {}


# -- cancel --------------------------------------------------------------------------------


async def test_a_waiting_job_is_cancelled_at_once(steps: Steps) -> None:
    await steps.add("a", "b")
    before = await steps.dump()
    assert await steps.cancel("a", keep=(60_000, -1, -1)) is State.waiting
    after = await steps.changes(before)
    after.pop("record", None)
    assert after == {
        "ready": {"b": score(3, 2)},
        "cancelled": {"a": NOW},
        "expiry": {"a": NOW + 60_000},
        "result": {"a": [b"stop"]},
        "config": {"sequence": 2, "bytes:cancelled": 6 + 3 + 4},
        "stats": {f"{MINUTE}:enqueued": 2, f"{MINUTE}:cancelled": 1},
    }


@pytest.mark.parametrize("place", [State.delayed, State.parked])
async def test_a_job_that_rests_is_cancelled_at_once(steps: Steps, place: State) -> None:
    await steps.add("a")
    await steps.finish("a", Verb.snooze if place is State.delayed else Verb.park, delay_ms=5_000)
    assert await steps.cancel("a") is place
    found = await steps.dump()
    assert found["cancelled"] == {"a": NOW}
    assert found["result"] == {"a": [b"line", b"stop"]}
    assert not {"later", "parked"} & found.keys()
    await steps.assert_sound()


async def test_a_running_job_is_asked_to_stop(steps: Steps, redis_client: Redis) -> None:
    await steps.add("a")
    await steps.claim()
    before = await steps.dump()
    async with redis_client.pubsub() as pubsub:
        await pubsub.subscribe(control_channel("q"))
        assert (await pubsub.get_message(timeout=5))["type"] == "subscribe"
        assert await steps.cancel("a") is State.active
        assert await steps.cancel("a") is State.active, "asking twice changes nothing"
        message = await pubsub.get_message(timeout=5)
        assert control.read_request(message["data"]) == ("a", b"stop")
    assert await steps.changes(before) == {
        "record": {"a": record(sequence=1.0, flags=CANCEL_ASKED)}
    }


@pytest.mark.parametrize("verb", [Verb.complete, Verb.fail, Verb.cancel, Verb.expire])
async def test_an_ended_job_is_left_alone(steps: Steps, verb: Verb) -> None:
    await steps.add("a")
    await steps.finish("a", verb)
    before = await steps.dump()
    found = await steps.cancel("a")
    assert found is not None
    assert await steps.changes(before) == {}


async def test_a_cancelled_job_that_is_not_kept_is_gone(steps: Steps) -> None:
    await steps.add("a")
    await steps.cancel("a", keep=NOTHING)
    assert set(await steps.dump()) == {"config", "stats", "wake"}
    await steps.assert_sound()


# -- retry ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "state"),
    [(Verb.complete, "completed"), (Verb.fail, "failed"), (Verb.cancel, "cancelled"),
     (Verb.expire, "expired")],
)  # fmt: skip
async def test_an_ended_job_waits_again_with_all_its_attempts(
    steps: Steps, verb: Verb, state: str
) -> None:
    await steps.add("a", priority=9)
    await steps.finish("a", Verb.retry)
    await steps.finish("a", verb, keep=(60_000, -1, -1))
    steps.now += 1_000
    await steps.client.delete(steps.keys.wake)
    before = await steps.dump()
    assert await steps.retry("a", "a") == [State(state), State.waiting]
    assert await steps.changes(before) == {
        state: {},
        "expiry": {},
        "ready": {"a": score(9, 3)},
        "record": {"a": record(9, 2, flags=BEGUN, sequence=3.0, available_ms=NOW + 1_000)},
        "config": {"sequence": 3, "token": 2, f"bytes:{state}": 0},
        "wake": 1,
    }


async def test_a_live_job_is_not_retried(steps: Steps) -> None:
    await steps.add("running")
    await steps.claim()
    await steps.add("waiting")
    await steps.add("delayed", delay_ms=5)
    before = await steps.dump()
    states = [State.active, State.waiting, State.delayed]
    assert await steps.retry("running", "waiting", "delayed") == states
    assert await steps.changes(before) == {}


async def test_a_job_cancelled_before_its_first_claim_keeps_its_priority(steps: Steps) -> None:
    await steps.add("a", priority=1)
    await steps.cancel("a")
    assert await steps.retry("a") == [State.cancelled]
    assert (await steps.dump())["ready"] == {"a": score(1, 2)}
    await steps.assert_sound()


# -- park ----------------------------------------------------------------------------------


async def test_a_parked_job_waits_again_with_its_counters(steps: Steps) -> None:
    await steps.add("a", priority=2)
    await steps.finish("a", Verb.retry)
    await steps.finish("a", Verb.park)
    steps.now += 1_000
    await steps.client.delete(steps.keys.wake)
    before = await steps.dump()
    assert await steps.unpark("a", "a", "nobody") == 1
    fresh = record(2, 2, failures=1, flags=BEGUN, sequence=3.0, available_ms=NOW + 1_000)
    assert await steps.changes(before) == {
        "parked": {},
        "ready": {"a": score(2, 3)},
        "record": {"a": fresh},
        "config": {"sequence": 3, "token": 2},
        "wake": 1,
    }


async def test_parked_jobs_are_paged_with_their_raw_bytes(steps: Steps) -> None:
    ids = [f"{n:03}" for n in range(130)]
    for at in range(0, 130, 65):
        await steps.add(*ids[at : at + 65])
    for _ in range(2):
        from_here = await steps.claim()
        await steps.ack(*[end(job, Verb.park) for job in from_here])
        steps.now += 1
    first = await queue.parked_page(steps.client, steps.keys, 0)
    rest = await queue.parked_page(steps.client, steps.keys, len(first))
    assert first + rest == [(job_id, f"<{job_id}>".encode()) for job_id in ids]
    assert await queue.parked_page(steps.client, steps.keys, 130) == []
