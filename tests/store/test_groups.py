"""Groups take turns; what a limit blocks stands aside, holds no slot and hides nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from jobs.keys import queue_keys
from jobs.store import limits
from jobs.store.queue import Entry, Flow, Verb
from tests.store.steps import NOW, Steps, end


def grouped(*ids: str, group: str, key: str | None = None, priority: int = 3) -> list[Entry]:
    """Jobs of one group, whose key is the group's name unless told otherwise."""
    flow = Flow(group, group if key is None else key)
    return [Entry(i, body(i), priority, flow=flow) for i in ids]


def body(job_id: str, function: str = "work") -> bytes:
    """A body as the scripts see it: a kind, a checksum, a function's name, the rest."""
    return b"j0000" + bytes([len(function)]) + function.encode() + job_id.encode()


async def rules(steps: Steps, **scopes: str) -> None:
    named = {scope.replace("_", ":", 1): text for scope, text in scopes.items()}
    await limits.write_rules(steps.client, steps.keys, named, now_ms=steps.now)


async def claimed(steps: Steps, want: int = 100) -> list[str]:
    return [job.id for job in await steps.claim(want)]


async def test_groups_take_turns(steps: Steps) -> None:
    await steps.put(grouped("a1", "a2", "a3", group="a"))
    await steps.put(grouped("b1", group="b"))
    await steps.put(grouped("c1", "c2", group="c"))
    assert await claimed(steps, 2) == ["a1", "b1"]
    assert await claimed(steps, 2) == ["c1", "a2"]
    assert await claimed(steps) == ["c2", "a3"]
    assert await claimed(steps) == []


async def test_a_group_alone_fills_every_slot_at_once(steps: Steps) -> None:
    await steps.put(grouped(*(f"a{n}" for n in range(9)), group="a"))
    assert len(await steps.claim(9)) == 9


async def many_groups(steps: Steps) -> None:
    """Thirty groups of five jobs each, that came one after the other."""
    for group in range(30):
        await steps.put(grouped(*(f"{group:02}-{n}" for n in range(5)), group=f"g{group:02}"))


def by_group(ids: list[str]) -> dict[str, int]:
    return Counter(job_id[:2] for job_id in ids)


async def test_a_claim_of_many_takes_several_jobs_of_a_group(steps: Steps) -> None:
    """Twelve groups give four each, in turns; then it is the others' turn."""
    await many_groups(steps)
    first = await claimed(steps, 48)
    assert by_group(first) == {f"{group:02}": 4 for group in range(12)}
    assert first[:13] == [*(f"{group:02}-0" for group in range(12)), "00-1"]
    assert by_group(await claimed(steps, 48)) == {f"{group:02}": 4 for group in range(12, 24)}
    assert await claimed(steps, 8) == [
        *(f"{group:02}-0" for group in range(24, 30)),
        "00-4",
        "01-4",
    ]


async def test_keys_with_few_places_give_one_job_at_a_turn(steps: Steps) -> None:
    await rules(steps, k="c2")
    await many_groups(steps)
    assert by_group(await claimed(steps, 48)) == {
        f"{group:02}": 2 if group < 18 else 1 for group in range(30)
    }


async def test_a_group_of_many_and_one_job_of_another(steps: Steps) -> None:
    await steps.put(grouped(*(f"a{n:02}" for n in range(60)), group="a"))
    await claimed(steps, 1)
    await steps.put(grouped("b", group="b"))
    assert "b" in await claimed(steps, 2)


async def test_priority_comes_before_turns(steps: Steps) -> None:
    await steps.put(grouped("a1", "a2", group="a"))
    await steps.put(grouped("b1", group="b", priority=1))
    await steps.put([Entry("plain", body("plain"), 2)])
    assert await claimed(steps, 3) == ["b1", "plain", "a1"]


async def test_a_better_job_brings_its_group_forward(steps: Steps) -> None:
    await steps.put(grouped("a1", group="a"))
    await steps.put(grouped("b1", group="b"))
    await steps.put(grouped("b2", group="b", priority=1))
    assert await claimed(steps, 2) == ["b2", "a1"]


async def test_a_key_has_so_many_places(steps: Steps) -> None:
    await rules(steps, k="c2")
    await steps.put(grouped("a1", "a2", "a3", group="a"))
    await steps.put(grouped("b1", group="b"))
    jobs = await steps.claim(10)
    assert sorted(job.id for job in jobs) == ["a1", "a2", "b1"]
    assert await claimed(steps) == []
    answer = await steps.step(acks=[end(jobs[0])], want=10)
    assert [job.id for job in answer.jobs] == ["a3"]


