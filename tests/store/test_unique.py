"""Unique keys: one job has a key, for as long as its way of being unique says."""

from __future__ import annotations

from jobs.store.queue import Added, Entry, Flow, Once, Verb, submit
from tests.store.steps import NOTHING, NOW, Steps, end

LONG = 10_000


async def put(
    steps: Steps, job_id: str, once: Once = Once.unfinished, ms: int = 0, most: int = 0, **more: int
) -> str:
    """Enqueue one job with the unique key `k`: "+", or the id of the job that has it."""
    entry = Entry(job_id, f"<{job_id}>".encode(), 3, flow=Flow("", "", "k", once, ms, most), **more)
    ((added, holder),) = await submit(
        steps.client, steps.keys, [entry], again=False, now_ms=steps.now
    )
    return holder or added


async def test_until_the_job_ends(steps: Steps) -> None:
    assert [await put(steps, "a"), await put(steps, "b")] == ["+", "a"]
    (job,) = await steps.claim()
    assert await put(steps, "c") == "a"
    await steps.ack(end(job, Verb.retry, delay_ms=5))
    assert await put(steps, "d") == "a"
    steps.now += 5
    (job,) = await steps.claim()
    await steps.ack(end(job))
    assert [await put(steps, "e"), await put(steps, "f")] == ["+", "e"]


async def test_a_call_with_a_quiet_time_gives_none_to_a_key_that_is_held_to_the_end(
    steps: Steps,
) -> None:
    assert [await put(steps, "a"), await put(steps, "b", Once.leading, 1000)] == ["+", "a"]
    assert await steps.client.exists(steps.keys.uniques) == 0
    (job,) = await steps.claim()
    await steps.ack(end(job))
    assert await put(steps, "c") == "+"


async def test_a_key_whose_time_is_over_is_held_to_the_end_by_the_next_job(steps: Steps) -> None:
    assert await put(steps, "a", Once.period, 10) == "+"
    steps.now += 10
    assert await put(steps, "b") == "+"
    steps.now += LONG
    assert await put(steps, "c") == "b"


async def test_each_end_frees_the_key(steps: Steps) -> None:
    for verb in (Verb.complete, Verb.fail, Verb.cancel, Verb.expire):
        assert await put(steps, f"{verb}") == "+"
        (job,) = await steps.claim()
        await steps.ack(end(job, verb, keep=NOTHING))
    assert await put(steps, "waiting") == "+"
    await steps.cancel("waiting")
    assert await put(steps, "lost") == "+"
    await steps.claim()
    assert await steps.rescue("lost", most_losses=1) == "failed"
    assert await put(steps, "last") == "+"


async def test_for_a_time_even_when_the_job_is_gone(steps: Steps) -> None:
    assert await put(steps, "a", Once.period, LONG) == "+"
    (job,) = await steps.claim()
    await steps.ack(end(job, keep=NOTHING))
    steps.now = NOW + LONG - 1
    assert await put(steps, "b", Once.period, LONG) == "a"
    steps.now = NOW + LONG
    assert await put(steps, "c", Once.period, LONG) == "+"


async def test_prune_forgets_times_that_are_over(steps: Steps) -> None:
    await put(steps, "a", Once.period, LONG)
    steps.now = NOW + LONG
    await steps.prune()
    assert await steps.client.exists(steps.keys.unique, steps.keys.uniques) == 0


async def test_leading_runs_at_once_and_then_waits_for_quiet(steps: Steps) -> None:
    assert await put(steps, "a", Once.leading, 1000) == "+"
    (job,) = await steps.claim()
    await steps.ack(end(job))
    for later in (900, 1800, 2700):
        steps.now = NOW + later
        assert await put(steps, "b", Once.leading, 1000) == "a"
    steps.now = NOW + 3700
    assert await put(steps, "c", Once.leading, 1000) == "+"


async def test_leading_waits_no_longer_than_told(steps: Steps) -> None:
    await put(steps, "a", Once.leading, 1000, 2000)
    for later in (900, 1800):
        steps.now = NOW + later
        assert await put(steps, "b", Once.leading, 1000, 2000) == "a"
    steps.now = NOW + 2000
    assert await put(steps, "c", Once.leading, 1000, 2000) == "+"


async def test_trailing_is_delayed_and_free_once_it_runs(steps: Steps) -> None:
    assert await put(steps, "a", Once.trailing, 1000) == "+"
    assert await put(steps, "b", Once.trailing, 1000) == "a"
    assert await steps.claim() == []
    steps.now = NOW + 1000
    (job,) = await steps.claim()
    assert await put(steps, "c", Once.trailing, 1000) == "+"
    await steps.ack(end(job))
    assert await put(steps, "d", Once.trailing, 1000) == "c"


async def test_one_follows_the_active_one(steps: Steps) -> None:
    assert await put(steps, "a", Once.following) == "+"
    assert await put(steps, "b", Once.following) == "a"
    (job,) = await steps.claim()
    assert await put(steps, "b", Once.following) == "+"
    assert await put(steps, "c", Once.following) == "b"
    assert await steps.claim() == []
    answer = await steps.step(acks=[end(job)], want=5)
    assert [job.id for job in answer.jobs] == ["b"]
    assert await put(steps, "d", Once.following) == "+"


async def test_the_follower_waits_over_retries(steps: Steps) -> None:
    await put(steps, "a", Once.following)
    (job,) = await steps.claim()
    await put(steps, "b", Once.following)
    await steps.ack(end(job, Verb.retry, delay_ms=1000))
    assert await steps.claim() == []
    steps.now += 1000
    (job,) = await steps.claim()
    assert job.id == "a"
    answer = await steps.step(acks=[end(job)], want=5)
    assert [job.id for job in answer.jobs] == ["b"]


async def test_a_repeated_call_is_its_own_success(steps: Steps) -> None:
    entry = Entry("a", b"<a>", 3, flow=Flow(unique="k"))
    for again in (False, True):
        answer = await submit(steps.client, steps.keys, [entry], again=again)
        assert answer == [(Added.added, "")]


async def test_two_of_one_call(steps: Steps) -> None:
    entries = [Entry(i, b"x", 3, flow=Flow(unique="k")) for i in "ab"]
    answer = await submit(steps.client, steps.keys, entries, again=False)
    assert answer == [(Added.added, ""), (Added.not_unique, "a")]


async def test_a_retried_job_takes_its_key_again_if_it_is_free(steps: Steps) -> None:
    await put(steps, "a")
    await steps.finish("a", Verb.fail)
    await steps.retry("a")
    assert await put(steps, "b") == "a"
    await steps.finish("a", Verb.fail)
    assert await put(steps, "b") == "+"
    await steps.retry("a")
    await steps.finish("b")
    await steps.finish("a")
    assert await put(steps, "c") == "+"
