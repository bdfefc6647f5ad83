"""The event stream of a queue: what the scripts tell, its numbers, its bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs.lane import Lane
from jobs.store import events
from jobs.store.queue import Verb
from tests.helpers.keyspace import untyped
from tests.store.steps import NOW, Steps, end

HOUR = 3_600_000
#: Where numbers begin: the time in microseconds.
FIRST = NOW * 1000


@pytest.fixture
async def lane(redis_client: Redis) -> AsyncIterator[Lane]:
    lane = Lane(redis_client.connection_pool)
    yield lane
    await lane.aclose()


async def told(steps: Steps, lane: Lane, after: int = FIRST) -> list[events.Told]:
    """Everything that the stream holds behind a number."""
    found: list[events.Told] = []
    while page := (await events.read(lane, {steps.keys.events: after}, 0)).get(steps.keys.events):
        found += page
        after = page[-1].number
    return found


async def names(steps: Steps, lane: Lane) -> list[tuple[str, str]]:
    return [(one.name, one.job_id) for one in await told(steps, lane)]


async def hear(steps: Steps, for_ms: int = HOUR) -> events.Stand:
    return await events.listen(steps.client, steps.keys, for_ms, now_ms=steps.now)


async def length(steps: Steps) -> int:
    return int(await untyped(steps.client).xlen(steps.keys.events))


# -- listening -----------------------------------------------------------------------------


async def test_nothing_is_written_while_nobody_listens(steps: Steps) -> None:
    await steps.add("a")
    await steps.finish("a")
    assert await length(steps) == 0
    assert "told" not in (await steps.dump())["config"]


async def test_events_are_written_until_the_time_is_over(steps: Steps, lane: Lane) -> None:
    assert await hear(steps) == (FIRST, NOW + HOUR)
    await steps.add("a")
    steps.now += HOUR - 1
    await steps.add("b")
    steps.now += 1
    await steps.add("c")
    assert {one.job_id for one in await told(steps, lane)} == {"a", "b"}


async def test_who_listens_shorter_does_not_cut_others_off(steps: Steps) -> None:
    await hear(steps, 2 * HOUR)
    assert (await hear(steps, HOUR)).until_ms == NOW + 2 * HOUR
    assert (await hear(steps, -1)).until_ms == 253402300799999
    stand = await events.listen(steps.client, steps.keys, 0, exact=True, now_ms=steps.now)
    assert stand.until_ms == NOW


async def test_numbers_jump_where_nothing_was_written(steps: Steps, lane: Lane) -> None:
    """Who resumes after that must see that something is missing."""
    await hear(steps)
    await steps.add("a")
    before = (await told(steps, lane))[-1].number
    steps.now += 2 * HOUR
    assert (await hear(steps)).last == steps.now * 1000 > before
    await steps.add("b")
    assert (await told(steps, lane, before))[0].number == steps.now * 1000 + 1


async def test_numbers_go_on_when_the_whole_queue_was_removed(steps: Steps) -> None:
    await hear(steps)
    await steps.add("a", "b")
    await steps.client.delete(*steps.keys.all())
    steps.now += 1
    assert (await hear(steps)).last == steps.now * 1000 > FIRST + 4


# -- what is told --------------------------------------------------------------------------


async def test_one_call_is_one_entry_whose_events_are_numbered(steps: Steps, lane: Lane) -> None:
    await hear(steps)
    await steps.add("a", "b")
    assert await length(steps) == 1
    found = await told(steps, lane)
    assert [one.number for one in found] == [FIRST + n for n in range(1, 5)]
    assert {one.at_ms for one in found} == {NOW}
    assert await told(steps, lane, FIRST + 3) == found[3:], "in the middle of an entry"
    assert (await steps.dump())["config"]["told"] == FIRST + 4


async def test_the_life_of_a_job(steps: Steps, lane: Lane) -> None:
    await hear(steps)
    await steps.add("a")
    await steps.finish("a", Verb.retry, delay_ms=100)
    steps.now += 100
    await steps.finish("a", Verb.complete, line=b'{"outcome":"completed"}')
    assert [name for name, _ in await names(steps, lane)] == [
        "added", "waiting", "active", "failed", "delayed", "drained",
        "waiting", "active", "completed", "drained",
    ]  # fmt: skip
    found = {one.name: one.data for one in await told(steps, lane)}
    assert found["delayed"] == str(NOW + 100).encode()
    assert found["completed"] == b'{"outcome":"completed"}'


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        (Verb.fail, {"failed", "retries-exhausted"}),
        (Verb.cancel, {"cancelled"}),
        (Verb.expire, {"expired"}),
        (Verb.park, {"parked"}),
        (Verb.interrupt, {"waiting"}),
        (Verb.snooze, {"delayed"}),
        (Verb.release, set()),
    ],
)
async def test_each_end_of_an_attempt_is_told(
    steps: Steps, lane: Lane, verb: Verb, expected: set[str]
) -> None:
    await steps.add("a", "b")
    job, other = await steps.claim()
    await hear(steps)
    await steps.ack(end(job, verb, delay_ms=50))
    assert {name for name, _ in await names(steps, lane)} == expected
    assert await steps.ack(end(job, verb)) == "0"
    assert len(await told(steps, lane)) == len(expected), "a stale end is none"
    await steps.ack(end(other))


async def test_a_lost_job_is_stalled(steps: Steps, lane: Lane) -> None:
    await hear(steps)
    await steps.add("a")
    await steps.claim()
    await steps.rescue("a", most_losses=2)
    await steps.claim()
    await steps.rescue("a", most_losses=2)
    found = [name for name, _ in await names(steps, lane)]
    assert found[3:5] == ["stalled", "waiting"]
    assert found[6:] == ["stalled", "failed", "retries-exhausted"]


async def test_commands_are_told(steps: Steps, lane: Lane) -> None:
    await steps.add("a", "b")
    await steps.finish("a", Verb.fail)
    await hear(steps)
    await steps.cancel("b")
    await steps.retry("a", "b", "nobody")
    assert await names(steps, lane) == [("cancelled", "b"), ("waiting", "a"), ("waiting", "b")]
    await steps.finish("a", Verb.park)
    await steps.unpark("a")
    assert [name for name, _ in await names(steps, lane)][-2:] == ["parked", "waiting"]


async def test_what_retention_removes_is_told_as_a_number(steps: Steps, lane: Lane) -> None:
    for job_id in ("a", "b"):
        await steps.add(job_id)
        await steps.finish(job_id, keep=(1000, -1, -1))
    await hear(steps)
    steps.now += 1000
    assert await steps.prune() == 2
    assert [(one.name, one.data) for one in await told(steps, lane)] == [
        ("cleaned", b'{"count":2}')
    ]
    assert await steps.prune() == 0
    assert len(await told(steps, lane)) == 1


async def test_drained_is_told_when_nothing_waits_and_nothing_runs(
    steps: Steps, lane: Lane
) -> None:
    await hear(steps)
    await steps.add("a", "b", "c")
    first, second = await steps.claim(2)
    drained: list[int] = []
    for act in ([end(first)], [end(second)]):
        await steps.ack(*act)
        drained.append((await names(steps, lane)).count(("drained", "")))
    assert drained == [0, 0], "one waits"
    last, *_ = await steps.claim()
    await steps.step()
    await steps.ack(end(last))
    await steps.step()
    assert (await names(steps, lane)).count(("drained", "")) == 1


# -- bounds --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 100])
async def test_about_ten_thousand_events_are_kept(steps: Steps, lane: Lane, number: int) -> None:
    """However many of them an entry carries."""
    await hear(steps)
    calls = 6_000 // number
    for n in range(calls):
        await steps.add(*(f"{n}:{i}" for i in range(number)))
    found = await told(steps, lane)
    assert 10_000 <= len(found) <= 10_000 + 2 * 100 * number, "whole nodes of the stream go"
    assert [one.number for one in found] == list(
        range(found[0].number, FIRST + 2 * number * calls + 1)
    )


async def test_large_data_is_left_out(steps: Steps, lane: Lane) -> None:
    await hear(steps)
    await steps.add("a", "b")
    small, large = (b'"' + b"x" * size + b'"' for size in (16_382, 16_383))
    first, second = await steps.claim()
    await steps.ack(end(first, line=small), end(second, line=large))
    found = {one.job_id: one.data for one in await told(steps, lane) if one.name == "completed"}
    assert found == {"a": small, "b": b'{"large":16385}'}


async def test_events_of_ones_own(steps: Steps, lane: Lane) -> None:
    async def emit(**event: Any) -> int:
        return await events.emit(steps.client, steps.keys, **event, now_ms=steps.now)

    assert await emit(name="my.event", job_id="", data=b"{}") == 0
    await hear(steps)
    assert await emit(name="my.event", job_id="\N{SNOWMAN}\0", data=b'{"a":1}') == FIRST + 1
    (found,) = await told(steps, lane)
    assert found == (FIRST + 1, "my.event", "\N{SNOWMAN}\0", NOW, b'{"a":1}')
