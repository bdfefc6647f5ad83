"""The search for what a test left behind: tasks, child processes, threads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path

from tests.helpers.waiting import wait_until, wait_until_sync

GRACE_S = 5.0
"""How long leftovers may need to end by themselves: closing transports, dying children."""

HELPERS_OF_PYTHON = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Started once by the standard library and kept until the interpreter ends."""


async def assert_no_task_left() -> None:
    """Fail, naming them, if other tasks than the caller's live on in this loop."""

    def others() -> set[asyncio.Task[object]]:
        return asyncio.all_tasks() - {asyncio.current_task()}

    with contextlib.suppress(AssertionError):
        await wait_until(lambda: not others(), description="no task is left", timeout=GRACE_S)
    left = others()
    assert not left, f"tasks left running: {[f'{t.get_name()}: {t.get_coro()}' for t in left]}"


def assert_no_child_left(known: set[int]) -> None:
    """Fail, naming them, if this process has children beside the known ones; and end those."""
    with contextlib.suppress(AssertionError):
        wait_until_sync(lambda: not _strays(known), description="no child is left", timeout=GRACE_S)
    left = _strays(known)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left, f"child processes left running: {left}"


def assert_no_thread_left(known: set[threading.Thread]) -> None:
    """Fail, naming them, if threads of this package live on beside the known ones."""
    with contextlib.suppress(AssertionError):
        wait_until_sync(
            lambda: not own_threads() - known, description="no thread is left", timeout=GRACE_S
        )
    left = [thread.name for thread in own_threads() - known]
    assert not left, f"threads left running: {left}"


def own_threads() -> set[threading.Thread]:
    """The living threads of this package: their names begin with `jobs-`."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("jobs-")}


def children() -> set[int]:
    """The process ids of this process's children, dead ones that nobody waited for included."""
    tasks = Path("/proc/self/task")
    with contextlib.suppress(OSError):
        return {int(pid) for task in tasks.iterdir() for pid in _children_of(task)}
    me = str(os.getpid())
    listed = subprocess.run(["pgrep", "-P", me], capture_output=True, text=True, check=False)
    return {int(pid) for pid in listed.stdout.split()}


def _children_of(task: Path) -> list[str]:
    try:
        return (task / "children").read_text().split()
    except ProcessLookupError:  # the thread ended since it was listed
        return []


def _strays(known: set[int]) -> dict[int, str]:
    commands = {pid: _command(pid) for pid in children() - known}
    return {
        pid: command
        for pid, command in commands.items()
        if not any(helper in command for helper in HELPERS_OF_PYTHON)
    }


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        return raw.replace(b"\0", b" ").decode(errors="replace") or "(dead, nobody waited for it)"
    return "(unknown)"
