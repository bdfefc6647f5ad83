"""The engine's small parts by themselves: the timer wheel, the link, the loops, the budget."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest
import redis.exceptions

from jobs import Client
from jobs.engine import startup
from jobs.engine.accounts import Budget, Counters
from jobs.engine.deadlines import LATENESS, SLOT_S, Deadlines
from jobs.engine.link import Link
from jobs.loop import Loop
from jobs.store.queue import Verb
from tests.helpers.waiting import wait_until


class Item:
    """Something that a deadline stops, and when it did."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.struck: list[float] = []

    def time_out(self) -> None:
        self.struck.append(self.loop.time())


# -- the wheel -----------------------------------------------------------------------------


async def test_a_deadline_strikes_once_never_early_and_hardly_late() -> None:
    loop = asyncio.get_running_loop()
    wheel = Deadlines(loop)
    began = loop.time()
    waits = [0.0, 0.001, 0.05, 0.02, 0.3, 0.05]
    items = [Item(loop) for _ in waits]
    for item, wait in zip(items, waits, strict=True):
        wheel.add(item, wait)
    await wait_until(lambda: all(item.struck for item in items), description="all have struck")
    for item, wait in zip(items, waits, strict=True):
        (at,) = item.struck
        assert wait - 0.003 <= at - began < wait + SLOT_S + 0.2


async def test_a_removed_deadline_does_not_strike() -> None:
    loop = asyncio.get_running_loop()
    wheel = Deadlines(loop)
    kept, removed = Item(loop), Item(loop)
    slots = [wheel.add(item, 0.03) for item in (kept, removed)]
    wheel.remove(removed, slots[1])
    wheel.remove(removed, slots[1])
    await wait_until(lambda: kept.struck, description="the other one strikes")
    assert removed.struck == []
    wheel.remove(kept, slots[0])


async def test_an_earlier_deadline_added_later_strikes_first() -> None:
    loop = asyncio.get_running_loop()
    wheel = Deadlines(loop)
    late, soon = Item(loop), Item(loop)
    wheel.add(late, 0.4)
    wheel.add(soon, 0.02)
    await wait_until(lambda: soon.struck, description="the earlier one strikes")
    assert late.struck == []
    await wait_until(lambda: late.struck, description="the later one strikes too")


async def test_long_deadlines_share_slots() -> None:
    """Ten thousand jobs with five minutes each cost a handful of slots and one timer."""
    loop = asyncio.get_running_loop()
    wheel = Deadlines(loop)
    items = [Item(loop) for _ in range(10_000)]
    slots = {wheel.add(item, 300) for item in items}
    assert len(slots) <= 2
    late_s = max(slots) * SLOT_S - loop.time() - 300
    assert 0 <= late_s <= 300 * LATENESS + SLOT_S
    wheel.close()


async def test_a_closed_wheel_strikes_no_more() -> None:
    loop = asyncio.get_running_loop()
    wheel = Deadlines(loop)
    item, mark = Item(loop), Item(loop)
    wheel.add(item, 0.02)
    wheel.close()
    other = Deadlines(loop)
    other.add(mark, 0.06)
    await wait_until(lambda: mark.struck, description="a later deadline has passed")
    assert item.struck == []


# -- the collector -------------------------------------------------------------------------


def test_a_worker_that_runs_again_makes_the_collector_no_calmer() -> None:
    """`arq --watch` runs worker after worker in one process."""
    before = gc.get_threshold()
    try:
        for _ in range(2):
            startup.calm_the_collector()
            assert gc.get_threshold() == (10 * startup._THRESHOLDS[0], *startup._THRESHOLDS[1:])
        assert gc.get_freeze_count() > 1_000
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


# -- the link ------------------------------------------------------------------------------


@pytest.fixture
def link(client: Client, monkeypatch: pytest.MonkeyPatch) -> Link:
    """A link that waits no longer than it must."""
    monkeypatch.setattr("jobs.engine.link._FIRST_WAIT_S", 0.001)
    monkeypatch.setattr("jobs.engine.link._LONGEST_WAIT_S", 0.004)
    link = Link(client)
    link.address = "there:1"
    return link


async def ok() -> str:
    return "ok"


async def test_the_link_says_once_that_the_server_went_and_once_that_it_is_back(
    link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        await link.failed(redis.exceptions.ConnectionError("gone"))
    seen = [link.away]
    assert await link.call(ok) == "ok"
    assert await link.call(ok) == "ok"
    assert [*seen, link.away] == [True, False]
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "the server at there:1: gone; trying again for ever"
    assert said[1].startswith("the server at there:1 is back after")
    assert len(said) == 2


@pytest.mark.parametrize("error", [ValueError("bug"), KeyError("bug"), AssertionError()])
async def test_an_error_of_our_own_is_raised(link: Link, error: Exception) -> None:
    with pytest.raises(type(error)):
        await link.failed(error)
    assert link.away is False


async def test_a_refusal_is_an_error_in_the_log(
    link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    await link.failed(redis.exceptions.AuthenticationError("WRONGPASS"))
    assert [r.levelno for r in caplog.records] == [logging.WARNING, logging.ERROR]


async def test_a_call_that_hangs_is_given_up(link: Link) -> None:
    with pytest.raises(TimeoutError):
        await link.call(lambda: asyncio.sleep(60), timeout_s=0.01)


# -- loops ---------------------------------------------------------------------------------


class Turns(Loop):
    """Fails in every second turn."""

    def __init__(self) -> None:
        super().__init__("turns", 0.001)
        self.turns = 0
        self.ended = False

    async def run_once(self) -> None:
        self.turns += 1
        if self.turns % 2:
            raise RuntimeError("odd")
        try:
            await asyncio.sleep(0)
        finally:
            self.ended = True


async def test_a_loop_outlives_its_errors_and_ends_when_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = Turns()
    await loop.stop()
    loop.start()
    await wait_until(lambda: loop.turns >= 6, description="it went on")
    await loop.stop()
    turns = loop.turns
    await asyncio.sleep(0.02)
    assert loop.turns == turns
    assert loop.ended
    assert "the loop turns failed and goes on: odd" in caplog.text


# -- accounts ------------------------------------------------------------------------------


def test_a_budget_grants_what_is_left() -> None:
    budget = Budget(5)
    assert budget.grant(3) == 3
    budget.spend(3)
    assert budget.grant(3) == 2
    budget.spend(2)
    assert budget.grant(1) == 0
    endless = Budget()
    endless.spend(10**6)
    assert endless.grant(7) == 7


@pytest.mark.parametrize("verb", list(Verb))
def test_every_end_is_counted_by_arqs_names(verb: Verb) -> None:
    counters = Counters()
    counters.note(verb)
    counted: dict[Any, tuple[int, int, int]] = {
        Verb.complete: (1, 0, 0),
        **dict.fromkeys([Verb.park, Verb.release], (0, 0, 0)),
        **dict.fromkeys([Verb.fail, Verb.cancel, Verb.expire], (0, 1, 0)),
        **dict.fromkeys([Verb.retry, Verb.snooze, Verb.interrupt, Verb.limited], (0, 0, 1)),
    }
    assert (counters.complete, counters.failed, counters.retried) == counted[verb]
