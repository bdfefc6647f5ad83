"""Pages of a set from a place on, and the letters that nobody was told of."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from jobs.keys import QueueKeys
from jobs.states import State
from jobs.store.letters import untold
from jobs.store.pages import SETS, Look, Place, Row, page
from jobs.store.queue import Flow, Verb
from jobs.store.show import STATE_KEYS
from tests.store.steps import NOW, Steps, record, score


async def ids(steps: Steps, look: Look, count: int = 100) -> list[str]:
    rows, _ = await page(steps.client, steps.keys, look, count)
    return [row.id for row in rows]


def test_every_state_has_its_sets() -> None:
    assert set(SETS) == set(STATE_KEYS)
    assert {name for names in SETS.values() for name in names} <= set(
        QueueKeys.__dataclass_fields__
    )


async def test_a_page_is_what_is_stored(steps: Steps) -> None:
    await steps.add("done")
    await steps.finish("done", line=b"end")
    await steps.add("late", delay_ms=9_000)
    await steps.add("next", priority=2)
    before = await steps.dump()
    (done,), more = await page(steps.client, steps.keys, Look("completed"), 1)
    assert more, "as many as were asked for: there may be more"
    assert (done.id, done.place) == ("done", Place(str(NOW), b"done"))
    assert done.job is not None
    assert (done.job.state, done.job.body, done.job.history) == (
        State.completed, b"<done>", [b"end"],
    )  # fmt: skip
    (late,), more = await page(steps.client, steps.keys, Look("later"))
    assert (late.id, late.place.score, more) == ("late", str(NOW + 9_000), False)
    assert late.job is not None
    assert (late.job.state, late.job.score) == (State.delayed, NOW + 9_000)
    (first,), _ = await page(steps.client, steps.keys, Look("ready"))
    assert first.job is not None
    assert (first.job.score, first.job.record.priority) == (score(2, 3), 2)
    (bare,), _ = await page(steps.client, steps.keys, Look("completed", whole=False))
    assert (bare.id, bare.job) == ("done", None)
    assert await page(steps.client, steps.keys, Look("parked")) == ([], False)
    assert await steps.changes(before) == {}


async def test_a_grouped_job_is_read_by_its_id(steps: Steps) -> None:
    for n in range(3):
        await steps.add(f"g{n}", flow=Flow(group=f"tenant{n % 2}"))
    rows, _ = await page(steps.client, steps.keys, Look("grouped"))
    assert [row.id for row in rows] == ["g0", "g2", "g1"], "group by group"
    assert [row.job and row.job.state for row in rows] == [State.waiting] * 3
    assert await ids(steps, Look("grouped", after=rows[0].place)) == ["g2", "g1"]


async def kept(steps: Steps, names: Sequence[str], at: int) -> None:
    """Jobs that completed at one moment."""
    steps.now = at
    for name in names:
        await steps.add(name)
        await steps.finish(name)


@pytest.mark.parametrize("backwards", [False, True])
async def test_a_place_stays_though_its_job_is_gone(steps: Steps, backwards: bool) -> None:
    """Many end within one millisecond: their order is that of their names, byte by byte."""
    names = ["B", "a", "Z", "ä", "\U0001f600", "aa", "_", "zz", "b\x00c", "b"]
    await kept(steps, names, NOW)
    await kept(steps, ["later"], NOW + 1)
    whole = [*sorted(names, key=str.encode), "later"]
    whole = whole[::-1] if backwards else whole
    assert await ids(steps, Look("completed", backwards=backwards)) == whole
    rows, _ = await page(steps.client, steps.keys, Look("completed", backwards=backwards))
    for n, row in enumerate(rows):
        look = Look("completed", backwards=backwards, after=row.place)
        assert await ids(steps, look) == whole[n + 1 :]
    for n, row in enumerate(rows):
        await steps.client.zrem(steps.keys.completed, row.place.member)
        look = Look("completed", backwards=backwards, after=row.place)
        assert await ids(steps, look) == whole[n + 1 :], "the place itself is gone"
        await steps.client.zadd(steps.keys.completed, {row.place.member: float(row.place.score)})


async def test_scores_cut_a_page(steps: Steps) -> None:
    for n in range(5):
        await kept(steps, [f"j{n}"], NOW + n)
    assert await ids(steps, Look("completed", least=NOW + 1, most=NOW + 4)) == ["j1", "j2", "j3"]
    back = Look("completed", backwards=True, least=NOW + 1, most=NOW + 4)
    assert await ids(steps, back, 2) == ["j3", "j2"]
    assert await ids(steps, back._replace(after=Place(str(NOW + 2), b"j2"))) == ["j1"]
    assert await ids(steps, Look("completed", least=NOW + 9)) == []
    assert await ids(steps, Look("completed", most=NOW)) == []


async def test_a_job_without_a_body_is_no_job(steps: Steps) -> None:
    await kept(steps, ["a", "b"], NOW)
    await steps.client.hdel(steps.keys.body, "a")  # type: ignore[misc]  # redis-py's hints
    rows, _ = await page(steps.client, steps.keys, Look("completed"))
    assert [(row.id, row.job is None) for row in rows] == [("a", True), ("b", False)]
    await steps.client.zrem(steps.keys.completed, "a")
    await steps.client.hdel(steps.keys.record, "a")  # type: ignore[misc]  # redis-py's hints
    await steps.client.hdel(steps.keys.result, "a")  # type: ignore[misc]  # redis-py's hints


# -- letters --------------------------------------------------------------------------------------


async def dead(steps: Steps, *names: str) -> None:
    """Jobs that fail now."""
    for name in names:
        await steps.add(name)
        await steps.finish(name, Verb.fail)


async def ask(
    steps: Steps, worker: str = "w1", told: Row | None = None, *, begins: bool = False
) -> list[str] | None:
    found = await untold(
        steps.client, steps.keys, worker=worker, turn_ms=1000, told=told and told.place,
        begins=begins, now_ms=steps.now,
    )  # fmt: skip
    if found is None:
        return None
    steps.__dict__["rows"] = found[0]
    return [row.id for row in found[0]]


def last(steps: Steps) -> Row:
    rows: list[Row] = steps.__dict__["rows"]
    return rows[-1]


async def test_letters_come_in_their_order_once_their_millisecond_is_over(steps: Steps) -> None:
    await dead(steps, "b", "a")
    assert await ask(steps) == [], "more may come in this millisecond"
    steps.now += 1
    assert await ask(steps) == ["a", "b"]
    assert await ask(steps) == ["a", "b"], "until they are noted as told of"
    (row, _) = steps.__dict__["rows"]
    assert row.job is not None
    assert (row.job.state, row.job.record) == (
        State.failed,
        record(failures=1, sequence=2.0, token=2)._replace(size=row.job.record.size),
    )
    await dead(steps, "c")
    steps.now += 1
    assert await ask(steps, told=last(steps)) == ["c"]
    assert await ask(steps, told=last(steps)) == []
    assert (await steps.dump())["config"]["letters"] == f"{NOW + 1} c"


async def test_one_worker_at_a_time_is_told(steps: Steps) -> None:
    await dead(steps, "a")
    steps.now += 1
    assert await ask(steps, "w1") == ["a"]
    assert await ask(steps, "w2") is None
    steps.now += 500
    assert await ask(steps, "w1") == ["a"], "its turn begins anew"
    steps.now += 999
    assert await ask(steps, "w2") is None
    steps.now += 1
    assert await ask(steps, "w2") == ["a"], "w1 is gone"
    assert await ask(steps, "w1", told=last(steps)) is None, "too late to note anything"
    steps.now += 2000
    assert await ask(steps, "w2") == ["a"]


async def test_who_begins_looks_at_the_last_minutes_again(steps: Steps) -> None:
    await dead(steps, "old")
    steps.now += 700_000
    await dead(steps, "new")
    steps.now += 1
    assert await ask(steps) == ["old", "new"]
    assert await ask(steps, told=last(steps)) == []
    assert await ask(steps, begins=True) == ["new"]


async def test_a_clock_that_is_set_back_hides_no_letter(steps: Steps) -> None:
    await dead(steps, "a")
    steps.now += 1
    await ask(steps)
    await ask(steps, told=last(steps))
    steps.now -= 60_000
    await dead(steps, "b")
    steps.now += 30_000
    assert await ask(steps) == ["b"]
    assert await ask(steps, told=last(steps)) == []
    steps.now += 40_000
    assert await ask(steps) == ["a"], "told again, and found to be known by its id"


async def test_a_hundred_at_a_time(steps: Steps) -> None:
    names = [f"j{n:03}" for n in range(150)]
    await dead(steps, *names)
    steps.now += 1
    assert await ask(steps) == names[:100]
    assert await ask(steps, told=last(steps)) == names[100:]
