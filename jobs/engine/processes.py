"""The pool of processes of a worker, for functions with `executor="process"`.

The pool is ours because the others cannot do what jobs need: with `concurrent.futures` and loky
the death of one process breaks the whole pool, and neither can stop one running call.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from jobs.context import Context
from jobs.engine import process_child
from jobs.engine.process_handle import Process
from jobs.engine.process_wire import Boot, dumps
from jobs.errors import ConfigurationError, InvalidOption, ProcessDied
from jobs.registry import Function
from jobs.tasks import end_tasks

logger = logging.getLogger("jobs.processes")

MOST_PROCESSES = 1000
#: An idle process is gone within a moment, unless its own clean-up takes long.
_IDLE_END_S = 1.0


class ProcessPool:
    """Duties: 1. start processes when jobs need them, up to a number; 2. give each of them one job
    at a time, first come, first served; 3. replace those that were killed or died.

    No process is started before the first job that needs one.

    Args:
        functions: those of the worker; the pool runs the ones with `executor="process"`.
        max_processes: how many at most; default one for each CPU that this process may use.

    Raises:
        InvalidOption: `max_processes` is no number that can be.
        ConfigurationError: inside such a process.
    """

    def __init__(self, functions: Iterable[Function], max_processes: int | None = None) -> None:
        if process_child.inside():
            raise ConfigurationError(
                "a worker was started by importing its script: put the start under "
                '`if __name__ == "__main__":`'
            )
        self.size = process_count(max_processes)
        self._functions = {
            f.name: (f.call.__module__, f.call.__qualname__) for f in functions if f.in_process
        }
        self._processes: set[Process] = set()
        self._idle: list[Process] = []
        self._waiting: deque[asyncio.Future[Process]] = deque()
        self._starts: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The ids of the living processes."""
        return [process.pid for process in self._processes if process.pid]

    # -- jobs ------------------------------------------------------------------------------

    async def run(
        self,
        function: Function,
        context: Context,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Run a function in a process of the pool, and return what it returns.

        Cancelled, it kills the process and then raises; other processes are not disturbed.

        Raises:
            ProcessDied: the process died under the function.
            Fail: arguments or result that cannot pass between processes.
            BaseException: whatever the function raised.
        """
        async with self.process() as process:
            return await process.call(function.name, context, args, kwargs)

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Process]:
        """A process for one call, when one is free: the time of a job begins only then."""
        process = await self._free()
        try:
            yield process
        finally:
            self._give_back(process)

    async def _free(self) -> Process:
        while True:
            if self._closed:
                raise ProcessDied("the pool of processes is closed: the worker stops")
            process = self._idle.pop() if self._idle else await self._turn()
            if process.is_usable:
                return process

    async def _turn(self) -> Process:
        """Wait in line."""
        turn: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._grow()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._give_back(turn.result())  # it came at the same moment
            raise

    def _give_back(self, process: Process) -> None:
        if process.is_usable:
            self._offer(process)
        elif not process.ended.done():
            process.kill()  # it still runs what nobody waits for

    def _offer(self, process: Process) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(process)
                return
        self._idle.append(process)

    # -- processes -------------------------------------------------------------------------

    def _grow(self) -> None:
        """Start as many processes as jobs wait for, and as there may be."""
        waiting = sum(not turn.done() for turn in self._waiting)
        room = self.size - len(self._processes)
        for _ in range(min(waiting - len(self._starts), room)):
            process = Process(dumps(self._boot()))
            process.ended.add_done_callback(partial(self._on_end, process))
            self._processes.add(process)
            task = asyncio.create_task(self._start(process), name="jobs-process-start")
            self._starts.add(task)
            task.add_done_callback(self._starts.discard)

    async def _start(self, process: Process) -> None:
        try:
            _check_system()
            await process.start()
        except Exception as error:  # noqa: BLE001 -- told to a job that waits
            process.kill()
            self._starts.discard(asyncio.current_task())
            self._refuse(error)
        else:
            logger.info("process %d started, one of %d at most", process.pid, self.size)
            self._offer(process)

    def _refuse(self, error: Exception) -> None:
        """Fail the first job in line; the next one may have more luck."""
        logger.error("a process for jobs could not be started: %s", error)
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(error)
                break
        self._grow()

    def _on_end(self, process: Process, _: object) -> None:
        self._processes.discard(process)
        if process in self._idle:
            self._idle.remove(process)
            logger.warning("the idle process %d died; another one follows if needed", process.pid)
        if not self._closed:
            self._grow()

    def _boot(self) -> Boot:
        return Boot(self._functions, _main(), list(sys.argv), _levels())

    async def aclose(self, grace_s: float = 0) -> None:
        """End all processes: those that run something after `grace_s` seconds at most.

        Who waits for a process, or for a call that was cut off, is cancelled.
        """
        self._closed = True
        for turn in self._waiting:
            turn.cancel()
        await end_tasks(*self._starts)
        if grace_s > 0 and (answers := [p.answer for p in self._processes if p.answer]):
            await asyncio.wait(answers, timeout=grace_s)
        self._idle.clear()
        await asyncio.gather(*(process.end(_IDLE_END_S) for process in list(self._processes)))


def process_count(max_processes: int | None) -> int:
    """How many processes a pool may have.

    Raises:
        InvalidOption: no whole number from 1 on.
    """
    if max_processes is None:
        return usable_cpus()
    if type(max_processes) is not int or not 1 <= max_processes <= MOST_PROCESSES:
        raise InvalidOption(
            f"`max_processes` is a whole number from 1 to {MOST_PROCESSES:,}, not {max_processes!r}"
        )
    return max_processes


def usable_cpus() -> int:
    """How many CPUs this process may use; `taskset` and cpusets of containers count."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_system() -> None:
    if sys.platform == "win32":
        raise ConfigurationError('executor="process" needs Linux or macOS; use executor="thread"')


def _main() -> tuple[str, str] | None:
    """How another process finds this one's script."""
    main = sys.modules["__main__"]
    sys.modules.setdefault("__mp_main__", main)  # values come back under the name it has there
    if (spec := getattr(main, "__spec__", None)) is not None:
        return "name", spec.name
    path = getattr(main, "__file__", None)
    return None if path is None else ("path", os.path.abspath(path))  # noqa: PTH100 -- text for runpy


def _levels() -> dict[str, int]:
    """The levels of this process's loggers, so that no record travels in vain."""
    named = logging.getLogger().manager.loggerDict.items()
    levels = {name: item.level for name, item in named if isinstance(item, logging.Logger)}
    return {"": logging.getLogger().level} | {name: n for name, n in levels.items() if n}
