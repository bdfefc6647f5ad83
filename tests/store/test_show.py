"""Reading what a queue holds, also while its jobs move."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.states import State
from jobs.store import show
from jobs.store.queue import Verb
from tests.store.steps import BEGUN, MINUTE, NOW, Steps, record


async def test_jobs_are_read_as_they_are_stored(steps: Steps) -> None:
    await steps.add("done")
    await steps.finish("done", Verb.retry)
    await steps.finish("done")
    await steps.add("running")
    await steps.claim()
    await steps.add("waiting", priority=2)
    await steps.add("delayed", delay_ms=9_000)
    ids = ["delayed", "nobody", "running", "done", "waiting"]
    found = await show.read_jobs(steps.client, steps.keys, ids)
    assert [job and (job.id, job.state, job.score) for job in found] == [
        ("delayed", State.delayed, NOW + 9_000),
        None,
        ("running", State.active, NOW + 30_000),
        ("done", State.completed, NOW),
        ("waiting", State.waiting, 2 * 2**42 + 4),
    ]
    _, _, running, done, waiting = found
    assert done is not None
    assert done.history == [b"line", b"line"]
    assert done.record == record(token=2, failures=1, sequence=2.0, flags=BEGUN)
    assert waiting is not None
    assert waiting.record == record(2, 0, sequence=4.0), "read from its place in line"
    assert running is not None
    assert (running.body, running.enqueued_ms) == (b"<running>", NOW)
    assert await show.read_jobs(steps.client, steps.keys, []) == []


async def test_a_job_that_moves_while_it_is_looked_up_is_found(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two round trips of a look the delayed job becomes waiting."""
    await steps.add("a", delay_ms=10)
    look, moved = show._due, [False]

    async def stage_first(*args: Any) -> list[Any]:
        if not moved[0]:
            moved[0] = True
            steps.now += 10
            await steps.step()
        return await look(*args)

    monkeypatch.setattr(show, "_due", stage_first)
    (found,) = await show.read_jobs(steps.client, steps.keys, ["a"])
    assert moved[0]
    assert found is not None
    assert found.state is State.waiting


async def test_pages_are_in_the_order_that_matters(steps: Steps) -> None:
    """Live jobs as they will run, ended ones newest first."""
    for job_id in "abc":
        await steps.add(job_id)
        await steps.finish(job_id)
        steps.now += 1
    await steps.add("y", priority=3)
    await steps.add("x", priority=1)
    await steps.add("l2", delay_ms=20)
    await steps.add("l1", delay_ms=10)
    pages = {
        state: await show.page_ids(steps.client, steps.keys, state, 0, 2)
        for state in (State.completed, State.waiting, State.delayed)
    }
    assert pages == {
        State.completed: ["c", "b"],
        State.waiting: ["x", "y"],
        State.delayed: ["l1", "l2"],
    }
    assert await show.page_ids(steps.client, steps.keys, State.completed, 2, 2) == ["a"]


async def test_counts_and_counters_are_those_of_what_happened(steps: Steps) -> None:
    await steps.add("a", "b", "c", "d", "e")
    await steps.add("later", delay_ms=9_000)
    for job_id, verb in zip(
        "abcd", (Verb.complete, Verb.fail, Verb.park, Verb.expire), strict=True
    ):
        await steps.finish(job_id, verb)
    await steps.finish("e", Verb.interrupt)
    await steps.claim()
    await steps.cancel("later")
    await steps.rescue("e")
    counts = await show.counts(steps.client, steps.keys)
    assert {state: number for state, number in counts.items() if number} == dict.fromkeys(
        [
            State.completed, State.failed, State.parked, State.expired, State.cancelled,
            State.waiting,
        ], 1,
    )  # fmt: skip
    minutes = await show.minute_counters(steps.client, steps.keys, MINUTE)
    totals = {name: n for name, n in minutes[MINUTE].items() if ":" not in name}
    assert totals == {
        "enqueued": 6, "claimed": 6, "completed": 1, "failed": 1, "parked": 1, "expired": 1,
        "interrupted": 1, "cancelled": 1, "lost": 1, "wait_ms": 0, "run_ms": 5 * 7,
    }  # fmt: skip
    assert await show.minute_counters(steps.client, steps.keys, MINUTE + 1) == {}
