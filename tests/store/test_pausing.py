"""Pause and resume of a queue and of functions: seed, call, compare."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.codec import encode_body
from jobs.store import pausing
from jobs.store.limits import are_shared
from jobs.store.pausing import Note
from jobs.store.queue import Entry
from tests.helpers.keyspace import untyped
from tests.store.steps import NOW, Steps


async def pause(steps: Steps, *functions: str, reason: str = "") -> list[bool]:
    """Pause these functions, or the queue."""
    return await pausing.pause(steps.client, steps.keys, functions, reason, now_ms=steps.now)


async def resume(steps: Steps, *functions: str) -> list[bool]:
    """Resume these functions, or the queue."""
    return await pausing.resume(steps.client, steps.keys, functions, now_ms=steps.now)


async def pauses(steps: Steps) -> dict[str, Note]:
    """What is paused."""
    return await pausing.pauses(steps.client, steps.keys)


async def put(steps: Steps, *functions: str) -> None:
    """Enqueue a job of each function, with its name for an id."""
    await steps.put([Entry(name, encode_body(name, name, [], {}), 3) for name in functions])


async def ids(steps: Steps) -> Sequence[str]:
    """What a worker gets."""
    return [job.id for job in await steps.claim()]


async def test_a_paused_queue_gives_out_nothing_and_takes_all(steps: Steps) -> None:
    await put(steps, "a")
    assert await pause(steps, reason='an "incident"\n') == [False]
    await put(steps, "b")
    answer = await steps.step(want=10)
    assert (answer.jobs, answer.waiting, answer.rate_wait_ms) == ([], 0, -1)
    assert await pauses(steps) == {"": Note('an "incident"\n', NOW)}
    await steps.client.delete(steps.keys.wake)
    assert await resume(steps) == [True]
    assert await steps.client.llen(steps.keys.wake) == 1  # type: ignore[misc]  # redis-py's hints
    assert await pauses(steps) == {}
    assert await ids(steps) == ["a", "b"]
    await steps.assert_sound()


async def test_pausing_again_gives_another_reason(steps: Steps) -> None:
    await pause(steps, reason="first")
    steps.now += 5
    assert await pause(steps, reason="second") == [True]
    assert await pauses(steps) == {"": Note("second", NOW + 5)}


async def test_what_is_not_paused_is_not_resumed(steps: Steps) -> None:
    assert await resume(steps) == [False]
    assert await steps.dump() == {}
    await pause(steps, "f")
    await steps.client.delete(steps.keys.wake)
    before = await steps.dump()
    assert await resume(steps, "f", "g") == [True, False]
    assert await steps.changes(before) == {}
    assert (await pauses(steps)).keys() == {"f"}, "not one of them was resumed"


async def test_a_paused_function_holds_its_jobs_alone(steps: Steps) -> None:
    await put(steps, "bad", "good")
    assert await pause(steps, "bad", reason="it spams") == [False]
    assert await pauses(steps) == {"bad": Note("it spams", NOW)}
    assert await ids(steps) == ["good"]
    await put(steps, "good2")
    answer = await steps.step(want=10)
    assert [job.id for job in answer.jobs] == ["good2"]
    assert answer.waiting == 0, "a burst may end"
    await steps.assert_sound()
    assert await resume(steps, "bad") == [True]
    assert await ids(steps) == ["bad"]
    await steps.assert_sound()


async def test_many_jobs_of_a_paused_function_all_come_back(steps: Steps) -> None:
    names = [f"{n:03}" for n in range(250)]
    await pause(steps, "f")
    for at in range(0, 250, 50):
        page = names[at : at + 50]
        await steps.put([Entry(i, encode_body(i, "f", [], {}), 3) for i in page])
        assert await ids(steps) == []
    await resume(steps, "f")
    got: list[str] = []
    while page := list(await ids(steps)):
        got += page
    assert got == names
    await steps.assert_sound()


async def test_a_note_of_another_hand_is_the_reason_itself(steps: Steps) -> None:
    await untyped(steps.client).hset(steps.keys.config, "paused", "maintenance")
    assert await pauses(steps) == {"": Note("maintenance", 0)}


def test_the_reason_of_a_pause_is_no_shared_limit() -> None:
    assert are_shared({"f:push": "r2/3600000@stripe"})
    assert not are_shared({"f:push": "r2/3600000", "p:push": "told by ops@example.org"})
