"""The pool of processes by itself: deaths, kills, its end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jobs import Context
from jobs.engine import process_handle
from jobs.engine.processes import ProcessPool
from jobs.errors import (
    ConfigurationError,
    ProcessDied,
)
from tests.helpers import cpu
from tests.helpers.pool import alive, do, make_pool, written
from tests.helpers.waiting import wait_until


@pytest.fixture
async def pool() -> AsyncIterator[ProcessPool]:
    pool = make_pool(2)
    yield pool
    await pool.aclose()


# -- deaths --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "value", "fate"),
    [
        ("signal", signal.SIGKILL, "died with signal 9 (SIGKILL): out of memory?"),
        ("signal", signal.SIGSEGV, "died with signal 11 (SIGSEGV)"),
        ("os_exit", 7, "ended with exit code 7: os._exit?"),
        ("os_exit", 0, "ended with exit code 0: os._exit?"),
    ],
)
async def test_a_death_fails_its_own_call_only(
    pool: ProcessPool, how: str, value: int, fate: str
) -> None:
    other = asyncio.create_task(do(pool, "sleep", 1))
    with pytest.raises(ProcessDied) as caught:
        await do(pool, how, value)
    assert str(caught.value) == f"the process that ran this job {fate}"
    assert await other == "woke"
    assert await do(pool, "ok", 1) == 1


async def test_a_function_that_closes_everything_fails(pool: ProcessPool) -> None:
    with pytest.raises(ProcessDied, match="closed its way to the worker and was killed"):
        await do(pool, "close")
    assert await do(pool, "ok", 1) == 1


async def test_an_idle_process_that_dies_is_replaced(
    pool: ProcessPool, caplog: pytest.LogCaptureFixture
) -> None:
    pid = await do(pool, "pid")
    os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: not pool.pids, description="the pool noticed")
    assert f"the idle process {pid} died" in caplog.text
    assert await do(pool, "pid") != pid


async def test_processes_that_cannot_start_fail_their_jobs(
    pool: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_handle, "_PROGRAM", "raise SystemExit(5)")
    calls = [asyncio.create_task(do(pool, "ok")) for _ in range(3)]
    done = await asyncio.gather(*calls, return_exceptions=True)
    expected = "a process for jobs ended with exit code 5: os._exit? before it could work"
    assert [str(error) for error in done] == [expected] * 3
    monkeypatch.undo()
    assert await do(pool, "ok", 1) == 1


async def test_a_process_that_hangs_at_its_start_is_given_up(
    pool: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_handle, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(process_handle, "START_S", 0.2)
    with pytest.raises(ProcessDied, match=r"was not ready after 0\.2 s"):
        await do(pool, "ok")


async def test_no_process_to_be_had_is_an_ordinary_error(
    pool: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(process_handle, "_spawn", refuse)
    with pytest.raises(OSError, match="no more processes"):
        await do(pool, "ok")
    monkeypatch.undo()
    assert await do(pool, "ok", 1) == 1


async def test_a_module_that_cannot_be_imported_fails_its_own_jobs(tmp_path: Path) -> None:
    """Found in the worker, not in its process."""
    from dataclasses import replace

    def gone(ctx: Context) -> None: ...

    gone.__module__, gone.__qualname__ = "tests.helpers.no_such_module", "gone"
    lost = replace(cpu.compute.function, name="lost", call=gone)

    def moved(ctx: Context) -> None: ...

    moved.__module__, moved.__qualname__ = "tests.helpers.cpu", "moved"
    away = replace(cpu.compute.function, name="away", call=moved)
    pool = ProcessPool([lost, away, cpu.compute.function], 1)
    try:
        with pytest.raises(ModuleNotFoundError, match="no_such_module"):
            await pool.run(lost, Context(), (), {})
        with pytest.raises(ConfigurationError, match=r"tests\.helpers\.cpu has no moved"):
            await pool.run(away, Context(), (), {})
        assert await do(pool, "ok", 1) == 1
    finally:
        await pool.aclose()


# -- kills ---------------------------------------------------------------------------------


async def test_a_cancelled_call_is_over_when_its_process_is_gone(
    pool: ProcessPool, tmp_path: Path
) -> None:
    other = asyncio.create_task(do(pool, "sleep", 1.5))
    task = asyncio.create_task(do(pool, "hold", str(tmp_path / "mark")))
    pid = await written(tmp_path / "mark")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(pid)
    assert (tmp_path / "mark.cleaned").exists(), "`finally` ran"
    assert await other == "woke"
    assert pid not in {await do(pool, "pid"), await do(pool, "pid")}


async def test_an_order_that_was_not_heard_is_said_again(pool: ProcessPool, tmp_path: Path) -> None:
    """A signal just before a wait begins does not end it; `finally` must run all the same."""
    task = asyncio.create_task(do(pool, "miss", str(tmp_path / "mark")))
    await written(tmp_path / "mark")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "mark.cleaned").exists()


async def test_a_stubborn_function_is_killed(pool: ProcessPool, tmp_path: Path) -> None:
    task = asyncio.create_task(do(pool, "stubborn", str(tmp_path / "mark")))
    pid = await written(tmp_path / "mark")
    begun = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert process_handle.KILL_GRACE_S <= time.monotonic() - begun < 4
    assert not alive(pid)


async def test_a_second_cancellation_hurries(pool: ProcessPool, tmp_path: Path) -> None:
    task = asyncio.create_task(do(pool, "stubborn", str(tmp_path / "mark")))
    pid = await written(tmp_path / "mark")
    begun = time.monotonic()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < process_handle.KILL_GRACE_S
    assert not alive(pid)


async def test_a_frozen_process_is_killed(pool: ProcessPool, tmp_path: Path) -> None:
    task = asyncio.create_task(do(pool, "hold", str(tmp_path / "mark")))
    pid = await written(tmp_path / "mark")
    os.kill(pid, signal.SIGSTOP)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(pid)


async def test_what_a_function_started_ends_with_it(pool: ProcessPool, tmp_path: Path) -> None:
    task = asyncio.create_task(do(pool, "parent", str(tmp_path / "mark")))
    grandchild = await written(tmp_path / "mark")
    assert alive(grandchild)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until(lambda: not alive(grandchild), description="the program ended too")


async def test_signals_of_others_do_not_end_a_function(pool: ProcessPool) -> None:
    """systemd sends SIGTERM to every process of a service, a terminal SIGINT to its group."""
    pid = await do(pool, "pid")
    task = asyncio.create_task(do(pool, "sleep", 0.5))
    await asyncio.sleep(0.1)
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    assert await task == "woke"
    assert await do(pool, "pid") == pid


async def test_a_fork_made_by_a_function_obeys_signals(pool: ProcessPool) -> None:
    assert await do(pool, "fork") == -signal.SIGTERM
    assert await do(pool, "ok", 1) == 1


async def test_who_stops_waiting_for_a_process_disturbs_nobody(pool: ProcessPool) -> None:
    running = [asyncio.create_task(do(pool, "sleep", 0.4)) for _ in range(2)]
    await wait_until(lambda: len(pool.pids) == 2, description="both are started")
    waiting = [asyncio.create_task(do(pool, "ok", number)) for number in range(4)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[2].cancel()
    done = await asyncio.gather(*running, *waiting, return_exceptions=True)
    assert [done[0], done[1], done[3], done[5]] == ["woke", "woke", 1, 3]
    assert all(isinstance(done[at], asyncio.CancelledError) for at in (2, 4))


async def test_the_time_of_a_call_begins_when_a_process_is_free() -> None:
    pool = make_pool(1)
    running = asyncio.create_task(do(pool, "sleep", 0.3))
    await asyncio.sleep(0)
    begun = time.monotonic()
    async with pool.process() as process:
        assert running.done() or time.monotonic() - begun >= 0.25
        assert await process.call("compute", Context(), ("ok", 1), {}) == 1
    assert await running == "woke"
    await pool.aclose()


# -- the end -------------------------------------------------------------------------------


async def test_a_closed_pool_leaves_nothing(tmp_path: Path) -> None:
    pool = make_pool(2)
    await asyncio.gather(do(pool, "sleep", 0.2), do(pool, "sleep", 0.2))
    pids = pool.pids
    assert len(pids) == 2
    begun = time.monotonic()
    await pool.aclose()
    assert time.monotonic() - begun < process_handle.KILL_GRACE_S
    assert not any(map(alive, pids))
    with pytest.raises(ProcessDied, match="the pool of processes is closed"):
        await do(pool, "ok")
    await pool.aclose()


async def test_an_end_gives_running_calls_their_grace(tmp_path: Path) -> None:
    pool = make_pool(2)
    await asyncio.gather(do(pool, "sleep", 0.1), do(pool, "sleep", 0.1))
    short = asyncio.create_task(do(pool, "sleep", 0.2))
    long = asyncio.create_task(do(pool, "hold", str(tmp_path / "mark")))
    waits = asyncio.create_task(do(pool, "ok"))
    pid = await written(tmp_path / "mark")
    await pool.aclose(grace_s=0.5)
    done = await asyncio.gather(short, long, waits, return_exceptions=True)
    assert done[0] == "woke"
    assert all(isinstance(error, asyncio.CancelledError) for error in done[1:])
    assert not alive(pid)
    assert (tmp_path / "mark.cleaned").exists()


async def test_a_pool_can_be_closed_while_processes_start() -> None:
    pool = make_pool(2)
    calls = [asyncio.create_task(do(pool, "ok")) for _ in range(2)]
    await asyncio.sleep(0.01)
    await pool.aclose()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(error, asyncio.CancelledError) for error in done)
    assert pool.pids == []


async def test_an_unused_pool_costs_nothing_to_close() -> None:
    await make_pool(2).aclose(grace_s=5)
