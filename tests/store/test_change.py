"""Editing jobs that wait: seed, call, compare the whole keyspace."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.states import State
from jobs.store.queue import Entry, Flow, Verb
from jobs.store.record import SPAN, flow_of, unpack_record
from tests.helpers.keyspace import untyped
from tests.store.steps import BEGUN, NOW, Steps, end, record, score

AGEING = 60_000


async def change(steps: Steps, job_id: str, **changes: Any) -> tuple[State | None, bool]:
    """The answer as a plain pair; every change leaves the queue sound."""
    answer = tuple(await steps.change(job_id, **changes))
    await steps.assert_sound()
    return answer  # type: ignore[return-value]  # the two fields of `Changed`


async def names(steps: Steps, want: int = 100) -> list[str]:
    """What a worker gets, in its order."""
    return [job.id for job in await steps.claim(want)]


async def test_an_unknown_job_is_not_changed(steps: Steps) -> None:
    assert await change(steps, "a", priority=1) == (None, False)
    assert await steps.dump() == {}


async def test_a_job_that_runs_or_has_ended_is_left_alone(steps: Steps) -> None:
    await steps.add("runs", "ended")
    _, ended = await steps.claim()
    await steps.ack(end(ended))
    before = await steps.dump()
    assert await change(steps, "runs", priority=1, body=b"x", delay_ms=1) == (State.active, False)
    assert await change(steps, "ended", priority=1, due_ms=0) == (State.completed, False)
    assert await steps.changes(before) == {}


async def test_a_body_is_replaced_behind_the_time_of_its_enqueue(steps: Steps) -> None:
    await steps.add("a", "b")
    steps.now += 500
    before = await steps.dump()
    assert await change(steps, "a", body=b"another") == (State.waiting, True)
    after = await steps.changes(before)
    assert after["body"] == {"a": (NOW, b"another"), "b": (NOW, b"<b>")}
    assert after.keys() == {"body", "record"}
    assert after["record"] == {"a": record(token=0, sequence=1.0)}
    (claimed, _) = await steps.claim()
    assert (claimed.id, claimed.body, claimed.enqueued_ms) == ("a", b"another", NOW)


async def test_the_size_of_an_edited_body_is_counted_anew(steps: Steps) -> None:
    await steps.add("a")
    (claimed,) = await steps.claim()
    await steps.ack(end(claimed, Verb.release))
    await change(steps, "a", body=b"much longer than before")
    await steps.cancel("a")
    await steps.assert_sound()


async def test_another_priority_keeps_the_place_among_equals(steps: Steps) -> None:
    await steps.add("a", "b", priority=5)
    await steps.add("c", priority=1)
    await steps.add("d", priority=5)
    assert await change(steps, "d", priority=1) == (State.waiting, True)
    assert await change(steps, "b", priority=1) == (State.waiting, True)
    assert (await steps.dump())["ready"] == {
        "a": score(5, 1), "b": score(1, 2), "c": score(1, 3), "d": score(1, 4),
    }  # fmt: skip
    assert await names(steps) == ["b", "c", "d", "a"]


async def test_a_waiting_job_is_put_off(steps: Steps) -> None:
    await steps.add("a", "b")
    await steps.client.delete(steps.keys.wake)
    before = await steps.dump()
    assert await change(steps, "a", delay_ms=700) == (State.waiting, True)
    after = await steps.changes(before)
    assert after == {
        "ready": {"b": score(3, 2)},
        "later": {"a": NOW + 700},
        "record": {"a": record(token=0, sequence=1.0, available_ms=float(NOW + 700))},
        "wake": 1,
    }
    assert await names(steps) == ["b"]
    steps.now += 700
    assert await names(steps) == ["a"]


async def test_a_delayed_job_gets_another_time(steps: Steps) -> None:
    await steps.add("a", "b", delay_ms=500)
    await steps.client.delete(steps.keys.wake)
    assert await change(steps, "b", due_ms=NOW + 900) == (State.delayed, True)
    assert "wake" not in await steps.dump(), "whoever sleeps until the first needs no call"
    assert await change(steps, "b", due_ms=NOW + 100) == (State.delayed, True)
    found = await steps.dump()
    assert found["later"] == {"a": NOW + 500, "b": NOW + 100}
    assert found["record"]["b"] == record(token=0, sequence=2.0, available_ms=float(NOW + 100))
    assert found["wake"] == 1


@pytest.mark.parametrize("due", [{"due_ms": 0}, {"due_ms": NOW - 5}, {"delay_ms": 0}])
async def test_a_delayed_job_waits_now(steps: Steps, due: dict[str, int]) -> None:
    await steps.add("a", delay_ms=500)
    await steps.add("b", priority=9)
    await steps.client.delete(steps.keys.wake)
    assert await change(steps, "a", priority=9, **due) == (State.delayed, True)
    found = await steps.dump()
    assert found["ready"] == {"b": score(9, 2), "a": score(9, 3)}
    assert found["record"] == {"a": record(9, 0, sequence=3.0)}
    assert found["wake"] == 1
    assert "later" not in found


async def test_what_is_to_wait_now_and_waits_keeps_its_place(steps: Steps) -> None:
    await steps.add("a", "b")
    assert await change(steps, "a", due_ms=0) == (State.waiting, True)
    assert await names(steps) == ["a", "b"]


async def test_a_delayed_job_is_edited_where_it_is(steps: Steps) -> None:
    await steps.add("a", delay_ms=500)
    assert await change(steps, "a", priority=1, body=b"new") == (State.delayed, True)
    found = await steps.dump()
    assert found["later"] == {"a": NOW + 500}
    assert found["record"] == {"a": record(1, 0, sequence=1.0, available_ms=float(NOW + 500))}
    assert found["body"] == {"a": (NOW, b"new")}


async def test_attempts_and_history_stay(steps: Steps) -> None:
    await steps.add("a")
    await steps.finish("a", Verb.retry, delay_ms=100)
    await change(steps, "a", body=b"mended", due_ms=0)
    found = await steps.dump()
    assert found["record"]["a"] == record(failures=1, flags=BEGUN, sequence=2.0)
    assert found["result"] == {"a": [b"line"]}


async def test_a_parked_job_is_mended_and_stays_parked(steps: Steps) -> None:
    await steps.add("a")
    await steps.finish("a", Verb.park)
    assert await change(steps, "a", body=b"readable", priority=2) == (State.parked, True)
    found = await steps.dump()
    assert found["parked"] == {"a": NOW}
    assert found["record"]["a"] == record(2, flags=BEGUN, sequence=1.0)
    before = await steps.dump()
    assert await change(steps, "a", delay_ms=5, body=b"no") == (State.parked, False)
    assert await steps.changes(before) == {}
    assert await steps.unpark("a") == 1
    assert await names(steps) == ["a"]


async def test_it_is_not_put_off_for_longer_than_the_longest_delay(steps: Steps) -> None:
    await steps.add("a", delay_ms=100)
    for _ in range(4):
        steps.now += 90
        await change(steps, "a", delay_ms=100, most_ms=250)
    found = await steps.dump()
    assert found["ready"] == {"a": score(3, 2)}, "250 ms after its enqueue it waits no longer"
    steps.now += 1
    before = await steps.dump()
    await change(steps, "a", delay_ms=100, most_ms=250)
    assert await steps.changes(before) == {}, "and keeps its place"


# -- unique keys and groups ----------------------------------------------------------------


async def test_only_the_holder_of_the_unique_key_is_changed(steps: Steps) -> None:
    await steps.put([Entry("a", b"A", 3, flow=Flow(unique="u"))])
    assert await change(steps, "a", own="u", body=b"A2") == (State.waiting, True)
    before = await steps.dump()
    assert await change(steps, "a", own="other", body=b"A3") == (State.waiting, False)
    assert await steps.changes(before) == {}
    assert before["body"] == {"a": (NOW, b"A2")}


async def test_a_job_of_a_group_moves_with_its_tail(steps: Steps) -> None:
    flow = Flow(group="g", key="k", unique="u")
    await steps.put([Entry(i, b"x", 3, flow=flow._replace(unique=i)) for i in "abc"])
    await steps.change("c", priority=1, body=b"y")
    packed = await untyped(steps.client).hget(steps.keys.record, "c")
    assert flow_of(packed)[:3] == ("g", "k", "c")
    assert await steps.client.zcard(steps.keys.grouped) == 3
    assert await steps.client.zscore(steps.keys.turns, "g") == score(1, 3)
    await steps.change("c", delay_ms=100)
    assert await steps.client.zcard(steps.keys.grouped) == 2
    await steps.change("a", delay_ms=100)
    await steps.change("b", delay_ms=100)
    assert not await steps.client.exists(steps.keys.grouped, steps.keys.turns)
    await steps.change("b", due_ms=0)
    assert await steps.client.zcard(steps.keys.grouped) == 1
    assert await steps.client.zcard(steps.keys.turns) == 1
    steps.now += 100
    assert sorted(await names(steps)) == ["a", "b", "c"]


# -- ageing --------------------------------------------------------------------------------


async def place(steps: Steps, job_id: str) -> float:
    """The place in line of a waiting job."""
    found = await steps.client.zscore(steps.keys.ready, job_id)
    assert found is not None
    return float(found)


async def test_in_an_ageing_queue_a_priority_is_worth_its_time(steps: Steps) -> None:
    await untyped(steps.client).hset(steps.keys.config, "ageing", AGEING)
    await steps.put([Entry("a", b"a", 5), Entry("b", b"b", 5)])
    steps.now += 1_000
    await steps.change("b", priority=4)
    assert NOW + 3 * AGEING <= await place(steps, "b") < NOW + 3 * AGEING + 1
    await steps.change("a", delay_ms=10)
    packed = await untyped(steps.client).hget(steps.keys.record, "a")
    assert unpack_record(packed).flags == 0, "a delayed job stands in no line"
    await steps.change("a", due_ms=0)
    assert NOW + 1_000 + 4 * AGEING <= await place(steps, "a") < NOW + 1_001 + 4 * AGEING
    assert await names(steps) == ["b", "a"]


async def test_a_priority_counts_again_when_the_ageing_is_over(steps: Steps) -> None:
    await untyped(steps.client).hset(steps.keys.config, "ageing", AGEING)
    await steps.add("a", priority=5)
    await untyped(steps.client).hdel(steps.keys.config, "ageing")
    await change(steps, "a", priority=2)
    assert await place(steps, "a") == 2 * SPAN + 2
