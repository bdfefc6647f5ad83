"""What is kept: by age, count and bytes; history; and that the accounts are right."""

from __future__ import annotations

import pytest

from jobs.store.queue import Limits, Verb
from tests.store.steps import FOREVER, NOW, Steps, end


async def finish_many(steps: Steps, number: int, keep: Limits, verb: Verb = Verb.complete) -> None:
    """Jobs 000, 001 … completed one after another, each in a millisecond of its own."""
    for n in range(number):
        await steps.add(f"{n:03}")
        await steps.finish(f"{n:03}", verb, keep=keep)
        steps.now += 1


async def kept(steps: Steps, state: str = "completed") -> list[str]:
    return sorted((await steps.dump()).get(state, {}))


async def test_the_newest_are_kept_by_count(steps: Steps) -> None:
    await finish_many(steps, 10, (-1, 3, -1))
    assert await kept(steps) == ["007", "008", "009"]
    assert set((await steps.dump())["body"]) == {"007", "008", "009"}
    await steps.assert_sound()


async def test_the_newest_are_kept_by_bytes(steps: Steps) -> None:
    """Each job takes 6 + 5 bytes of body and 4 of history."""
    await finish_many(steps, 10, (-1, -1, 3 * 15))
    assert await kept(steps) == ["007", "008", "009"]
    await finish_many(steps, 10, (-1, -1, 3 * 15 - 1))
    assert len(await kept(steps)) == 2
    await steps.assert_sound()


async def test_a_count_of_zero_keeps_nothing(steps: Steps) -> None:
    await finish_many(steps, 2, (-1, 0, -1))
    assert await kept(steps) == []
    await steps.assert_sound()


async def test_zero_bytes_keep_nothing(steps: Steps) -> None:
    await finish_many(steps, 2, (-1, -1, 0))
    assert await kept(steps) == []
    await steps.assert_sound()


async def test_age_is_pruned_at_its_time(steps: Steps) -> None:
    await finish_many(steps, 3, (60_000, -1, -1))
    await steps.add("live")
    steps.now = NOW + 60_001
    assert await steps.prune() == 2
    assert await kept(steps) == ["002"]
    assert await steps.prune() == 0, "a prune can be repeated"
    steps.now += 1
    assert await steps.prune() == 1
    found = await steps.dump()
    assert set(found) == {"ready", "body", "config", "stats", "claims", "wake"}
    await steps.assert_sound()


async def test_a_prune_takes_a_hundred(steps: Steps) -> None:
    for at in range(0, 150, 50):
        await steps.add(*(f"{n:03}" for n in range(at, at + 50)))
    for _ in range(2):
        await steps.ack(*[end(job, keep=(1_000, -1, -1)) for job in await steps.claim()])
    steps.now += 1_000
    assert [await steps.prune() for _ in range(3)] == [100, 50, 0]
    await steps.assert_sound()


async def test_states_are_trimmed_apart(steps: Steps) -> None:
    await finish_many(steps, 3, (-1, 1, -1))
    for n in range(3):
        await steps.add(f"f{n}")
        await steps.finish(f"f{n}", Verb.fail, keep=FOREVER)
    assert await kept(steps) == ["002"]
    assert await kept(steps, "failed") == ["f0", "f1", "f2"]


async def test_a_batch_under_several_policies_is_right_too(steps: Steps) -> None:
    await steps.add(*"abcd")
    jobs = await steps.claim()
    policies: list[Limits] = [FOREVER, (-1, -1, 20), (0, -1, -1), (5_000, 3, -1)]
    acks = [end(job, keep=keep) for job, keep in zip(jobs, policies, strict=True)]
    assert await steps.ack(*acks) == "1111"
    assert len(await kept(steps)) == 1
    await steps.assert_sound()


# -- history -------------------------------------------------------------------------------


async def test_history_has_a_line_for_every_attempt(steps: Steps) -> None:
    await steps.add("a")
    for n, verb in enumerate([Verb.retry, Verb.snooze, Verb.interrupt, Verb.retry, Verb.complete]):
        await steps.finish("a", verb, line=f"line {n}".encode())
    found = await steps.dump()
    assert found["result"]["a"] == [f"line {n}".encode() for n in range(5)]
    await steps.assert_sound()


async def test_history_keeps_its_newest_64_kib(steps: Steps) -> None:
    await steps.add("a")
    for n in range(70):
        await steps.finish("a", Verb.retry, line=b"%03d" % n + b"x" * 997)
    lines = (await steps.dump())["result"]["a"]
    assert len(b"\n".join(lines)) <= 65_536 < len(b"\n".join(lines)) + 1_001
    assert [line[:3] for line in lines] == [b"%03d" % n for n in range(70 - len(lines), 70)]
    await steps.finish("a", Verb.fail)
    await steps.assert_sound()


@pytest.mark.parametrize("attempts", [1, 2])
async def test_one_long_line_is_kept_whole(steps: Steps, attempts: int) -> None:
    """The newest line is the result: it is never cut."""
    await steps.add("a")
    for _ in range(attempts - 1):
        await steps.finish("a", Verb.retry)
    await steps.finish("a", line=b"x" * 100_000)
    assert (await steps.dump())["result"]["a"][-1] == b"x" * 100_000
    await steps.assert_sound()


async def test_a_returned_jobs_history_counts_as_kept_bytes_once_it_ends(steps: Steps) -> None:
    await steps.add("a")
    await steps.finish("a", Verb.fail)
    await steps.retry("a")
    assert (await steps.dump())["config"]["bytes:failed"] == 0
    await steps.finish("a", Verb.complete)
    found = await steps.dump()
    assert found["config"] == {
        "sequence": 2, "token": 2, "bytes:failed": 0, "bytes:completed": 6 + 3 + len(b"line\nline")
    }  # fmt: skip
