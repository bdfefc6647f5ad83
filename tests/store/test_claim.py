"""Claims, and acks of every kind: seed, call, compare the whole keyspace."""

from __future__ import annotations

import pytest

from jobs.store.queue import Ack, Verb
from jobs.store.record import SPAN
from tests.helpers.keyspace import untyped
from tests.store.steps import BEGUN, LEASE, MINUTE, NOTHING, NOW, Steps, end, record, score

CLAIMED = {f"{MINUTE}:claimed": 1, f"{MINUTE}:wait:0": 1, f"{MINUTE}:wait_ms": 0}
RAN = {f"{MINUTE}:run:6": 1, f"{MINUTE}:run_ms": 7}
SEEDED = {f"{MINUTE}:enqueued": 1, **CLAIMED}


async def claimed(steps: Steps, priority: int = 3) -> Ack:
    """One job `a` in the hands of worker `w`, and the ack that completes it."""
    await steps.add("a", priority=priority)
    (job,) = await steps.claim()
    return end(job)


async def test_a_claim_leases_the_job_and_writes_its_record(steps: Steps) -> None:
    await steps.add("a", "b")
    before = await steps.dump()
    answer = await steps.step(want=1)
    (job,) = answer.jobs
    assert (job.id, job.body, job.enqueued_ms) == ("a", b"<a>", NOW)
    assert job.record == record(sequence=1.0, size=6 + len(b"<a>"))
    assert (answer.now_ms, answer.waiting, answer.next_due_ms) == (NOW, 1, -1)
    assert await steps.changes(before) == {
        "ready": {"b": score(3, 2)},
        "leases": {"a": NOW + LEASE},
        "record": {"a": record(sequence=1.0)},
        "config": {"sequence": 2, "token": 1},
        "claims": {"w": 1},
        "stats": {f"{MINUTE}:enqueued": 2, **CLAIMED},
    }


async def test_what_a_claim_leaves_behind_wakes_the_next_worker(steps: Steps) -> None:
    await steps.add("a", "b")
    for want, wakes in [(1, 1), (1, 0)]:
        await steps.client.delete(steps.keys.wake)
        await steps.claim(want)
        assert (await steps.dump()).get("wake", 0) == wakes


async def test_a_busy_worker_passes_the_wake_up_on(steps: Steps) -> None:
    await steps.add("a")
    await steps.client.delete(steps.keys.wake)
    await steps.step(want=0)
    assert (await steps.dump())["wake"] == 1


async def test_nothing_to_claim_writes_only_the_request(steps: Steps) -> None:
    answer = await steps.step(want=5)
    assert (answer.jobs, answer.waiting, answer.next_due_ms, answer.rate_wait_ms) == ([], 0, -1, -1)
    assert await steps.dump() == {"claims": {"w": 1}}


async def test_at_most_a_hundred_are_claimed_at_once(steps: Steps) -> None:
    for at in range(3):
        await steps.add(*(f"{at}{n:02}" for n in range(50)))
    assert len(await steps.claim(500)) == 100
    assert len(await steps.claim(500)) == 50


async def test_a_repeated_request_gets_the_same_answer_and_writes_nothing(steps: Steps) -> None:
    """S08: the reply was lost; the same number again is the same call."""
    await steps.add("a", "b", "c")
    first = await steps.step(want=2)
    before = await steps.dump()
    again = await steps.step(request=1, want=2)
    assert again == first
    assert await steps.changes(before) == {}
    acks = [end(job) for job in first.jobs]
    acks.insert(1, acks[0]._replace(token=99))
    written = await steps.step(want=1, acks=acks)
    assert written.accepted == "101"
    before = await steps.dump()
    assert await steps.step(request=2, want=1, acks=acks) == written
    assert await steps.changes(before) == {}
    await steps.assert_sound()


async def test_a_request_that_was_overtaken_does_nothing(steps: Steps) -> None:
    """A call that hung in the network and arrives after the ones behind it."""
    await steps.add("a", "b")
    (job,) = await steps.claim(1)
    await steps.step()
    before = await steps.dump()
    late = await steps.step(request=1, want=5, acks=[end(job)])
    assert (late.jobs, late.accepted) == ([], "0")
    assert await steps.changes(before) == {}


async def test_another_worker_with_the_same_number_is_another_call(steps: Steps) -> None:
    await steps.add("a", "b")
    assert [j.id for j in await steps.claim(1, worker="x")] == ["a"]
    assert [j.id for j in await steps.claim(1, worker="y")] == ["b"]


