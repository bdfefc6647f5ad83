"""No process of a pool outlives its worker, however that ended; and scripts may hold functions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.pool import alive
from tests.helpers.source import ROOT
from tests.helpers.waiting import wait_until_sync

#: A worker's part that matters here: a loop with a pool, and functions in the script itself.
SCRIPT = """
import asyncio, os, subprocess, sys, time
from jobs import Context, job
from jobs.engine.processes import ProcessPool

class Value:
    def __init__(self, text): self.text = text

@job("hold", executor="process")
def hold(ctx: Context, folder: str) -> None:
    child = subprocess.Popen(["sleep", "60"])
    with open(f"{folder}/pids.tmp", "w") as out:
        out.write(f"{os.getpid()} {child.pid}")
    os.rename(f"{folder}/pids.tmp", f"{folder}/pids")
    time.sleep(60)

@job("value", executor="process")
def value(ctx: Context) -> Value:
    return Value(__name__)

async def main():
    pool = ProcessPool([hold.function, value.function], 1)
    back = await pool.run(value.function, Context(), (), {})
    print(type(back) is Value, back.text, flush=True)
    if len(sys.argv) > 1:
        await pool.run(hold.function, Context(), (sys.argv[1],), {})
    await pool.aclose()
"""
GUARD = 'if __name__ == "__main__":\n    asyncio.run(main())\n'


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "played_again.py"
    path.write_text(textwrap.dedent(SCRIPT) + GUARD)
    return path


def start(*command: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def holding(script: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A worker whose function runs, and the ids of its process and of what that started."""
    worker = start(str(script), str(tmp_path), cwd=tmp_path)
    pids = tmp_path / "pids"
    wait_until_sync(pids.exists, description="the function runs", timeout=30)
    found = [int(pid) for pid in pids.read_text().split()]
    assert all(map(alive, found))
    try:
        yield worker, found
    finally:
        worker.kill()
        worker.communicate()


def test_a_killed_worker_leaves_no_process(
    holding: tuple[subprocess.Popen[str], list[int]],
) -> None:
    """SIGKILL: nobody is left to tell them; the pipe is closed, which is enough."""
    worker, pids = holding
    worker.kill()
    wait_until_sync(
        lambda: not any(map(alive, pids)), description="all are gone", timeout=10, poll=0.02
    )


def test_ctrl_c_reaches_the_worker_alone(
    holding: tuple[subprocess.Popen[str], list[int]],
) -> None:
    """Processes have sessions of their own: a terminal's SIGINT goes to the worker's group."""
    worker, pids = holding
    assert os.getpgid(pids[0]) == pids[0] != os.getpgid(worker.pid)
    assert os.getpgid(pids[1]) == pids[0]
    os.killpg(worker.pid, signal.SIGINT)
    out, _ = worker.communicate(timeout=20)
    assert "KeyboardInterrupt" in out
    wait_until_sync(lambda: not any(map(alive, pids)), description="all are gone", timeout=10)


@pytest.mark.parametrize("how", ["path", "name"])
def test_functions_of_the_script_itself_are_found(script: Path, tmp_path: Path, how: str) -> None:
    """`python script.py` and `python -m script`, as with multiprocessing."""
    command = [script.name] if how == "path" else ["-m", script.stem]
    worker = start(*command, cwd=tmp_path)
    out, _ = worker.communicate(timeout=50)
    assert (out, worker.returncode) == ("True __mp_main__\n", 0)


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    """Its worker would start again in each of its processes."""
    path = tmp_path / "unguarded.py"
    path.write_text(textwrap.dedent(SCRIPT) + "asyncio.run(main())\n")
    worker = start(path.name, cwd=tmp_path)
    out, _ = worker.communicate(timeout=50)
    assert 'put the start under `if __name__ == "__main__":`' in out
    assert worker.returncode == 1


def test_functions_typed_into_a_session_are_not_found(tmp_path: Path) -> None:
    worker = start("-c", textwrap.dedent(SCRIPT) + GUARD, cwd=tmp_path)
    out, _ = worker.communicate(timeout=50)
    assert "the function 'value' is not where it was declared: __main__ has no value" in out
