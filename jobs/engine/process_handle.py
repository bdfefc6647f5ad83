"""One process of the pool, as its worker sees it: its life, and the one call that it runs."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Any, cast

from jobs.context import Context
from jobs.engine.process_child import unsendable
from jobs.engine.process_wire import FACTS, Frames, Kind, Parcel, dumps, frame, loads, unpack
from jobs.errors import Fail, ProcessDied
from jobs.notes import capture_here, captured

logger = logging.getLogger("jobs.processes")

#: A new process imports the application within this time, or is given up.
START_S = 60.0
#: From the order to end to SIGKILL: time for `finally` clauses.
KILL_GRACE_S = 1.0
#: After SIGKILL only the kernel can hold a process; nobody waits longer than this for it.
KILLED_S = 5.0
#: What a dead process has sent is read within this time.
_LAST_WORDS_S = 0.5

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from jobs.engine.process_child import main; main(int(sys.argv[1]), int(sys.argv[3]))"
)


class Process(asyncio.Protocol):
    """Duties: 1. start a fresh interpreter ("spawn"): nothing of the worker's threads, loop and
    connections is in it; 2. hand it one call at a time; 3. end it for sure, and whatever it has
    started; 4. know that it died, and of what.

    Args:
        boot: its first frame, see `Boot`.
    """

    def __init__(self, boot: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._boot = boot
        self._popen: subprocess.Popen[bytes] | None = None
        self._leash = -1
        self._reaped = False
        self._lock = threading.Lock()
        self._transport: asyncio.Transport | None = None
        self._frames = Frames()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._answer: asyncio.Future[tuple[Kind, bytes] | None] | None = None
        self._context: Context | None = None
        self._capture: tuple[Context, int] | None = None
        self._code: int | None = None
        self._stopping = False
        self._broken = ""
        #: Done when the process is gone.
        self.ended: asyncio.Future[None] = self._loop.create_future()

    @property
    def pid(self) -> int:
        """The process id; 0 before the start."""
        return self._popen.pid if self._popen else 0

    @property
    def answer(self) -> asyncio.Future[tuple[Kind, bytes] | None] | None:
        """What the call in progress will be; `None` when there is none."""
        return self._answer

    @property
    def is_usable(self) -> bool:
        """Whether it can take a call now."""
        ready = self._ready.done() and self._answer is None
        return ready and not self._stopping and self._code is None and not self.ended.done()

    # -- start -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Start it, and return when it can take a call.

        Raises:
            ProcessDied: it did not get so far.
            OSError: the system gives no more processes.
        """
        try:
            await self._open()
            events = [self._ready, self.ended]
            await asyncio.wait(events, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        except CancelledError:
            await self.end(0)
            raise
        if self.ended.done():
            raise ProcessDied(f"a process for jobs {self._fate()} before it could work")
        if not self._ready.done():
            await self.end(0)
            raise ProcessDied(f"a process for jobs was not ready after {START_S:g} s")

    async def _open(self) -> None:
        ours, theirs = socket.socketpair()
        leash, self._leash = os.pipe()
        try:
            with theirs:
                self._popen = _spawn(theirs.fileno(), leash)
        except BaseException:
            ours.close()
            self._finish()
            raise
        finally:
            os.close(leash)
        name = f"jobs-process-{self.pid}"
        threading.Thread(target=self._wait, args=(self._popen,), name=name, daemon=True).start()
        ours.settimeout(0)
        await self._loop.create_unix_connection(lambda: self, sock=ours)
        self._say(Kind.boot, self._boot)

    def _wait(self, popen: subprocess.Popen[bytes]) -> None:
        """In a thread: wait for the end. asyncio's own way needs the loop's child watcher, which
        an application may have replaced; and the socket may be held open by grandchildren.
        """
        with suppress(ChildProcessError, AttributeError):  # macOS has it from Python 3.13 on
            os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            _kill_group(popen.pid)  # what the function started ends with it
            code = popen.wait()
            self._reaped = True
        with suppress(RuntimeError):  # the loop is closed: nobody asks any more
            self._loop.call_soon_threadsafe(self._died, code)

    # -- one call --------------------------------------------------------------------------

    async def call(
        self, name: str, context: Context, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Run a function in the process; cancelled, return when the process is gone.

        Raises:
            ProcessDied: the process died under it.
            Fail: arguments or result that cannot pass between processes.
            BaseException: whatever the function raised.
        """
        facts = {fact: getattr(context, fact) for fact in FACTS}
        facts |= {"due_ms": context["score"], "headers": dict(context.headers)}
        try:
            payload = dumps((name, facts, list(args), dict(kwargs)))
        except Exception as error:
            raise Fail(unsendable("payload", name, args or kwargs, error)) from error
        self._answer = self._loop.create_future()
        self._context, self._capture = context, capture_here()
        self._say(Kind.call, payload)
        try:
            said = await self._answer
        except CancelledError:
            await self.end()
            raise
        if said is None:
            if self._stopping and not self._broken:
                raise CancelledError
            raise ProcessDied(f"the process that ran this job {self._fate()}")
        self._answer = None
        return _result(name, *said)

    # -- end -------------------------------------------------------------------------------

    async def end(self, grace_s: float = KILL_GRACE_S) -> None:
        """End the process and wait for it: an order first, SIGKILL after the grace.

        A cancellation cuts the grace short, and is raised when the process is gone.
        """
        self._stopping = True
        cancelled = False
        if grace_s > 0:
            self._order_end()
            cancelled = not await _passed(self.ended, grace_s)
        if not self.ended.done():
            self.kill()
            cancelled = not await _passed(self.ended, KILLED_S) or cancelled
        if not self.ended.done():
            logger.error("process %d does not end, even by SIGKILL", self.pid)
        if cancelled:
            raise CancelledError

    def _order_end(self) -> None:
        if self._leash >= 0:
            with suppress(OSError):  # nobody reads it any more
                os.write(self._leash, b"!")

    def kill(self) -> None:
        """SIGKILL, for it and what it has started."""
        self._stopping = True
        if self._popen is None:
            self._finish()
            return
        with self._lock:
            if not self._reaped:
                _kill_group(self._popen.pid)

    def _died(self, code: int) -> None:
        self._code = code
        if self._transport is None or self._transport.is_closing():
            self._finish()
        else:  # until its last words are read; something else may hold the socket open
            self._loop.call_later(_LAST_WORDS_S, self._finish)

    def _finish(self) -> None:
        if self.ended.done():
            return
        self.ended.set_result(None)
        if self._leash >= 0:
            os.close(self._leash)
            self._leash = -1
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)
        if self._transport is not None:
            self._transport.close()

    def _fate(self) -> str:
        """What became of it, as the end of a sentence."""
        code = self._code
        if self._broken:
            return f"{self._broken} and was killed"
        if code is None:
            return "died"
        if code >= 0:
            return f"ended with exit code {code}: os._exit?"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        guess = ": out of memory?" if -code == signal.SIGKILL else ""
        return f"died with signal {-code} ({name}){guess}"

    # -- the socket ------------------------------------------------------------------------

    def _say(self, kind: Kind, payload: bytes = b"") -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(kind, payload))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is served by the loop."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Something came; from a process that is to end nobody wants to hear, but its logs."""
        try:
            for kind, payload in self._frames.feed(data):
                self._take(kind, payload)
        except Exception as error:  # noqa: BLE001 -- bytes of any kind
            # It was stopped in the middle of a frame, or a function wrote to its socket.
            self._break(f"cannot be understood any more ({error})")

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is closed: the process is dead, or has closed what is not its own."""
        if self._code is not None:
            self._finish()
        else:
            self._loop.call_later(_LAST_WORDS_S, self._break, "closed its way to the worker")

    def _break(self, why: str) -> None:
        """Kill a process that lives and cannot answer."""
        if self._code is None and not self._stopping:
            self._broken = why
            self.kill()

    def _take(self, kind: Kind, payload: bytes) -> None:
        match kind:
            case Kind.ready:
                if not self._ready.done():
                    self._ready.set_result(None)
            case Kind.log:
                _log(loads(payload), self._capture)
            case Kind.progress | Kind.line if self._context and self._context.notes:
                notes = self._context.notes
                take = notes.progress if kind is Kind.progress else notes.line
                take(self._context, payload)
            case _ if self._answer is not None and not self._answer.done():
                self._answer.set_result((kind, payload))


def _spawn(way: int, leash: int) -> subprocess.Popen[bytes]:
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001 -- as multiprocessing does
    path = json.dumps(sys.path)
    return subprocess.Popen(  # noqa: S603 -- this interpreter, this package
        [sys.executable, *flags, "-c", _PROGRAM, str(way), path, str(leash), "jobs-process"],
        pass_fds=(way, leash),
        start_new_session=True,  # Ctrl-C is the worker's alone, and grandchildren die with it
        stdin=subprocess.DEVNULL,
    )


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS: a group of zombies
        os.killpg(pid, signal.SIGKILL)


async def _passed(event: asyncio.Future[None], timeout_s: float) -> bool:
    """Wait for an event, or the time; whether nobody cancelled the waiting."""
    try:
        await asyncio.wait([event], timeout=timeout_s)
    except CancelledError:
        return False
    return True


def _result(name: str, kind: Kind, payload: bytes) -> Any:
    if kind is Kind.raised:
        parcel: Parcel = loads(payload)
        raise unpack(parcel)
    try:
        return loads(payload)
    except Exception as error:
        raise Fail(unsendable("result", name, payload, error)) from error


def _log(entry: dict[str, Any], capture: tuple[Context, int] | None) -> None:
    """A record of the process, to the handlers of this one; of the job that runs there, if any."""
    if isinstance(parcel := entry.get("exc_info"), Parcel):
        error = unpack(parcel)
        entry["exc_info"] = (type(error), error, None)
    record = logging.makeLogRecord(entry)
    target = logging.getLogger(record.name)
    if target.isEnabledFor(record.levelno):
        # The socket is served in the context of the job that was the first in this process.
        contextvars.Context().run(_handle, target, record, capture)


def _handle(
    target: logging.Logger, record: logging.LogRecord, capture: tuple[Context, int] | None
) -> None:
    with captured(*capture) if capture else nullcontext():
        target.handle(record)
