"""Cancel, retry, unpark: seed, call, compare the whole keyspace."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from jobs.keys import control_channel
from jobs.states import State
from jobs.store import control, limits, queue
from jobs.store.queue import Entry, Flow, Verb
from jobs.store.record import CANCEL_ASKED
from tests.helpers.keyspace import untyped
from tests.store.steps import BEGUN, FOREVER, MINUTE, NOTHING, NOW, Steps, end, record, score


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


async def test_many_are_cancelled_in_one_call(steps: Steps) -> None:
    await steps.add("r", "w", "v", "e")
    running, *others = await steps.claim()
    for job in others[:-1]:
        await steps.ack(end(job, Verb.release))
    await steps.ack(end(others[-1]))
    ids = ["r", "w", "e", "n", "v", "w"]
    found = await control.cancel_many(
        steps.client, steps.keys, ids, channel="c", keep=FOREVER, line=b"stop", now_ms=steps.now
    )
    assert running.id == "r"
    assert found == [State.active, State.waiting, State.completed, None, State.waiting,
                     State.waiting]  # fmt: skip
    after = await steps.dump()
    assert after["cancelled"] == {"w": NOW, "v": NOW}
    assert after["record"]["r"].cancel_asked
    assert after["stats"][f"{MINUTE}:cancelled"] == 2
    await steps.assert_sound()


async def test_a_cancelled_job_lets_the_next_of_its_key_run(steps: Steps) -> None:
    """It held the order of its key while it waited for another attempt; somebody is woken."""
    flow = Flow(group="k", key="k")
    await limits.write_rules(steps.client, steps.keys, {"k": "o"}, now_ms=steps.now)
    await steps.put([Entry(i, b"x", 3, flow=flow) for i in "ab"])
    (first,) = await steps.claim()
    await steps.ack(end(first, Verb.retry, delay_ms=60_000))
    assert await steps.claim() == []
    await steps.client.delete(steps.keys.wake)
    await steps.cancel("a")
    assert (await steps.dump())["wake"] == 1
    assert [job.id for job in await steps.claim()] == ["b"]
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
        "body": {"a": (NOW + 1_000, b"<a>")},
        "record": {"a": record(9, 2, flags=BEGUN, sequence=3.0, available_ms=NOW + 1_000)},
        "config": {"sequence": 3, "token": 2, f"bytes:{state}": 0},
        "wake": 1,
    }


async def test_a_job_goes_on_where_it_stopped(steps: Steps) -> None:
    """`reset=False`: it has used its attempts, so it gets one; its time goes on."""
    await steps.add("a")
    await steps.finish("a", Verb.retry)
    await steps.finish("a", Verb.fail)
    steps.now += 1_000
    found = await control.retry(steps.client, steps.keys, {"a": b""}, reset=False, now_ms=steps.now)
    assert found == [State.failed]
    after = await steps.dump()
    fresh = record(3, 2, failures=2, flags=BEGUN, sequence=3.0, available_ms=NOW + 1_000)
    assert after["record"] == {"a": fresh}
    assert after["body"] == {"a": (NOW, b"<a>")}
    await steps.assert_sound()


async def test_a_job_is_retried_with_another_body(steps: Steps) -> None:
    await steps.add("a", "b")
    for job in await steps.claim():
        await steps.ack(end(job, Verb.fail))
    bodies = {"a": b"another, longer one", "b": b"", "c": b"x"}
    found = await control.retry(steps.client, steps.keys, bodies, now_ms=steps.now)
    assert found == [State.failed, State.failed, None]
    after = await steps.dump()
    assert after["body"] == {"a": (NOW, b"another, longer one"), "b": (NOW, b"<b>")}
    assert after["config"]["bytes:failed"] == 0
    await steps.assert_sound()


async def test_a_retried_job_of_an_ageing_queue_stands_by_its_time(steps: Steps) -> None:
    await untyped(steps.client).hset(steps.keys.config, "ageing", 1_000)
    await steps.add("a", priority=5)
    await steps.finish("a", Verb.fail)
    await steps.add("b", priority=9)
    await steps.retry("a")
    assert [job.id for job in await steps.claim()] == ["a", "b"]


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
