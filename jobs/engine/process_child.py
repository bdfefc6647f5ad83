"""The other end of `processes`: one process that runs plain functions, one after the other.

Duties: 1. find the worker's functions by module and qualified name, before the first call;
2. run one call at a time in the main thread, and send what came of it; 3. send log records to the
worker; 4. end at the worker's order, also in the middle of a function, and with the worker however
that ended.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import runpy
import select
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any, NoReturn

from jobs import logs
from jobs.context import Context
from jobs.durations import Duration
from jobs.engine.process_wire import Boot, Frames, Kind, dumps, frame, loads, pack
from jobs.errors import ConfigurationError, Fail, NotInProcess

#: The name under which `multiprocessing` too plays a script again; its guard does not hold then.
_MAIN_AGAIN = "__mp_main__"
_CHUNK = 1 << 16
_ORDERED_EXIT = 128 + signal.SIGTERM
#: After so long an order that was not heard is said again.
_AGAIN_MS = 20


class _Here:
    inside = False


class Ordered(SystemExit):
    """The worker ordered this process to end; `finally` clauses run on the way out."""


class ProcessContext(Context):
    """The context of an attempt in a process of its own: its facts, without any resources."""

    __slots__ = ()

    def __missing__(self, key: object) -> NoReturn:
        raise NotInProcess(key)

    def extend(self, by: Duration) -> NoReturn:
        """The worker counts the time, and does not hear of it."""
        raise NotInProcess("extend")


class ChildNotes:
    """Sends what a job tells of itself to the worker, which writes it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def progress(self, ctx: Context, value: bytes) -> None:
        """Send the newest progress."""
        del ctx
        self._channel.send(Kind.progress, value)

    def line(self, ctx: Context, line: bytes) -> None:
        """Send one line of the log."""
        del ctx
        self._channel.send(Kind.line, line)


def inside() -> bool:
    """Whether this is a process of a pool."""
    return _Here.inside


def main(way: int, leash: int) -> None:
    """The life of one process.

    Args:
        way: its end of the socket to the worker, for calls and answers.
        leash: the reading end of a pipe whose writing end only the worker has: a byte in it is
            the order to end, and its closing says that the worker is gone.
    """
    _Here.inside = True
    with suppress(OSError):  # the worker is gone: the watching thread ends this process
        Child(Channel(socket.socket(fileno=way)), leash).run()


class Channel:
    """The way to the worker; frames of several threads do not mix."""

    def __init__(self, way: socket.socket) -> None:
        self._way = way
        self._lock = threading.Lock()
        self._frames = Frames()
        self._come: deque[tuple[Kind, bytes]] = deque()

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Send one frame."""
        with self._lock:
            self._way.sendall(frame(kind, payload))

    def receive(self) -> bytes:
        """The payload of the next frame."""
        while not self._come:
            data = self._way.recv(_CHUNK)
            if not data:
                raise ConnectionResetError
            self._come.extend(self._frames.feed(data))
        return self._come.popleft()[1]

    def forget(self) -> None:
        """In a fork of this process, which must not speak for it."""
        self._way.close()


class Child:
    """One process of a pool."""

    def __init__(self, channel: Channel, leash: int) -> None:
        self._channel, self._leash = channel, leash
        self._ordered = self._heard = False
        self._relay = Relay(channel)
        self._functions = Functions({}, None)

    def run(self) -> None:
        """Start, and serve until told to end."""
        # Others may send SIGTERM to every process of a service, while the worker still gives
        # its jobs time to finish: only the worker's order counts. So does Ctrl-C.
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, lambda *_: None)
        os.register_at_fork(
            before=_hold_signals, after_in_parent=_release_signals, after_in_child=self._forget
        )
        threading.Thread(target=self._watch, name="jobs-worker-watch", daemon=True).start()
        try:
            self._prepare(loads(self._channel.receive()))
            self._channel.send(Kind.ready)
            while not self._ordered:
                self._channel.send(*self._answer(self._channel.receive()))
        except Ordered:
            pass
        raise SystemExit(_ORDERED_EXIT)

    def _prepare(self, boot: Boot) -> None:
        sys.argv[:] = boot.argv
        for name, level in boot.levels.items():
            logging.getLogger(name).setLevel(level)
        logging.getLogger().handlers[:] = [self._relay]
        self._functions = Functions(boot.functions, boot.main)
        self._functions.load()

    # -- the worker's orders ---------------------------------------------------------------

    def _watch(self) -> None:
        """Wait for orders and for the worker's end, and say an order until it was heard: a signal
        just before the main thread begins to wait for something is seen only after the wait.
        """
        leash = select.poll()
        leash.register(self._leash)
        main_thread = threading.main_thread().ident or 0
        with suppress(OSError):
            while True:
                is_unheard = self._ordered and not self._heard
                if leash.poll(_AGAIN_MS if is_unheard else None):
                    if not os.read(self._leash, 1):
                        break
                    self._ordered, self._heard = True, False
                if not self._heard:
                    signal.pthread_kill(main_thread, signal.SIGTERM)  # ends a wait of any kind
        _end_everything()

    def _on_signal(self, *_: object) -> None:
        if self._ordered:
            self._heard = True
            raise Ordered(_ORDERED_EXIT)

    def _forget(self) -> None:
        """In a fork made by a function: an ordinary process, which is none of ours."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        logging.getLogger().removeHandler(self._relay)
        self._channel.forget()
        os.close(self._leash)
        _release_signals()

    # -- one call --------------------------------------------------------------------------

    def _answer(self, payload: bytes) -> tuple[Kind, bytes]:
        """Run one call; every way to end becomes a frame."""
        try:
            name, facts, args, kwargs = loads(payload)
            context = ProcessContext(**facts)
            logs.current.set(context)
            context.notes = ChildNotes(self._channel)
            value = self._functions.find(name)(context, *args, **kwargs)
        except Ordered:
            raise
        except BaseException as error:  # noqa: BLE001 -- every way to end is told to the worker
            return Kind.raised, dumps(pack(error, skip=1))
        try:
            return Kind.returned, dumps(value)
        except Exception as error:  # noqa: BLE001 -- a result of any type
            return Kind.raised, dumps(pack(Fail(unsendable("result", name, value, error))))


