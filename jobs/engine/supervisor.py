"""Keeps several worker processes running.

Duties:

1. Start the children, each in a session of its own: Ctrl-C in a terminal reaches this process
   alone, which passes it on once for each time that it came (a second signal cuts the grace short).
2. Start a child that crashed again, after 0.5 s, then 1 s, 2 s … up to 30 s; a child that lived
   for a minute starts at 0.5 s again.
3. Give up when a child cannot work as it is configured: stop the others, end with its code.
4. Restart all on `reload`, one after the other done with its jobs.
5. Leave no orphans, also when this process is SIGKILLed: the children hold the reading end of a
   pipe whose writing end nobody else has, and stop in order when it closes (`end_with_parent`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from signal import Signals

from jobs import clock

logger = logging.getLogger("jobs.supervisor")

FIRST_WAIT_S, LONGEST_WAIT_S, HEALTHY_S = 0.5, 30.0, 60.0
#: Exit codes of children that another start would not help: bad settings, refused.
FINAL_CODES = frozenset({2, 6})
#: Ended by our own signal before it could catch one: no failure.
STOPPED_EARLY = frozenset({128 + signal.SIGINT, 128 + signal.SIGTERM})
#: Names the file descriptor on which a child notices that its parent is gone.
PARENT_FD = "JOBS_SUPERVISOR_FD"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Supervisor:
    """Runs `processes` children with the same command.

    Args:
        command: what a child runs.
        processes: how many, 1 or more.
        environment: the environment of the children; default that of this process.
        once: a child that ends with 0 is done (a burst); by default it is started again.
        waits_for_change: whether a child that cannot work as configured waits for `reload`
            instead of ending everything; for development.
        first_wait_s, longest_wait_s, healthy_s: the waits of duty 2.
    """

    def __init__(  # noqa: PLR0913 -- options, each by name
        self,
        command: Sequence[str],
        processes: int,
        *,
        environment: Mapping[str, str] | None = None,
        once: bool = False,
        waits_for_change: bool = False,
        first_wait_s: float = FIRST_WAIT_S,
        longest_wait_s: float = LONGEST_WAIT_S,
        healthy_s: float = HEALTHY_S,
    ) -> None:
        self._command = list(command)
        self._environment = dict(os.environ if environment is None else environment)
        self._once, self._waits_for_change = once, waits_for_change
        self._waits = (first_wait_s, longest_wait_s, healthy_s)
        self._slots = [_Slot() for _ in range(processes)]
        self._stopping = asyncio.Event()
        self._reading_end = -1

    @property
    def pids(self) -> list[int]:
        """The process ids of the children that run."""
        return [slot.process.pid for slot in self._slots if slot.process is not None]

    async def run(self) -> int:
        """Keep the children running until stopped; the worst of their last exit codes."""
        self._reading_end, writing_end = os.pipe()
        loop = asyncio.get_running_loop()
        before = {signum: signal.getsignal(signum) for signum in _SIGNALS}
        for signum in _SIGNALS:
            loop.add_signal_handler(signum, self.stop, signum)
        try:
            keepers = (self._keep(slot, number) for number, slot in enumerate(self._slots, 1))
            return max(await asyncio.gather(*keepers))
        finally:
            for signum, handler in before.items():
                loop.remove_signal_handler(signum)
                signal.signal(signum, handler)
            os.close(writing_end)
            os.close(self._reading_end)

    def stop(self, signum: Signals = signal.SIGTERM) -> None:
        """Pass a signal on to every child and start none again."""
        again = " again" if self._stopping.is_set() else ""
        logger.info("%s%s: stopping %d workers", Signals(signum).name, again, len(self.pids))
        self._stopping.set()
        for slot in self._slots:
            slot.send(signum)

    def reload(self, changed: Sequence[str] = ()) -> None:
        """Let every child finish its jobs and end, and start it anew."""
        logger.info("%s changed: restarting the workers", ", ".join(changed) or "something")
        for slot in self._slots:
            slot.fresh.set()
            slot.send(signal.SIGTERM)

    # -- one child -------------------------------------------------------------------------

    async def _keep(self, slot: _Slot, number: int) -> int:
        """Run one child after the other; the last one's exit code."""
        code, wait_s = 0, self._waits[0]
        while not self._stopping.is_set():
            slot.fresh.clear()
            began = clock.mono()
            code = await self._run_child(slot, number)
            if self._stopping.is_set() or (self._once and code == 0):
                code = 0 if code in STOPPED_EARLY else code
                break
            if slot.fresh.is_set():
                wait_s = self._waits[0]
                continue
            if code in FINAL_CODES:
                if not await self._outlast(slot, number, code):
                    break
                continue
            if clock.mono() - began >= self._waits[2]:
                wait_s = self._waits[0]
            logger.error("worker %d ended with %d; again in %g s", number, code, wait_s)
            await self._pause(slot, wait_s)
            wait_s = min(wait_s * 2, self._waits[1])
        return code

    async def _run_child(self, slot: _Slot, number: int) -> int:
        process = slot.start(self._command, self._environment, self._reading_end)
        logger.info("worker %d started: process %d", number, process.pid)
        try:
            return await _ended(process)
        finally:
            slot.process = None

    async def _outlast(self, slot: _Slot, number: int, code: int) -> bool:
        """What follows when a child cannot work: wait for a change, or stop everything."""
        if not self._waits_for_change:
            logger.error("worker %d cannot run (exit code %d): stopping all", number, code)
            self.stop()
            return False
        logger.error("worker %d cannot run (exit code %d): waiting for a change", number, code)
        await self._pause(slot, None)
        return True

    async def _pause(self, slot: _Slot, seconds: float | None) -> None:
        """Wait until the time is over, a reload is asked for, or everything stops."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._stopping, slot.fresh)]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


class _Slot:
    """The place of one child: its process while it runs, and whether a new one is wanted."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.fresh = asyncio.Event()

    def start(
        self, command: list[str], environment: Mapping[str, str], reading_end: int
    ) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(  # noqa: S603 -- the caller's own command
            command,
            env={**environment, PARENT_FD: str(reading_end)},
            pass_fds=(reading_end,),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
        )
        return self.process

    def send(self, signum: int) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signum)


async def _ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a child, in the shells' way: 128 and the number of a signal.

    A thread waits for it: asyncio's own children need a watcher that other loops may have taken.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[int] = loop.create_future()

    def tell(code: int) -> None:
        if not done.done():
            done.set_result(code)

    def wait() -> None:
        code = process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(tell, code)

    threading.Thread(target=wait, name=f"jobs-child-{process.pid}", daemon=True).start()
    code = await done
    return code if code >= 0 else 128 - code


def end_with_parent() -> None:
    """In a child: stop in order when the supervisor is gone, however it ended."""
    number = os.environ.pop(PARENT_FD, "")
    if not number.isdigit():
        return

    def wait() -> None:
        with contextlib.suppress(OSError):
            os.read(int(number), 1)
        logger.warning("the supervisor is gone: stopping")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="supervisor-watch", daemon=True).start()