async def test_a_place_is_free_again_however_the_attempt_ends(steps: Steps) -> None:
    await rules(steps, k="c1")
    for verb in (Verb.complete, Verb.fail, Verb.cancel, Verb.expire, Verb.retry, Verb.snooze,
                 Verb.park):  # fmt: skip
        await steps.put(grouped(f"{verb}1", f"{verb}2", group=f"g{verb}"))
        (first,) = await steps.claim(10)
        assert first.id == f"{verb}1"
        await steps.ack(end(first, verb, delay_ms=99_000))
        (second,) = await steps.claim(10)
        assert second.id == f"{verb}2"
        await steps.ack(end(second))


async def test_an_interrupted_job_is_first_again(steps: Steps) -> None:
    await rules(steps, k="c1")
    await steps.put(grouped("a1", "a2", group="a"))
    for verb in (Verb.interrupt, Verb.release):
        (first,) = await steps.claim(10)
        await steps.ack(end(first, verb))
        assert first.id == "a1"
    assert await claimed(steps) == ["a1"]


async def test_a_lost_job_gives_up_its_place(steps: Steps) -> None:
    await rules(steps, k="c1")
    await steps.put(grouped("a1", "a2", group="a"))
    assert await claimed(steps) == ["a1"]
    assert await steps.rescue("a1") == "waiting"
    assert await claimed(steps) == ["a1"]
    assert await steps.rescue("a1", most_losses=1) == "failed"
    assert await claimed(steps) == ["a2"]


async def test_a_function_has_so_many_places_and_hides_nobody(steps: Steps) -> None:
    await rules(steps, f_slow="c1")
    await steps.put([Entry(f"s{n}", body(f"s{n}", "slow"), 3) for n in range(5)])
    await steps.put([Entry("q", body("q", "quick"), 3)])
    jobs = await steps.claim(3)
    assert [job.id for job in jobs] == ["s0", "q"]
    answer = await steps.step(acks=[end(jobs[0])], want=3)
    assert [job.id for job in answer.jobs] == ["s1"]


async def test_jobs_put_aside_keep_their_order_and_priority(steps: Steps) -> None:
    await rules(steps, f_slow="c1")
    await steps.put([Entry(f"s{n}", body(f"s{n}", "slow"), 3) for n in range(4)])
    (job,) = await steps.claim(10)
    await steps.put([Entry("first", body("first", "slow"), 1)])
    assert await claimed(steps) == []
    order = []
    for _ in range(4):
        answer = await steps.step(acks=[end(job)], want=10)
        (job,) = answer.jobs
        order.append(job.id)
    assert order == ["first", "s1", "s2", "s3"]


async def test_a_rate_of_a_key_delays_and_never_drops(steps: Steps) -> None:
    await rules(steps, k="r2/1000")
    await steps.put(grouped(*(f"a{n}" for n in range(5)), group="a"))
    await steps.put(grouped("b0", group="b"))
    first = await steps.step(want=10)
    assert sorted(job.id for job in first.jobs) == ["a0", "a1", "b0"]
    assert (first.next_due_ms, first.waiting) == (1000, 0)
    steps.now = NOW + 999
    assert await claimed(steps) == []
    steps.now = NOW + 1000
    assert await claimed(steps) == ["a2", "a3"]
    steps.now = NOW + 2000
    assert await claimed(steps) == ["a4"]


async def test_a_rate_of_a_function(steps: Steps) -> None:
    await rules(steps, f_push="r3/1000")
    await steps.put([Entry(f"p{n}", body(f"p{n}", "push"), 3) for n in range(7)])
    starts = []
    for _ in range(3):
        starts.append(len(await steps.claim(100)))
        steps.now += 1000
    assert starts == [3, 3, 1]


async def test_several_limits_at_once(steps: Steps) -> None:
    await rules(steps, q="c4", k="c3", f_work="r2/1000")
    await steps.put(grouped("a1", "a2", "a3", "a4", group="a"))
    await steps.put(grouped("b1", "b2", group="b"))
    assert sorted(await claimed(steps)) == ["a1", "b1"]
    steps.now = NOW + 1000
    assert sorted(await claimed(steps)) == ["a2", "b2"]
    steps.now = NOW + 2000
    answer = await steps.step(want=10)
    assert (answer.jobs, answer.waiting) == ([], 0)


