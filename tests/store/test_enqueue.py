"""Enqueue and staging: seed, call, compare the whole keyspace."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from jobs.durations import MAX_MS
from jobs.store.queue import Entry
from jobs.store.show import size
from tests.helpers.keyspace import untyped
from tests.helpers.servers import MakeServer
from tests.store.steps import MINUTE, NOW, Steps, record, score


async def test_a_job_available_now_has_a_body_and_a_place_in_line(steps: Steps) -> None:
    assert await steps.add("a") == "+"
    assert await steps.dump() == {
        "ready": {"a": score(3, 1)},
        "body": {"a": (NOW, b"<a>")},
        "config": {"sequence": 1},
        "stats": {f"{MINUTE}:enqueued": 1},
        "wake": 1,
    }


async def test_a_delayed_job_has_a_record_and_is_due_by_the_servers_clock(steps: Steps) -> None:
    assert await steps.add("a", delay_ms=5_000, priority=7) == "+"
    assert await steps.dump() == {
        "later": {"a": NOW + 5_000},
        "body": {"a": (NOW, b"<a>")},
        "record": {"a": record(7, 0, sequence=1.0, available_ms=NOW + 5_000)},
        "config": {"sequence": 1},
        "stats": {f"{MINUTE}:enqueued": 1},
        "wake": 1,
    }


async def test_only_a_delayed_job_that_becomes_the_next_one_wakes_a_worker(steps: Steps) -> None:
    await steps.add("a", delay_ms=5_000)
    await steps.client.delete(steps.keys.wake)
    await steps.add("b", delay_ms=6_000)
    assert "wake" not in await steps.dump()
    await steps.add("c", delay_ms=4_000)
    assert (await steps.dump())["wake"] == 1


@pytest.mark.parametrize("due", [1, NOW - 1, NOW])
async def test_a_moment_that_is_over_means_now(steps: Steps, due: int) -> None:
    await steps.add("a", due_ms=due)
    assert (await steps.dump())["ready"] == {"a": score(3, 1)}


async def test_the_end_of_time_is_stored_exactly(steps: Steps) -> None:
    """S41: the year 9999; and the last ms before 2**53 arrives unrounded."""
    await steps.add("a", due_ms=MAX_MS)
    await steps.add("b", due_ms=2**53 - 1)
    found = await steps.dump()
    assert found["later"] == {"a": MAX_MS, "b": 2**53 - 1}
    assert found["record"]["b"].available_ms == 2**53 - 1


async def test_the_servers_own_clock_is_used_when_no_test_passes_one(steps: Steps) -> None:
    steps.now = 0
    seconds, micros = await steps.client.time()
    await steps.add("a", delay_ms=10_000)
    again, more = await steps.client.time()
    due = (await steps.dump())["later"]["a"] - 10_000
    assert seconds * 1000 + micros // 1000 <= due <= again * 1000 + more // 1000


async def test_many_jobs_keep_their_order_and_the_wake_list_has_one_element(steps: Steps) -> None:
    ids = [f"{n % 7}-{n}" for n in range(100)]
    assert await steps.add(*ids[:60]) + await steps.add(*ids[60:]) == "+" * 100
    found = await steps.dump()
    assert list(found["ready"]) == ids
    assert found["wake"] == 1
    assert found["stats"] == {f"{MINUTE}:enqueued": 100}


# -- ids -----------------------------------------------------------------------------------


async def test_an_id_that_a_job_holds_makes_no_second_job(steps: Steps) -> None:
    await steps.add("a")
    before = await steps.dump()
    assert await steps.put([Entry("a", b"other", 1)]) == ["="]
    assert await steps.changes(before) == {}


@pytest.mark.parametrize("place", ["later", "leases", "parked"])
async def test_a_live_job_holds_its_id_wherever_it_is(steps: Steps, place: str) -> None:
    await steps.add("a")
    await steps.claim()
    await steps.client.delete(steps.keys.leases)
    await steps.client.zadd(getattr(steps.keys, place), {"a": NOW})
    before = await steps.dump()
    assert await steps.add("a") == "="
    assert await steps.changes(before) == {}


async def test_ids_repeated_in_one_call_make_one_job(steps: Steps) -> None:
    assert await steps.add("a", "b", "a", "a") == "++=="
    assert (await steps.dump())["ready"] == {"a": score(3, 1), "b": score(3, 2)}


async def test_an_ended_job_gives_its_id_back(steps: Steps) -> None:
    await steps.add("a")
    await steps.finish("a")
    steps.now += 60_000
    before = await steps.dump()
    assert await steps.add("a", "a") == "+="
    after = await steps.changes(before)
    assert after.pop("stats") == before["stats"] | {f"{MINUTE + 1}:enqueued": 1}
    assert after == {
        "ready": {"a": score(3, 2)},
        "completed": {},
        "record": {},
        "result": {},
        "body": {"a": (NOW + 60_000, b"<a>")},
        "config": {"sequence": 2, "token": 1, "bytes:completed": 0},
    }


async def test_a_taken_id_stays_taken_after_its_job(steps: Steps) -> None:
    assert await steps.add("a", id_ttl_ms=1_000) == "+"
    assert await steps.add("a") == "="
    await steps.finish("a")
    assert await steps.add("a") == "="
    await steps.client.delete(steps.keys.completed, steps.keys.body)
    assert await steps.add("a") == "-"
    steps.now += 1_000
    assert await steps.add("a") == "+"
    assert (await steps.dump())["taken"] == {"a": NOW + 1_000}
    assert await steps.prune() == 0
    assert "taken" not in await steps.dump()


async def test_the_same_call_repeated_is_its_own_success(steps: Steps) -> None:
    """The answer was lost: rule 15. Another body under the id is a conflict all the same."""
    entries = [Entry("a", b"A", 3), Entry("b", b"B", 3, delay_ms=50), Entry("c", b"C", 3, 0, 0, 9)]
    await steps.put([Entry("d", b"older", 3)])
    first = await steps.put([*entries, Entry("d", b"D", 3)])
    before = await steps.dump()
    again = await steps.put([*entries, Entry("d", b"D", 3)], again=True)
    assert first == again == ["+", "+", "+", "="]
    assert await steps.changes(before) == {}


async def test_an_id_twice_in_a_repeated_call_is_one_success(steps: Steps) -> None:
    """Of two equal bodies only the first was added by the call whose answer was lost."""
    first = await steps.add("a", "a")
    assert first == await steps.add("a", "a", again=True) == "+="


async def test_a_generated_id_takes_the_place_of_no_ended_job(steps: Steps) -> None:
    await steps.add("a")
    await steps.finish("a")
    before = await steps.dump()
    assert await steps.put([Entry("a", b"B", 3, id_ttl_ms=-1)]) == ["="]
    assert await steps.changes(before) == {}
    assert await steps.put([Entry("b", b"B", 3, id_ttl_ms=-1)]) == ["+"]
    assert "taken" not in await steps.dump()


async def test_a_damaged_body_stops_no_queue(steps: Steps) -> None:
    """It is too short for the time of its enqueue, which is then that of the claim."""
    await steps.add("a", "b")
    await untyped(steps.client).hset(steps.keys.body, "a", b"1")
    assert (await size(steps.client, steps.keys, now_ms=steps.now)).oldest_ms == NOW
    jobs = await steps.claim()
    assert [(job.id, job.record.available_ms) for job in jobs] == [("a", NOW), ("b", NOW)]


async def test_a_repeated_call_finds_its_jobs_also_when_they_have_run(steps: Steps) -> None:
    await steps.add("a")
    await steps.finish("a")
    before = await steps.dump()
    assert await steps.add("a", again=True) == "+"
    assert await steps.changes(before) == {}


async def test_a_full_server_refuses_before_anything_is_written(make_server: MakeServer) -> None:
    """Rule 3: enqueue is refused when memory is out, acks are not."""
    server = make_server()
    async with Redis.from_url(server.url) as client:
        steps = Steps(client)
        await steps.add("a", "b")
        (first, second) = await steps.claim()
        before = await steps.dump()
        await client.config_set("maxmemory", "1")
        with pytest.raises(OutOfMemoryError):
            await steps.add("c")
        assert await steps.renew(("a", first.record.token), ("b", second.record.token)) == "11"
        assert await steps.cancel("b") == "active"
        await client.config_set("maxmemory", "0")
        changed = await steps.changes(before)
        assert "c" not in str(changed.get("body"))
        assert await steps.rescue("a") == "waiting"


# -- order ---------------------------------------------------------------------------------

_ENTRIES = st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 3)), min_size=1, max_size=40)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=_ENTRIES)
async def test_the_order_is_exact(steps: Steps, entries: list[tuple[int, int]]) -> None:
    """Priority first, then first in first out: within a call, a millisecond, and across both."""
    await steps.client.flushdb()
    steps.now = NOW
    for n, (priority, wait) in enumerate(entries):
        steps.now += wait
        await steps.add(f"{n:x}", priority=priority)
    expected = sorted(range(len(entries)), key=lambda n: (entries[n][0], n))
    claimed = [job.id for _ in entries for job in await steps.claim(1)]
    assert claimed == [f"{n:x}" for n in expected]


async def test_due_jobs_go_to_the_end_of_their_priority(steps: Steps) -> None:
    await steps.add("soon", delay_ms=10)
    await steps.add("later", delay_ms=20, priority=1)
    await steps.add("a", priority=3)
    steps.now += 10
    before = await steps.dump()
    answer = await steps.step()
    assert (answer.waiting, answer.next_due_ms) == (2, 10)
    after = await steps.changes(before)
    assert after == {
        "ready": {"a": score(3, 3), "soon": score(3, 4)},
        "later": {"later": NOW + 20},
        "record": before["record"] | {"soon": record(3, 0, sequence=4.0, available_ms=NOW + 10)},
        "config": {"sequence": 4},
        "claims": {"w": 1},
    }
    steps.now += 10
    assert [job.id for job in await steps.claim()] == ["later", "a", "soon"]


async def test_staging_takes_a_hundred_at_a_time_and_says_that_there_is_more(steps: Steps) -> None:
    for at in range(0, 250, 50):
        await steps.add(*(f"{n:03}" for n in range(at, at + 50)), delay_ms=10)
    steps.now += 10
    answers = [await steps.step() for _ in range(3)]
    assert [(a.waiting, a.next_due_ms) for a in answers] == [(100, 0), (200, 0), (250, -1)]
    order = [job.id for _ in range(3) for job in await steps.claim()]
    assert order == [f"{n:03}" for n in range(250)]


async def test_jobs_due_in_one_millisecond_run_in_the_order_of_their_enqueue(steps: Steps) -> None:
    """S35: first in, first out by sequence, not by id."""
    ids = [f"{n * 7919 % 1000:03}" for n in range(150)]
    await steps.add(*ids[:100], due_ms=NOW + 10)
    await steps.add(*ids[100:], due_ms=NOW + 10)
    steps.now += 10
    order = [job.id for _ in range(3) for job in await steps.claim()]
    assert order == ids
