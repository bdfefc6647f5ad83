"""Where limits, orders and unique keys meet: cases that the machine of this directory found."""

from __future__ import annotations

from jobs.store.queue import Entry, Flow, Once, Verb, submit
from tests.store.steps import NOW, Steps, end
from tests.store.test_groups import body, claimed, grouped, rules


def of(job_id: str, function: str, key: str = "", priority: int = 3) -> Entry:
    """A job of a function, with a key if one is given."""
    return Entry(job_id, body(job_id, function), priority, flow=Flow(key, key))


async def once(steps: Steps, job_id: str, mode: Once, own: str = "u", key: str = "") -> str:
    """Enqueue a unique job: "+", or the id of the job that has its key."""
    entry = Entry(job_id, body(job_id), 3, flow=Flow(key, key, own, mode, 1000))
    ((added, holder),) = await submit(
        steps.client, steps.keys, [entry], again=False, now_ms=steps.now
    )
    return holder or str(added)


# -- nothing is hidden -------------------------------------------------------------------------


async def test_a_group_that_is_gone_takes_nobodys_chance(steps: Steps) -> None:
    """A limit frees one place: it goes to a group that is there, not to one that was cancelled."""
    await rules(steps, f_slow="c1")
    await steps.put([of("a", "slow", "a"), of("b", "slow", "b"), of("c", "slow", "c")])
    (first,) = await steps.claim()
    await steps.cancel("b")
    answer = await steps.step(acks=[end(first)], want=5)
    assert [job.id for job in answer.jobs] == ["c"]


async def test_a_group_that_goes_when_it_was_let_in_lets_the_next_one_in(steps: Steps) -> None:
    await rules(steps, f_slow="r1/1000")
    await steps.put([of(i, "slow", i) for i in "abc"])
    assert await claimed(steps) == ["a"]
    steps.now = NOW + 1000
    await steps.step(want=0)
    await steps.cancel("b")
    assert await claimed(steps) == ["c"]


async def test_a_worker_without_slots_forgets_no_alarm(steps: Steps) -> None:
    """The rate of a key and of its function: the first alarm comes before the second one opens."""
    await rules(steps, f_slow="r1/1000 r1/3000")
    await steps.put([of("a", "slow"), of("b", "slow")])
    assert await claimed(steps) == ["a"]
    steps.now = NOW + 1000
    assert (await steps.step(want=0)).next_due_ms == 2000
    steps.now = NOW + 3000
    assert await claimed(steps) == ["b"]


async def test_a_job_put_aside_where_the_last_one_just_left_is_not_lost(steps: Steps) -> None:
    await rules(steps, f_slow="c1")
    await steps.put([of("a1", "slow", "a"), of("a2", "slow", "a")])
    (first,) = await steps.claim()
    await steps.put([of("a3", "slow", "a")])
    (second,) = (await steps.step(acks=[end(first)], want=5)).jobs
    (third,) = (await steps.step(acks=[end(second)], want=5)).jobs
    assert [first.id, second.id, third.id] == ["a1", "a2", "a3"]


async def test_other_limits_of_a_job_do_not_keep_a_free_place_from_others(steps: Steps) -> None:
    """The place of the function goes on to a second key when the first one is full."""
    await rules(steps, k="c1", f_slow="c1")
    await steps.put([of("b1", "slow", "b"), of("a1", "quick", "a"), of("a2", "slow", "a")])
    jobs = {job.id: job for job in await steps.claim()}
    assert jobs.keys() == {"b1", "a1"}
    await steps.put([of("c1", "slow", "c")])
    assert await claimed(steps) == []
    answer = await steps.step(acks=[end(jobs["b1"])], want=5)
    assert [job.id for job in answer.jobs] == ["c1"]


# -- priority ----------------------------------------------------------------------------------


async def test_one_call_takes_all_of_a_better_priority_first(steps: Steps) -> None:
    await steps.put(grouped("a1", "a2", "a3", group="a", priority=1))
    await steps.put(grouped("b1", "b2", group="b", priority=5))
    assert await claimed(steps, 3) == ["a1", "a2", "a3"]


async def test_a_turn_is_no_better_than_the_job_that_has_it(steps: Steps) -> None:
    await steps.put(grouped("a1", group="a", priority=1))
    await steps.put(grouped("a2", group="a", priority=5))
    await steps.put([Entry("plain", body("plain"), 3)])
    await steps.cancel("a1")
    assert await claimed(steps, 1) == ["plain"]


async def test_a_better_job_that_is_put_aside_later_comes_first(steps: Steps) -> None:
    await rules(steps, f_slow="c1")
    await steps.put([of("a1", "slow", "a"), of("b1", "slow", "b"), of("c1", "slow", "c")])
    (first,) = await steps.claim()
    await steps.put([of("c0", "slow", "c", priority=1)])
    assert await claimed(steps) == []
    answer = await steps.step(acks=[end(first)], want=5)
    assert [job.id for job in answer.jobs] == ["c0"]


# -- order -------------------------------------------------------------------------------------


async def test_an_interrupted_second_attempt_keeps_the_order(steps: Steps) -> None:
    """A deploy or a lost worker between two attempts does not let the next job of the key in."""
    await rules(steps, k="o")
    await steps.put(grouped("a1", "a2", group="a"))
    (first,) = await steps.claim()
    await steps.ack(end(first, Verb.retry))
    (again,) = await steps.claim()
    await steps.ack(end(again, Verb.interrupt))
    (again,) = await steps.claim()
    assert again.id == "a1"
    assert await steps.rescue("a1") == "waiting"
    (again,) = await steps.claim()
    assert again.id == "a1"
    await steps.ack(end(again, Verb.park))
    assert await claimed(steps) == []
    await steps.unpark("a1")
    (again,) = await steps.claim()
    assert again.id == "a1"
    answer = await steps.step(acks=[end(again)], want=5)
    assert [job.id for job in answer.jobs] == ["a2"]