async def test_the_queue_has_so_many_places(steps: Steps) -> None:
    await rules(steps, q="c2")
    await steps.add("a", "b", "c")
    jobs = await steps.claim(10)
    answer = await steps.step(want=10)
    assert ([job.id for job in jobs], answer.waiting, answer.jobs) == (["a", "b"], 0, [])
    answer = await steps.step(acks=[end(jobs[0])], want=10)
    assert [job.id for job in answer.jobs] == ["c"]


async def test_a_rate_of_the_queue_says_when_it_opens(steps: Steps) -> None:
    await rules(steps, q="r2/1000")
    await steps.add("a", "b", "c")
    assert await claimed(steps) == ["a", "b"]
    steps.now = NOW + 400
    assert (await steps.step(want=10)).rate_wait_ms == 600
    steps.now = NOW + 1000
    assert await claimed(steps) == ["c"]


async def test_an_ordered_key_waits_for_the_next_attempt(steps: Steps) -> None:
    await rules(steps, k="o")
    await steps.put(grouped("a1", "a2", group="a"))
    await steps.put(grouped("b1", group="b"))
    jobs = await steps.claim(10)
    assert [job.id for job in jobs] == ["a1", "b1"]
    await steps.ack(end(jobs[0], Verb.retry, delay_ms=5000))
    assert await claimed(steps) == []
    steps.now = NOW + 5000
    (again,) = await steps.claim(10)
    assert again.id == "a1"
    answer = await steps.step(acks=[end(again)], want=10)
    assert [job.id for job in answer.jobs] == ["a2"]


async def test_cancelling_the_one_that_holds_the_order_lets_the_next_run(steps: Steps) -> None:
    await rules(steps, k="o")
    await steps.put(grouped("a1", "a2", group="a"))
    (first,) = await steps.claim(10)
    await steps.ack(end(first, Verb.retry, delay_ms=5000))
    await steps.cancel("a1")
    assert await claimed(steps) == ["a2"]


async def test_a_delayed_job_joins_its_group_when_it_is_due(steps: Steps) -> None:
    entries = [entry._replace(delay_ms=1000) for entry in grouped("a1", "a2", group="a")]
    await steps.put(entries)
    await steps.put(grouped("b1", "b2", group="b"))
    assert await claimed(steps, 1) == ["b1"]
    steps.now = NOW + 1000
    assert await claimed(steps, 2) == ["b2", "a1"]


async def test_other_rules_open_what_the_old_ones_shut(steps: Steps) -> None:
    await rules(steps, k="c1")
    await steps.put(grouped("a1", "a2", "a3", group="a"))
    assert await claimed(steps) == ["a1"]
    assert await claimed(steps) == []
    await rules(steps, k="c2")
    assert await claimed(steps) == ["a2"]
    await rules(steps, k="")
    assert await claimed(steps) == ["a3"]


async def test_cancelled_jobs_leave_no_turn_behind(steps: Steps) -> None:
    await steps.put(grouped("a1", "a2", group="a"))
    for job_id in ("a1", "a2"):
        await steps.cancel(job_id)
    assert await steps.client.zcard(steps.keys.turns) == 0
    assert (await steps.step(want=1)).waiting == 0


async def test_a_waiting_job_of_a_group_is_found(steps: Steps) -> None:
    await steps.put(grouped("a1", "a2", group="a"))
    assert await steps.cancel("a2") == "waiting"
    assert await claimed(steps) == ["a1"]


async def test_a_repeated_request_gets_its_jobs_of_groups_again(steps: Steps) -> None:
    await rules(steps, k="c1")
    await steps.put(grouped("a1", "a2", group="a"))
    (first,) = await steps.claim(5)
    again = await steps.step(want=5, request=1)
    assert again.jobs == [first]


async def test_a_limit_is_shared_by_queues(steps: Steps) -> None:
    one, two = (queue_keys(name, shared=True) for name in ("one", "two"))
    first, second = replace(steps, keys=one, _requests={}), replace(steps, keys=two, _requests={})
    for queue in (first, second):
        await rules(queue, q="r3/1000@provider")
        await queue.add(*"abcd")
    assert len(await first.claim(2)) == 2
    assert len(await second.claim(2)) == 1
    assert (await first.step(want=2)).rate_wait_ms == 1000
    first.now = second.now = NOW + 1000
    assert len(await second.claim(10)) == 3