async def test_a_repeated_request_does_not_hand_out_what_others_hold_now(steps: Steps) -> None:
    """The reply was lost, the lease ran out, another worker claimed the job: one holder only."""
    await steps.add("a")
    await steps.claim(worker="slow")
    assert await steps.rescue("a") == "waiting"
    (held,) = await steps.claim(worker="quick")
    assert held.record.token == 2
    repeated = await steps.step("slow", request=1, want=100)
    assert repeated.jobs == []


async def test_a_job_claimed_again_has_a_higher_token_and_its_own_place(steps: Steps) -> None:
    ack = await claimed(steps, priority=2)
    await steps.ack(ack._replace(verb=Verb.interrupt))
    await steps.add("b", priority=2)
    jobs = await steps.claim()
    assert [(job.id, job.record.token) for job in jobs] == [("a", 2), ("b", 3)]


# -- acks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [Verb.complete, Verb.cancel, Verb.expire, Verb.fail])
async def test_an_end_is_kept_with_its_line(steps: Steps, verb: Verb) -> None:
    ack = await claimed(steps)
    state = {"c": "completed", "x": "cancelled", "e": "expired", "f": "failed"}[verb.value]
    steps.now += 5_000
    before = await steps.dump()
    assert await steps.ack(ack._replace(verb=verb, keep=(60_000, -1, -1))) == "1"
    failures = int(verb is Verb.fail)
    expected = {
        "leases": {},
        state: {"a": NOW + 5_000},
        "expiry": {"a": NOW + 65_000},
        "result": {"a": [b"line"]},
        "config": {"sequence": 1, "token": 1, f"bytes:{state}": 6 + 3 + 4},
        "stats": SEEDED | RAN | {f"{MINUTE}:{state}": 1},
        "claims": {"w": 2},
    }
    if failures:
        expected["record"] = {"a": record(sequence=1.0, failures=1)}
    assert await steps.changes(before) == expected


async def test_a_job_kept_for_ever_has_no_expiry(steps: Steps) -> None:
    assert await steps.ack(await claimed(steps)) == "1"
    assert "expiry" not in await steps.dump()


async def test_a_job_that_is_not_kept_leaves_only_counters(steps: Steps) -> None:
    assert await steps.ack((await claimed(steps))._replace(keep=NOTHING)) == "1"
    assert await steps.dump() == {
        "config": {"sequence": 1, "token": 1},
        "stats": SEEDED | RAN | {f"{MINUTE}:completed": 1},
        "claims": {"w": 2},
        "wake": 1,
    }


async def test_an_attempt_that_never_ran_has_no_running_time(steps: Steps) -> None:
    await steps.ack((await claimed(steps))._replace(verb=Verb.park, run_ms=-1))
    assert not [name for name in await steps.stats() if name.startswith("run")]


@pytest.mark.parametrize("verb", [Verb.retry, Verb.snooze])
async def test_a_job_that_runs_again_waits_in_later(steps: Steps, verb: Verb) -> None:
    """A retry uses an attempt, a snooze does not."""
    ack = await claimed(steps)
    before = await steps.dump()
    assert await steps.ack(ack._replace(verb=verb, delay_ms=9_000)) == "1"
    word = "retried" if verb is Verb.retry else "snoozed"
    assert await steps.changes(before) == {
        "leases": {},
        "later": {"a": NOW + 9_000},
        "record": {
            "a": record(
                sequence=1.0,
                failures=verb is Verb.retry,
                interruptions=verb is Verb.snooze,
                flags=BEGUN,
                available_ms=NOW + 9_000,
            )
        },
        "result": {"a": [b"line"]},
        "stats": SEEDED | RAN | {f"{MINUTE}:{word}": 1},
        "claims": {"w": 2},
    }


async def test_an_interrupted_job_is_first_in_its_line_again(steps: Steps) -> None:
    ack = await claimed(steps)
    await steps.add("b")
    before = await steps.dump()
    assert await steps.ack(ack._replace(verb=Verb.interrupt)) == "1"
    after = await steps.changes(before)
    assert after["ready"] == {"a": score(3, 1), "b": score(3, 2)}
    assert after["record"] == {"a": record(sequence=1.0, interruptions=1, flags=BEGUN)}
    assert (await steps.stats())["interrupted"] == 1