async def test_a_limit_of_one_function_does_not_break_the_order_of_a_key(steps: Steps) -> None:
    await rules(steps, k="o", f_slow="c1")
    await steps.put([of("b", "slow", "b"), of("a1", "slow", "a"), of("a2", "quick", "a")])
    (first,) = await steps.claim()
    assert first.id == "b"
    answer = await steps.step(acks=[end(first)], want=5)
    assert [job.id for job in answer.jobs] == ["a1"]


async def test_the_order_of_a_function_holds_whichever_limit_was_in_the_way(steps: Steps) -> None:
    await rules(steps, f_slow="c1", fk_slow="o")
    await steps.put([of("b", "slow", "b"), of("a1", "slow", "a"), of("a2", "slow", "a")])
    await steps.put([of("a3", "quick", "a")])
    first, quick = await steps.claim(2)
    assert [first.id, quick.id] == ["b", "a3"]
    order = []
    job = first
    for n in range(3):
        await steps.put([of(f"a{n + 4}", "slow", "a")])
        (job,) = (await steps.step(acks=[end(job)], want=5)).jobs
        order.append(job.id)
    assert order == ["a1", "a2", "a4"]


async def test_an_order_given_up_while_it_is_held_leaves_no_place_behind(steps: Steps) -> None:
    await rules(steps, k="o")
    await steps.put(grouped("a1", "a2", group="a"))
    (first,) = await steps.claim()
    await steps.ack(end(first, Verb.retry))
    await rules(steps, k="")
    jobs = await steps.claim()
    assert {job.id for job in jobs} == {"a1", "a2"}
    await steps.ack(*map(end, jobs))
    await rules(steps, k="o")
    await steps.put(grouped("a3", group="a"))
    assert await claimed(steps) == ["a3"]


# -- unique keys -------------------------------------------------------------------------------


async def test_a_follower_waits_however_the_attempt_before_ends(steps: Steps) -> None:
    await once(steps, "a", Once.following)
    for verb in (Verb.interrupt, Verb.release, Verb.limited):
        (first,) = await steps.claim()
        assert first.id == "a"
        await once(steps, "b", Once.following)
        await steps.ack(end(first, verb))
    (first,) = await steps.claim()
    assert first.id == "a"
    assert await steps.rescue("a") == "waiting"
    assert await claimed(steps) == ["a"]


async def test_a_cancelled_follower_gives_the_key_back(steps: Steps) -> None:
    await once(steps, "a", Once.following)
    (first,) = await steps.claim()
    assert await once(steps, "b", Once.following) == "+"
    await steps.cancel("b")
    assert await once(steps, "c", Once.unfinished) == "a"
    await steps.ack(end(first))
    assert await once(steps, "d", Once.unfinished) == "+"


async def test_a_time_holds_for_the_id_that_has_it_too(steps: Steps) -> None:
    """An ended job is not run again by its own id, and a refused call does not remove it."""
    await once(steps, "a", Once.period)
    await steps.finish("a")
    assert await once(steps, "a", Once.period) == "a"
    assert (await steps.dump())["completed"].keys() == {"a"}
    steps.now += 1000
    assert await once(steps, "a", Once.period) == "+"


async def test_a_call_refused_for_its_key_leaves_the_ended_job_of_its_id(steps: Steps) -> None:
    await steps.put([Entry("old", body("old"), 3)])
    await steps.finish("old")
    await once(steps, "new", Once.unfinished)
    assert await once(steps, "old", Once.unfinished) == "new"
    assert (await steps.dump())["completed"].keys() == {"old"}


async def test_a_retried_job_takes_a_key_whose_time_is_over(steps: Steps) -> None:
    await once(steps, "a", Once.period)
    await steps.finish("a", Verb.fail)
    steps.now += 1000
    await steps.retry("a")
    assert await once(steps, "b", Once.unfinished) == "a"


async def test_a_worker_sleeps_no_longer_than_a_shared_rate_needs(steps: Steps) -> None:
    """A limit of places and starts: while places are free, only the rate says when to look."""
    await rules(steps, q="r1/100@s c5@s")
    await steps.add("a", "b")
    assert await claimed(steps) == ["a"]
    assert (await steps.step(want=1)).rate_wait_ms == 100


async def test_another_job_in_front_of_a_blocked_group_is_looked_at(steps: Steps) -> None:
    """What blocks a group of an ordered key may be a limit of the one that was its first."""
    await rules(steps, k="o", f_slow="c1")
    await steps.put([of("b", "slow", "b"), of("a1", "slow", "a")])
    assert await claimed(steps) == ["b"]
    await steps.put([of("a0", "quick", "a", priority=1)])
    assert await claimed(steps) == ["a0"]


async def test_a_group_that_other_rules_put_aside_is_looked_at(steps: Steps) -> None:
    """An order made a whole key wait for a limit of one function; without it they need not."""
    await rules(steps, k="o", f_slow="c1")
    await steps.put([of("b", "slow", "b"), of("a1", "slow", "a"), of("a2", "quick", "a")])
    assert await claimed(steps) == ["b"]
    await rules(steps, k="r5/1000")
    assert await claimed(steps) == ["a2"]