def unsendable(what: str, name: str, value: object, error: Exception) -> str:
    """The sentence about something that cannot pass between processes."""
    return (
        f"the {what} of {name!r} cannot pass between processes ({type(value).__name__}: {error}): "
        "use plain data, dataclasses or pydantic models of importable modules"
    )


def _hold_signals() -> None:
    """Round a fork: what is sent to the fork waits until it has forgotten our handlers."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end_everything() -> None:
    """The worker is gone: end, with whatever a function has started."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


class Functions:
    """The code of the worker's functions, found by where it was declared."""

    def __init__(
        self, addresses: Mapping[str, tuple[str, str]], main: tuple[str, str] | None
    ) -> None:
        self._addresses, self._main = addresses, main
        self._found: dict[str, Callable[..., Any]] = {}

    def load(self) -> None:
        """Import what is needed, so that the time of the first job is its own. What cannot be
        imported fails the jobs that need it, not the process.
        """
        for name in self._addresses:
            try:
                self.find(name)
            except Ordered:
                raise
            except BaseException:  # noqa: BLE001, S112 -- the same error comes again with the call
                continue

    def find(self, name: str) -> Callable[..., Any]:
        """The code of a registered function.

        Raises:
            ConfigurationError: it is not where it was declared.
            BaseException: whatever its module raises when it is imported.
        """
        if name not in self._found:
            module, path = self._addresses[name]
            if module == "__main__":
                self._play_main()
            self._found[name] = _code_at(name, importlib.import_module(module), path)
        return self._found[name]

    def _play_main(self) -> None:
        """Run the worker's script again under another name, as `multiprocessing` does."""
        if _MAIN_AGAIN in sys.modules or self._main is None:
            return
        how, where = self._main
        again = ModuleType(_MAIN_AGAIN)
        if how == "name":
            again.__dict__.update(runpy.run_module(where, run_name=_MAIN_AGAIN, alter_sys=True))
        else:
            again.__dict__.update(runpy.run_path(where, run_name=_MAIN_AGAIN))
        sys.modules["__main__"] = sys.modules[_MAIN_AGAIN] = again


def _code_at(name: str, module: ModuleType, path: str) -> Callable[..., Any]:
    from jobs.functions import JobFunction  # only now: the application has loaded it anyway

    found: Any = module
    for part in path.split("."):
        found = getattr(found, part, None)
    declared: Any = inspect.unwrap(found, stop=lambda item: isinstance(item, JobFunction))
    if isinstance(declared, JobFunction):
        return declared.function.call
    if not callable(found):
        raise ConfigurationError(
            f"the function {name!r} is not where it was declared: {module.__name__} has no {path}; "
            'a function with executor="process" keeps its name in its module'
        )
    return found  # type: ignore[no-any-return]  # an attribute of any module


class Relay(logging.Handler):
    """Sends log records to the worker, whose handlers write them."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self.addFilter(logs.JobFilter())

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; what of it cannot be pickled goes as text."""
        try:
            self._channel.send(Kind.log, _dumped(_entry(record)))
        except OSError:
            pass  # the worker is gone, and this process with it
        except Exception:  # noqa: BLE001 -- logging's own rule: an error of a handler is shown
            self.handleError(record)


def _entry(record: logging.LogRecord) -> dict[str, Any]:
    entry = dict(vars(record), msg=record.getMessage(), args=None)
    if record.exc_info:
        error = record.exc_info[1]
        entry["exc_info"] = None if error is None else pack(error)
    return entry


def _dumped(entry: dict[str, Any]) -> bytes:
    try:
        return dumps(entry)
    except Exception:  # noqa: BLE001 -- fields of any type
        return dumps({k: v if _plain(v) else repr(v) for k, v in entry.items()})


def _plain(value: object) -> bool:
    try:
        dumps(value)
    except Exception:  # noqa: BLE001 -- the same
        return False
    return True