async def test_a_released_job_is_in_its_place_as_if_it_had_not_been_claimed(steps: Steps) -> None:
    ack = await claimed(steps)
    await steps.add("b")
    before = await steps.dump()
    assert await steps.ack(ack._replace(verb=Verb.release, run_ms=-1, line=b"")) == "1"
    assert await steps.changes(before) == {
        "leases": {},
        "ready": {"a": score(3, 1), "b": score(3, 2)},
        "claims": {"w": 2},
    }
    assert [job.id for job in await steps.claim(worker="v")] == ["a", "b"]
    assert await steps.ack(ack) == "0", "the token of the first claim proves nothing any more"


async def test_a_parked_job_keeps_its_bytes(steps: Steps) -> None:
    ack = await claimed(steps)
    before = await steps.dump()
    assert await steps.ack(ack._replace(verb=Verb.park)) == "1"
    assert await steps.changes(before) == {
        "leases": {},
        "parked": {"a": NOW},
        "record": {"a": record(sequence=1.0, flags=BEGUN)},
        "result": {"a": [b"line"]},
        "stats": SEEDED | RAN | {f"{MINUTE}:parked": 1},
        "claims": {"w": 2},
    }


@pytest.mark.parametrize("verb", list(Verb))
async def test_a_stale_token_writes_nothing(steps: Steps, verb: Verb) -> None:
    ack = await claimed(steps)
    await steps.rescue("a")
    (current,) = await steps.claim(worker="other")
    before = await steps.dump()
    assert await steps.ack(ack._replace(verb=verb)) == "0"
    assert await steps.changes(before) == {"claims": {"w": 2, "other": 1}}
    assert await steps.ack(end(current), worker="other") == "1"
    await steps.assert_sound()


@pytest.mark.parametrize("verb", list(Verb))
async def test_a_lease_that_is_gone_writes_nothing(steps: Steps, verb: Verb) -> None:
    ack = await claimed(steps)
    await steps.rescue("a")
    before = await steps.dump()
    assert await steps.ack(ack._replace(verb=verb)) == "0"
    assert await steps.changes(before) == {"claims": {"w": 2}}


async def test_a_second_ack_of_one_attempt_is_refused(steps: Steps) -> None:
    ack = await claimed(steps)
    assert await steps.ack(ack) == "1"
    before = await steps.dump()
    assert await steps.ack(ack) == "0"
    assert await steps.ack(ack._replace(verb=Verb.fail)) == "0"
    assert await steps.changes(before) == {"claims": {"w": 4}}


async def test_two_acks_of_one_attempt_in_one_call_count_once(steps: Steps) -> None:
    ack = await claimed(steps)
    assert await steps.ack(ack, ack._replace(verb=Verb.fail)) == "10"
    assert (await steps.stats())["completed"] == 1
    await steps.assert_sound()


async def test_an_ack_of_an_unknown_job_is_refused(steps: Steps) -> None:
    ack = await claimed(steps)
    assert await steps.ack(ack._replace(id="nobody"), ack) == "01"


async def test_the_token_of_an_earlier_job_of_the_same_id_is_stale(steps: Steps) -> None:
    """Ids come back; a worker that held the old job must not end the new one."""
    old = await claimed(steps)
    await steps.rescue("a")
    await steps.finish("a")
    await steps.add("a")
    await steps.claim(worker="other")
    assert await steps.ack(old) == "0"


async def test_acks_are_written_before_claims(steps: Steps) -> None:
    """One round trip ends an attempt and starts the next one, also of the same job."""
    ack = await claimed(steps)
    answer = await steps.step(want=1, acks=[ack._replace(verb=Verb.retry)])
    assert [(job.id, job.record.token, job.record.failures) for job in answer.jobs] == [("a", 2, 1)]


async def test_numbers_stay_exact_up_to_their_limits(steps: Steps) -> None:
    """Sequences up to 2**42, priorities up to 1000: the score stays below 2**53."""
    await untyped(steps.client).hset(steps.keys.config, "sequence", SPAN - 3)
    await steps.add("a", "b", priority=1000)
    assert list((await steps.dump())["ready"].values()) == [
        score(1000, SPAN - 2),
        score(1000, SPAN - 1),
    ]
    assert score(1000, SPAN - 1) < 2**53
    jobs = await steps.claim()
    assert [job.record.sequence for job in jobs] == [SPAN - 2, SPAN - 1]
    assert {job.record.priority for job in jobs} == {1000}
    (first, second) = jobs
    await steps.ack(end(first, Verb.snooze, delay_ms=2**53 - 1 - NOW), end(second, Verb.interrupt))
    found = await steps.dump()
    assert found["later"] == {"a": 2**53 - 1}
    assert found["ready"] == {"b": score(1000, SPAN - 1)}
