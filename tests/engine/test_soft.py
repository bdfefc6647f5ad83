"""`SoftTimeout` inside a coroutine: raised once, where it awaits, and nothing else is disturbed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobs import SoftTimeout
from jobs.engine.awaits import chain_of
from jobs.engine.softly import Soft

LONG = 60


async def struck(work: Any, *, raises: bool = True) -> tuple[Any, Soft]:
    """What comes of a coroutine function whose soft timeout strikes once it waits."""
    soft = Soft(5, raises=raises)

    async def drive() -> Any:
        return await soft.drive(work())

    task = asyncio.create_task(drive())
    for _ in range(3):
        await asyncio.sleep(0)
    soft.strike(task)
    try:
        return await task, soft
    finally:
        assert task.cancelling() == 0, "the cancellation was taken back"


async def test_it_is_raised_where_the_function_awaits_and_only_once() -> None:
    async def work() -> str:
        try:
            await asyncio.sleep(LONG)
        except SoftTimeout as error:
            await asyncio.sleep(0.001)
            return str(error)
        return "never"

    assert (await struck(work))[0] == "the soft timeout of 5 s is over"


async def test_it_reaches_through_timeouts_groups_and_gathers() -> None:
    ended: list[str] = []

    async def child(name: str) -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            ended.append(name)

    async def grouped() -> str:
        try:
            async with asyncio.timeout(LONG), asyncio.TaskGroup() as group:
                group.create_task(child("a"))
                group.create_task(child("b"))
        except SoftTimeout:
            return "group"
        return "never"

    async def gathered() -> str:
        try:
            await asyncio.gather(child("c"), child("d"))
        except SoftTimeout:
            return "gather"
        return "never"

    assert (await struck(grouped))[0] == "group"
    assert (await struck(gathered))[0] == "gather"
    assert sorted(ended) == ["a", "b", "c", "d"], "no child is left running"


async def test_with_a_timeout_of_the_function_s_own_in_the_same_moment() -> None:
    """Both cancel the task before it runs: it meets one error, and is not cancelled after it."""
    soft = Soft(5, raises=True)
    seen: list[str] = []

    async def work() -> None:
        try:
            async with asyncio.timeout(None) as own:
                owns.append(own)
                await asyncio.sleep(LONG)
        except TimeoutError:
            seen.append("own")
        except SoftTimeout:
            seen.append("soft")
        await asyncio.sleep(0.001)
        seen.append("goes on")

    owns: list[asyncio.Timeout] = []

    async def drive() -> None:
        await soft.drive(work())

    task = asyncio.create_task(drive())
    await asyncio.sleep(0.01)
    loop = asyncio.get_running_loop()
    owns[0].reschedule(loop.time())
    await asyncio.sleep(0)  # its handler is called in this turn or the next
    soft.strike(task)
    await asyncio.wait_for(task, 20)
    assert seen == ["soft", "goes on"], "the outer one"
    assert task.cancelling() == 0


async def test_a_stop_in_the_same_moment_is_not_taken_for_it() -> None:
    soft = Soft(5, raises=True)

    async def work() -> None:
        await asyncio.sleep(LONG)

    async def drive() -> None:
        await soft.drive(work())

    task = asyncio.create_task(drive())
    await asyncio.sleep(0)
    soft.strike(task)
    soft.give_way()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert not isinstance(caught.value, SoftTimeout)


async def test_a_cancellation_by_somebody_else_stays_one() -> None:
    soft = Soft(5, raises=True)

    async def work() -> None:
        await asyncio.sleep(LONG)

    async def drive() -> None:
        await soft.drive(work())

    task = asyncio.create_task(drive())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert not isinstance(caught.value, SoftTimeout)


async def test_without_raising_only_the_event_is_set() -> None:
    async def work() -> str:
        await asyncio.sleep(0.01)
        return "whole"

    value, soft = await struck(work, raises=False)
    assert (value, soft.event.is_set()) == ("whole", True)


async def test_results_errors_and_values_pass_through() -> None:
    soft = Soft(5, raises=True)

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("a")

    async def returns() -> int:
        await asyncio.sleep(0)
        return await asyncio.wait_for(asyncio.sleep(0, 7), 20)

    assert await soft.drive(returns()) == 7
    with pytest.raises(KeyError):
        await soft.drive(fails())
    assert not soft.driving


async def test_the_chain_of_a_task_that_is_done_or_gone_is_empty() -> None:
    async def nothing() -> None: ...

    task = asyncio.create_task(nothing())
    await task
    assert chain_of(task) == ()
    assert chain_of(None) == ()
