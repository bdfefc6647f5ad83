"""Counters by the minute, moved to hours, days and totals when they are old."""

from __future__ import annotations

import pytest

from jobs.store import queue
from jobs.store.stats import (
    DAY_MS,
    DAYS_MS,
    HOUR_MS,
    HOURS_MS,
    MINUTE_MS,
    MINUTES_MS,
    Cell,
    read_since,
    read_totals,
)
from tests.helpers.keyspace import untyped
from tests.store.steps import NOW, Steps

#: A moment at the start of a day, so that minutes fall into hours and days that are known.
DAWN = NOW // DAY_MS * DAY_MS
MINUTE = DAWN // MINUTE_MS


async def seed(steps: Steps, fields: dict[str, int]) -> None:
    await untyped(steps.client).hset(steps.keys.stats, mapping=fields)


async def stats(steps: Steps) -> dict[str, int]:
    found: dict[str, int] = (await steps.dump()).get("stats", {})
    return found


async def prune_all(steps: Steps, now_ms: int) -> None:
    cursor = ""
    while cursor != "0":
        _, cursor = await queue.prune(steps.client, steps.keys, cursor=cursor or "0", now_ms=now_ms)


async def test_old_minutes_move_to_their_hour_their_day_and_the_totals(steps: Steps) -> None:
    await seed(
        steps,
        {
            f"{MINUTE}:completed|mail": 2,
            f"{MINUTE + 1}:completed|mail": 3,
            f"{MINUTE + 60}:completed|mail": 4,
            f"{MINUTE}:enqueued": 5,
            f"{MINUTE + 300}:completed|mail": 7,
        },
    )
    await prune_all(steps, DAWN + 300 * MINUTE_MS)
    hour, day = DAWN // HOUR_MS, DAWN // DAY_MS
    after = {
        f"h{hour}:completed|mail": 5,
        f"h{hour + 1}:completed|mail": 4,
        f"h{hour}:enqueued": 5,
        f"d{day}:completed|mail": 9,
        f"d{day}:enqueued": 5,
        "t:completed|mail": 9,
        "t:enqueued": 5,
        f"{MINUTE + 300}:completed|mail": 7,
        "moved": 1,
    }
    assert await stats(steps) == after
    await prune_all(steps, DAWN + 300 * MINUTE_MS)
    assert await stats(steps) == after, "nothing is moved twice"


async def test_the_last_minute_that_stays(steps: Steps) -> None:
    await seed(steps, {f"{MINUTE}:completed": 1})
    await prune_all(steps, DAWN + MINUTES_MS + MINUTE_MS - 1)
    assert set(await stats(steps)) == {f"{MINUTE}:completed"}
    await prune_all(steps, DAWN + MINUTES_MS + MINUTE_MS)
    assert f"{MINUTE}:completed" not in await stats(steps)


async def test_old_hours_and_days_go_and_totals_stay(steps: Steps) -> None:
    hour, day = DAWN // HOUR_MS, DAWN // DAY_MS
    await seed(steps, {f"h{hour}:completed": 1, f"d{day}:completed": 1, "t:completed": 1})
    await prune_all(steps, DAWN + HOURS_MS)
    assert len(await stats(steps)) == 3
    await prune_all(steps, DAWN + HOURS_MS + HOUR_MS)
    assert set(await stats(steps)) == {f"d{day}:completed", "t:completed"}
    await prune_all(steps, DAWN + DAYS_MS + DAY_MS)
    assert set(await stats(steps)) == {"t:completed"}


async def test_many_counters_are_moved_page_by_page(steps: Steps) -> None:
    await seed(steps, {f"{MINUTE + n % 60}:completed|f{n}": 1 for n in range(2_000)})
    await prune_all(steps, DAWN + DAY_MS)
    moved = await read_totals(steps.client, steps.keys)
    assert len(moved) == sum(cell.number for cell in moved) == 2_000
    assert sum(name.startswith("h") for name in await stats(steps)) == 2_000


FIELDS = {
    f"{MINUTE}:completed|mail": 1,
    f"{MINUTE + 61}:completed": 2,
    f"h{DAWN // HOUR_MS - 1}:completed|mail": 4,
    f"d{DAWN // DAY_MS - 1}:completed|mail": 8,
    "t:completed|mail": 16,
    "moved": 3,
}


@pytest.mark.parametrize(
    ("since", "found"),
    [
        pytest.param(DAWN + 60 * MINUTE_MS, {2}, id="minutes"),
        pytest.param(DAWN + 61 * MINUTE_MS, set(), id="a minute that has begun before is left out"),
        pytest.param(DAWN - MINUTE_MS, {1, 2}, id="minutes from before the day"),
        pytest.param(DAWN - 3 * HOUR_MS, {1, 2, 4}, id="hours, and the minutes that are not moved"),
        pytest.param(DAWN - 8 * DAY_MS, {1, 2, 8}, id="days, and the minutes that are not moved"),
    ],
)
async def test_the_spans_since_a_moment(steps: Steps, since: int, found: set[int]) -> None:
    await seed(steps, FIELDS)
    cells = await read_since(steps.client, steps.keys, since, DAWN + 62 * MINUTE_MS)
    assert {cell.number for cell in cells} == found


async def test_a_cell_says_what_it_counts(steps: Steps) -> None:
    await seed(steps, {f"{MINUTE}:wait:3|a|b:c": 1, f"{MINUTE}:wait:3": 2})
    cells = await read_since(steps.client, steps.keys, DAWN - 1, DAWN)
    assert sorted(cells) == [Cell(DAWN, "wait:3", "", 2), Cell(DAWN, "wait:3", "a|b:c", 1)]


async def test_totals_are_the_moved_and_the_unmoved(steps: Steps) -> None:
    await seed(steps, FIELDS)
    assert sum(cell.number for cell in await read_totals(steps.client, steps.keys)) == 1 + 2 + 16
