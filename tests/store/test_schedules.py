"""The scripts of schedules: seed, call, compare the whole keyspace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from jobs.keys import control_channel
from jobs.store import schedules
from jobs.store.queue import Verb
from jobs.store.schedules import Defined, Fired, Run, Stage, Stored
from tests.helpers.keyspace import untyped
from tests.store.steps import MINUTE, NOW, Steps, score

CHANNEL = control_channel("q")
RULE, REST = b'{"every":1000}', b'{"function":"f"}'


async def define(steps: Steps, rule: bytes = RULE, rest: bytes = REST) -> Defined:
    return await schedules.define(
        steps.client, steps.keys, "s", rule, rest, channel=CHANNEL, now_ms=steps.now
    )


async def stored(steps: Steps) -> Stored:
    (found,) = await schedules.read(steps.client, steps.keys, ["s"])
    assert found is not None
    return found


async def pause(steps: Steps, *, paused: bool) -> bool | None:
    return await schedules.pause(
        steps.client, steps.keys, "s", paused=paused, channel=CHANNEL, now_ms=steps.now
    )


def run(instant: int, late_ms: int = 0) -> Run:
    return Run(instant, instant + late_ms, f"s:{instant}", b"<s>")


async def fire(steps: Steps, *instants: int, late_ms: int = 0, **plan: Any) -> Fired:
    """Send a plan made from what is stored now, unless the test says otherwise."""
    state = (await stored(steps)).state
    given = {
        "revision": state.revision,
        "after": state.after,
        "upto": max(instants, default=state.after),
    }
    runs = [run(instant, late_ms) for instant in instants]
    return await schedules.fire(
        steps.client, steps.keys, "s", runs, priority=3, now_ms=steps.now, **(given | plan)
    )


async def numbers(steps: Steps) -> Sequence[int]:
    """revision, after (from NOW), fired, skipped, held, last (from NOW), paused."""
    s = (await stored(steps)).state
    since = [at and at - NOW for at in (s.after, s.held, s.last, s.paused)]
    return [s.revision, since[0], s.fired, s.skipped, since[1], since[2], since[3]]


async def test_a_definition_begins_now(steps: Steps) -> None:
    assert await define(steps) is Defined.added
    assert await steps.dump() == {
        "schedules": {"s": ([1, NOW, 0, 0, 0, 0, 0], RULE.decode(), REST.decode())},
        "config": {"schedules": 1},
    }
    before = await steps.dump()
    assert await define(steps) is Defined.unchanged
    assert await steps.changes(before) == {}


async def test_another_rule_begins_anew_and_the_rest_does_not(steps: Steps) -> None:
    await define(steps)
    steps.now += 1000
    await fire(steps, NOW + 1000)
    steps.now += 5000
    assert await define(steps, rest=b'{"function":"g"}') is Defined.changed
    assert await numbers(steps) == [2, 1000, 1, 0, 0, 1000, 0]
    assert await define(steps, rule=b'{"every":2000}') is Defined.changed
    assert await numbers(steps) == [3, 6000, 0, 0, 0, 1000, 0]


async def test_an_instant_makes_one_job_however_many_schedulers_plan_it(steps: Steps) -> None:
    await define(steps)
    steps.now += 1000
    plan = {"revision": 1, "after": NOW, "upto": NOW + 1000}
    first = await fire(steps, NOW + 1000, **plan)
    assert (first.stage, first.runs, first.now_ms) == (Stage.done, "+", steps.now)
    assert await steps.dump() == {
        "ready": {f"s:{NOW + 1000}": score(3, 1)},
        "body": {f"s:{NOW + 1000}": (NOW + 1000, b"<s>")},
        "config": {"sequence": 1, "schedules": 1},
        "schedules": {"s": ([1, NOW + 1000, 1, 0, 0, NOW + 1000, 0], RULE.decode(), REST.decode())},
        "stats": {f"{MINUTE}:enqueued": 1},
        "wake": 1,
    }
    before = await steps.dump()
    second = await fire(steps, NOW + 1000, **plan)
    assert (second.stage, second.runs) == (Stage.stale, "")
    assert second.state == first.state, "the answer says how it is"
    assert await steps.changes(before) == {}
    await steps.assert_sound()


async def test_an_instant_that_had_a_job_gets_no_second_one(steps: Steps) -> None:
    """A schedule that was removed and made again, or a backfill."""
    await define(steps)
    steps.now += 1000
    await fire(steps, NOW + 1000)
    await steps.finish(f"s:{NOW + 1000}")
    assert await schedules.remove(steps.client, steps.keys, "s", channel=CHANNEL)
    assert not await schedules.remove(steps.client, steps.keys, "s", channel=CHANNEL)
    await define(steps)
    answer = await fire(steps, NOW + 1000, NOW + 1001, after=steps.now, by_hand=True)
    assert answer.runs == "=+"
    await steps.assert_sound()


async def test_jitter_makes_a_delayed_job(steps: Steps) -> None:
    await define(steps)
    steps.now += 1000
    await fire(steps, NOW + 1000, late_ms=250)
    assert (await steps.dump())["later"] == {f"s:{NOW + 1000}": NOW + 1250}


@pytest.mark.parametrize(
    ("plan", "stage"),
    [
        ({"revision": 2}, Stage.stale),
        ({"after": NOW - 1}, Stage.stale),
        ({"upto": NOW + 1001}, Stage.early),
    ],
)
async def test_a_plan_that_does_not_fit_changes_nothing(
    steps: Steps, plan: dict[str, int], stage: Stage
) -> None:
    await define(steps)
    steps.now += 1000
    before = await steps.dump()
    assert (await fire(steps, NOW + 1000, **plan)).stage is stage
    assert await steps.changes(before) == {}


async def test_a_schedule_that_is_gone_makes_nothing(steps: Steps) -> None:
    answer = await schedules.fire(steps.client, steps.keys, "s", [run(NOW)], priority=3, now_ms=NOW)
    assert answer == Fired(Stage.gone, None, NOW, "")
    assert await steps.dump() == {}
    assert await pause(steps, paused=True) is None


async def test_a_pause_holds_and_what_was_due_meanwhile_is_over(steps: Steps) -> None:
    await define(steps)
    steps.now += 500
    assert await pause(steps, paused=True)
    assert await pause(steps, paused=True) is False
    steps.now += 500
    assert (await fire(steps, NOW + 1000)).stage is Stage.stale
    assert await numbers(steps) == [1, 0, 0, 0, 0, 0, 500]
    assert await define(steps, rest=b"{}") is Defined.changed
    assert (await numbers(steps))[-1] == 500, "a deploy ends no pause"
    steps.now += 9000
    assert await pause(steps, paused=False)
    assert await numbers(steps) == [2, 10_000, 0, 0, 0, 0, 0]
    assert await pause(steps, paused=False) is False
    assert (await steps.dump())["config"] == {"schedules": 4}


async def test_a_pause_gives_up_the_run_that_was_held(steps: Steps) -> None:
    await define(steps)
    steps.now += 2000
    assert (await fire(steps, NOW + 1000, NOW + 2000, overlap="queue")).runs == "+h"
    await pause(steps, paused=True)
    await pause(steps, paused=False)
    assert await numbers(steps) == [1, 2000, 1, 0, 0, 1000, 0]


async def test_the_limit_counts_runs(steps: Steps) -> None:
    await define(steps)
    steps.now += 9000
    answer = await fire(steps, *(NOW + n * 1000 for n in range(1, 6)), limit=3)
    assert answer.runs == "+++.."
    assert await numbers(steps) == [1, 5000, 3, 0, 0, 3000, 0]


async def test_overlap_allow_makes_every_run(steps: Steps) -> None:
    await define(steps)
    steps.now += 9000
    assert (await fire(steps, NOW + 1000, NOW + 2000)).runs == "++"


@pytest.mark.parametrize("state", ["waiting", "active", "delayed", "parked"])
async def test_overlap_skip_leaves_out_while_the_last_run_goes_on(steps: Steps, state: str) -> None:
    await define(steps)
    steps.now += 1000
    await fire(steps, NOW + 1000, overlap="skip", late_ms=60_000 if state == "delayed" else 0)
    match state:
        case "active":
            await steps.claim(1)
        case "parked":
            await steps.finish(f"s:{NOW + 1000}", Verb.park)
        case _:
            pass
    steps.now += 1000
    assert (await fire(steps, NOW + 2000, overlap="skip")).runs == "s"
    assert await numbers(steps) == [1, 2000, 1, 1, 0, 1000, 0]


@pytest.mark.parametrize("verb", [Verb.complete, Verb.fail, Verb.cancel, Verb.expire])
async def test_overlap_skip_makes_the_next_run_when_the_last_has_ended(
    steps: Steps, verb: Verb
) -> None:
    await define(steps)
    steps.now += 1000
    await fire(steps, NOW + 1000, overlap="skip")
    await steps.finish(f"s:{NOW + 1000}", verb)
    steps.now += 1000
    assert (await fire(steps, NOW + 2000, overlap="skip")).runs == "+"


async def test_overlap_queue_keeps_one_run_and_no_more(steps: Steps) -> None:
    await define(steps)
    steps.now += 4000
    one, two, three, four = (NOW + n * 1000 for n in range(1, 5))
    assert (await fire(steps, one, two, three, overlap="queue")).runs == "+hs"
    assert await numbers(steps) == [1, 3000, 1, 1, 2000, 1000, 0]
    before = await steps.dump()
    assert (await fire(steps, two, overlap="queue", upto=three)).runs == ".", "it goes on"
    assert await steps.changes(before) == {}
    await steps.finish(f"s:{one}")
    assert (await fire(steps, two, four, overlap="queue")).runs == "+h"
    assert await numbers(steps) == [1, 4000, 2, 1, 4000, 2000, 0]
    assert (await fire(steps, two, overlap="queue", upto=four)).runs == ".", "an old plan"
    await steps.assert_sound()


async def test_a_held_run_counts_for_the_limit(steps: Steps) -> None:
    await define(steps)
    steps.now += 9000
    one, two, three = (NOW + n * 1000 for n in range(1, 4))
    assert (await fire(steps, one, two, three, overlap="queue", limit=2)).runs == "+h."
    await steps.finish(f"s:{one}")
    assert (await fire(steps, two, overlap="queue", limit=2, upto=three)).runs == "+"
    assert await numbers(steps) == [1, 3000, 2, 0, 0, 2000, 0]


async def test_a_run_by_hand_asks_nobody_and_counts_for_nothing(steps: Steps) -> None:
    await define(steps)
    await pause(steps, paused=True)
    before = await numbers(steps)
    assert (await fire(steps, NOW, by_hand=True, overlap="skip", limit=1)).runs == "+"
    assert await numbers(steps) == [*before[:5], 0, *before[6:]]
    assert (await stored(steps)).state.last == NOW
    assert (await fire(steps, NOW, by_hand=True)).runs == "=", "the same ms again"


async def test_a_run_by_hand_does_not_hide_the_one_that_goes_on(steps: Steps) -> None:
    await define(steps)
    steps.now += 1500
    await fire(steps, NOW + 1000, overlap="skip")
    await steps.claim(1)
    await fire(steps, NOW + 1500, by_hand=True)
    await steps.finish(f"s:{NOW + 1500}")
    steps.now += 1000
    assert (await fire(steps, NOW + 2000, overlap="skip")).runs == "s"


async def test_jobs_of_a_group_stand_in_its_line(steps: Steps) -> None:
    await define(steps)
    steps.now += 1000
    await fire(steps, NOW + 1000, group="acme", key="acme")
    dumped = await steps.dump()
    assert "ready" not in dumped
    assert dumped["config"] == {"sequence": 1, "schedules": 1, "flow": 1}
    assert [job.id for job in await steps.claim(1)] == [f"s:{NOW + 1000}"]


async def test_changes_are_told_with_their_version(steps: Steps) -> None:
    heard = steps.client.pubsub()
    await heard.subscribe(CHANNEL)
    try:
        await define(steps)
        await pause(steps, paused=True)
        await pause(steps, paused=True)
        await schedules.remove(steps.client, steps.keys, "s", channel=CHANNEL)
        messages: list[bytes] = []
        while len(messages) < 3:
            message = await heard.get_message(ignore_subscribe_messages=True, timeout=5)
            if message is not None:
                messages.append(message["data"])
    finally:
        await heard.aclose()  # type: ignore[no-untyped-call]  # redis-py has no types here
    news = [schedules.read_news(data[2:]) for data in messages]
    assert news == [(1, "s"), (2, "s"), (3, "s")]
    assert {data[:2] for data in messages} == {b"\0\0"}, "a message about no job"
    assert schedules.read_news(b"{}") is None


async def test_a_value_that_cannot_be_read_stops_no_other(steps: Steps) -> None:
    await define(steps)
    await untyped(steps.client).hset(steps.keys.schedules, "broken", "x")
    assert [item.name for item in await schedules.read_all(steps.client, steps.keys)] == ["s"]
    assert await schedules.read(steps.client, steps.keys, ["broken", "none"]) == [None, None]


async def test_jobs_of_a_group_that_are_due_later_stand_in_its_line(steps: Steps) -> None:
    """The queue knows of groups from the first such job on, also of one that does not wait yet."""
    await define(steps)
    steps.now = NOW + 1000
    await fire(steps, NOW + 1000, late_ms=500, group="acme", key="acme")
    steps.now = NOW + 1500
    answer = await steps.step(want=0)
    dump = await steps.dump()
    assert (answer.waiting, list(dump["turns"])) == (1, ["acme"])
    assert [job.id for job in await steps.claim()] == [f"s:{NOW + 1000}"]