async def test_places_are_shared_by_queues(steps: Steps) -> None:
    one, two = (queue_keys(name, shared=True) for name in ("one", "two"))
    first, second = replace(steps, keys=one, _requests={}), replace(steps, keys=two, _requests={})
    for queue in (first, second):
        await rules(queue, f_work="c1@provider")
        await queue.put([Entry(i, body(i), 3) for i in "ab"])
    (job,) = await first.claim(2)
    answer = await second.step(want=2)
    assert (answer.jobs, answer.next_due_ms) == ([], 250)
    await first.ack(end(job))
    second.now = NOW + 250
    assert [job.id for job in await second.claim(2)] == ["a"]


async def test_a_closed_queue_gives_out_nothing_until_then(steps: Steps) -> None:
    await steps.add("a", "b")
    (first,) = await steps.claim(1)
    await steps.ack(end(first, Verb.limited, delay_ms=700))
    answer = await steps.step(want=5)
    assert (answer.jobs, answer.rate_wait_ms) == ([], 700)
    steps.now = NOW + 700
    jobs = await steps.claim(5)
    assert [(job.id, job.record.failures) for job in jobs] == [("a", 0), ("b", 0)]


async def test_ageing_lets_an_old_job_overtake(steps: Steps) -> None:
    await limits.write_rules(steps.client, steps.keys, {}, ageing_ms=1000, now_ms=NOW)
    await steps.put([Entry("old", b"<old>", 10)])
    steps.now = NOW + 8_000
    await steps.put([Entry("young", b"<young>", 1), Entry("mid", b"<mid>", 1)])
    steps.now = NOW + 10_000
    await steps.put([Entry("late", b"<late>", 1)])
    assert await claimed(steps) == ["young", "mid", "old", "late"]


async def test_places_for_any_code(steps: Steps) -> None:
    """The scripts behind `limit(…)`: places, starts, and holders that died."""
    keys = queue_keys("q", shared=True)

    async def ask(holder: str, *, concurrency: int = 0, rate: tuple[int, int] = (0, 0)) -> object:
        return tuple(
            await limits.acquire(
                steps.client, keys, name="x", holder=holder, concurrency=concurrency, rate=rate,
                ttl_ms=100, now_ms=steps.now,
            )
        )  # fmt: skip

    assert await ask("a", concurrency=1) == (True, NOW + 100)
    assert await ask("b", concurrency=1) == (False, 100)
    assert await limits.release(steps.client, keys, name="x", holder="a", until_ms=NOW + 100)
    assert not await limits.release(steps.client, keys, name="x", holder="a", until_ms=NOW + 100)
    assert await ask("b", concurrency=1) == (True, NOW + 100)
    steps.now = NOW + 100
    assert await ask("c", concurrency=1) == (True, NOW + 200)
    assert await ask("d", rate=(1, 1000)) == (True, NOW + 200)
    steps.now = NOW + 600
    assert await ask("e", rate=(1, 1000)) == (False, 500)
    steps.now = NOW + 1100
    assert await ask("f", rate=(1, 1000)) == (True, NOW + 1200)


async def test_a_rate_that_is_reopened_counts_anew(steps: Steps) -> None:
    await rules(steps, f_push="r1/1000")
    await steps.put([Entry(f"p{n}", body(f"p{n}", "push"), 3) for n in range(2)])
    assert await claimed(steps) == ["p0"]
    assert await limits.reopen(steps.client, steps.keys, "f:push") == 1
    await steps.client.delete(steps.keys.alarms)
    await steps.client.zadd(steps.keys.alarms, {"f:push": NOW})
    assert await claimed(steps) == ["p1"]


async def test_a_step_that_claims_nothing_tells_the_limits_too(steps: Steps) -> None:
    """Its answer may be the last that a worker hears; without them it slept out its nap."""
    await rules(steps, q="r1/1000")
    await steps.add("a", "b")
    (first,) = await steps.claim(1)
    answer = await steps.step(acks=[end(first)], want=0)
    assert (answer.waiting, answer.rate_wait_ms) == (0, 1000)
    await rules(steps, q="c1")
    await steps.claim(1)
    await steps.add("c")
    answer = await steps.step(want=0)
    assert (answer.waiting, answer.rate_wait_ms) == (0, -1)
