"""The supervisor of worker processes: starts, restarts, signals, ends, no orphans."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from jobs.engine import supervisor as module
from jobs.engine.supervisor import PARENT_FD, Supervisor, end_with_parent
from tests.helpers.source import ROOT
from tests.helpers.waiting import wait_until, wait_until_sync

#: A child: notes its start and each signal that it hears, and ends with 0 at the first one.
#: Its handlers do nothing. One that wrote or raised could interrupt itself: a signal may come
#: while another is noted, or just before the wait begins, which then does not end.
CHILD = """
import os, signal
ENDS_AT = 1
heard, tell = os.pipe()
os.set_blocking(tell, False)
signal.set_wakeup_fd(tell)
for signum in (signal.SIGTERM, signal.SIGINT):
    signal.signal(signum, lambda *_: None)
def note(line):
    with open("log", "a") as log:
        log.write(f"{line}\\n")
note("start")
for _ in range(ENDS_AT):
    note(signal.Signals(os.read(heard, 1)[0]).name)
"""

#: A child that really supervises its end by the pipe, as a worker does.
ORPHAN = f"from jobs.engine.supervisor import end_with_parent\nend_with_parent()\n{CHILD}"


def lines(folder: Path) -> list[str]:
    path = folder / "log"
    return path.read_text().split() if path.exists() else []


def supervise(code: str, processes: int = 1, **options: object) -> Supervisor:
    return Supervisor([sys.executable, "-c", code], processes, **options)  # type: ignore[arg-type]  # by name


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


async def test_it_starts_so_many_and_stops_them(here: Path) -> None:
    parent = supervise(CHILD, 3)
    running = asyncio.create_task(parent.run())
    await wait_until(lambda: lines(here) == ["start"] * 3, description="three started")
    assert len(set(parent.pids)) == 3
    parent.stop(signal.SIGTERM)
    assert await running == 0
    assert lines(here)[3:] == ["SIGTERM"] * 3
    assert parent.pids == []


async def test_it_passes_on_real_signals_and_gives_back_the_handlers(here: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    running = asyncio.create_task(supervise(CHILD, 2).run())
    await wait_until(lambda: lines(here) == ["start"] * 2, description="two started")
    os.kill(os.getpid(), signal.SIGINT)
    assert await running == 0
    assert lines(here)[2:] == ["SIGINT"] * 2
    assert signal.getsignal(signal.SIGINT) is before


async def test_a_second_signal_is_passed_on_too(here: Path) -> None:
    """A child may need the second one, to cut its grace short."""
    parent = supervise(CHILD.replace("ENDS_AT = 1", "ENDS_AT = 2"))
    running = asyncio.create_task(parent.run())
    await wait_until(lambda: lines(here) == ["start"], description="it started")
    parent.stop(signal.SIGTERM)
    await wait_until(lambda: "SIGTERM" in lines(here), description="the first has come")
    assert not running.done()
    parent.stop(signal.SIGINT)
    assert await running == 0
    assert lines(here) == ["start", "SIGTERM", "SIGINT"]


async def test_a_crashed_child_starts_again_later_and_later(here: Path) -> None:
    crash = "import time; open('log', 'a').write(f'{time.monotonic()}\\n'); raise SystemExit(9)"
    parent = supervise(crash, first_wait_s=0.1, longest_wait_s=0.3)
    running = asyncio.create_task(parent.run())
    await wait_until(
        lambda: len(lines(here)) >= 5 and not parent.pids, description="five ends", timeout=20
    )
    parent.stop()
    assert await running == 9
    times = [float(text) for text in lines(here)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[0] >= 0.1
    assert gaps[1] >= 0.2
    assert all(gap >= 0.3 for gap in gaps[2:4])


async def test_a_child_that_was_healthy_starts_again_soon(here: Path) -> None:
    crash = "import time; open('log', 'a').write('start\\n'); time.sleep(0.15); raise SystemExit(9)"
    parent = supervise(crash, first_wait_s=0.01, longest_wait_s=60, healthy_s=0.1)
    running = asyncio.create_task(parent.run())
    await wait_until(lambda: len(lines(here)) >= 6, description="six starts", timeout=15)
    parent.stop()
    assert await running in {0, 9}


async def test_a_killed_child_is_replaced_while_the_others_go_on(here: Path) -> None:
    parent = supervise(CHILD, 2, first_wait_s=0.01)
    running = asyncio.create_task(parent.run())
    await wait_until(lambda: lines(here) == ["start"] * 2, description="two started")
    kept, killed = parent.pids
    os.kill(killed, signal.SIGKILL)
    await wait_until(lambda: lines(here) == ["start"] * 3, description="a third started")
    assert kept in parent.pids
    assert killed not in parent.pids
    parent.stop()
    assert await running == 0


@pytest.mark.parametrize("code", [2, 6])
async def test_a_child_that_cannot_work_ends_all(code: int, here: Path) -> None:
    """One of two finds the configuration wrong; the other is stopped in order."""
    one = (
        "import os\ntry: os.open('good', os.O_CREAT | os.O_EXCL)\n"
        f"except FileExistsError: raise SystemExit({code})\n"
    )
    parent = supervise(one + CHILD, 2)
    assert await asyncio.wait_for(parent.run(), 10) == code
    assert parent.pids == []


async def test_a_burst_is_over_when_its_children_are(here: Path) -> None:
    parent = supervise("open('log', 'a').write('start\\n')", 2, once=True)
    assert await asyncio.wait_for(parent.run(), 10) == 0
    assert lines(here) == ["start"] * 2


async def test_a_crashed_burst_is_repeated(here: Path) -> None:
    code = "open('log', 'a').write('start\\n'); raise SystemExit(len(open('log').read()) < 12)"
    parent = supervise(code, once=True, first_wait_s=0.01)
    assert await asyncio.wait_for(parent.run(), 10) == 0
    assert lines(here) == ["start"] * 2


async def test_reload_starts_all_anew(here: Path) -> None:
    parent = supervise(CHILD, 2, first_wait_s=30)
    running = asyncio.create_task(parent.run())
    await wait_until(lambda: lines(here) == ["start"] * 2, description="two started")
    old = parent.pids
    parent.reload(["settings.py"])
    await wait_until(lambda: lines(here).count("start") == 4, description="two new ones")
    assert not set(old) & set(parent.pids)
    parent.stop()
    assert await running == 0


async def test_broken_code_waits_for_a_change(here: Path) -> None:
    code = "open('log', 'a').write('try\\n')\nif not __import__('os').path.exists('ok'): "
    parent = supervise(code + "raise SystemExit(2)\n" + CHILD, waits_for_change=True)
    running = asyncio.create_task(parent.run())
    await wait_until(lambda: lines(here) == ["try"] and not parent.pids, description="it failed")
    (here / "ok").touch()
    parent.reload()
    await wait_until(lambda: lines(here) == ["try", "try", "start"], description="it works")
    parent.stop()
    assert await running == 0


async def test_stop_does_not_wait_for_a_change(here: Path) -> None:
    parent = supervise("raise SystemExit(2)", waits_for_change=True)
    running = asyncio.create_task(parent.run())
    await asyncio.sleep(0)
    await wait_until(lambda: not parent.pids, description="it failed")
    parent.stop()
    assert await asyncio.wait_for(running, 20) in {0, 2}


def test_children_end_when_the_parent_is_killed(here: Path) -> None:
    code = (
        "import asyncio, sys; from jobs.engine.supervisor import Supervisor; "
        f"asyncio.run(Supervisor([sys.executable, '-c', {ORPHAN!r}], 2).run())"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_until_sync(lambda: lines(here) == ["start"] * 2, description="two started", timeout=10)
    parent.kill()
    parent.wait()
    wait_until_sync(
        lambda: lines(here)[2:] == ["SIGTERM"] * 2, description="both have ended", timeout=10
    )


def test_without_a_parent_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PARENT_FD, raising=False)
    end_with_parent()
    monkeypatch.setenv(PARENT_FD, "nonsense")
    end_with_parent()
    assert PARENT_FD not in os.environ


def test_the_waits_are_the_promised_ones() -> None:
    assert (module.FIRST_WAIT_S, module.LONGEST_WAIT_S, module.HEALTHY_S) == (0.5, 30, 60)
