"""Functions with `executor="process"`, in a module that another process can import."""

from __future__ import annotations

import functools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel

from jobs import Cancel, Context, Fail, Retry, Skip, Snooze, fixed, job
from jobs.engine import process_child

logger = logging.getLogger("tests.cpu")
quiet = logging.getLogger("tests.cpu.quiet")


class Image(BaseModel):
    """A payload."""

    path: str
    width: int = 4
    height: int = 3


class Size(BaseModel):
    """A result."""

    width: int
    height: int


class Wordy(Exception):
    """Pickle cannot build it again: it has other arguments than its `args`."""

    def __init__(self, number: int, *, wait: float) -> None:
        self.number, self.wait = number, wait
        self.lock = threading.Lock()
        super().__init__(f"number {number} is busy")


class Changed(Exception):
    """Comes back from pickle with another text."""

    def __init__(self, text: str) -> None:
        super().__init__(f"changed {text}")


@job("thumbnail", executor="process", timeout=30, backoff=fixed(0.01))
def thumbnail(ctx: Context, image: Image) -> Size:
    """The example of the documents."""
    return Size(width=image.width // 2, height=image.height // 2)


@job("facts", executor="process")
def facts(ctx: Context) -> dict[str, Any]:
    """What a function knows about itself."""
    names = ("job_id", "queue", "function", "attempt", "attempts", "token", "worker")
    known = {name: getattr(ctx, name) for name in names}
    more = {"key": ctx.idempotency_key, "at": ctx.enqueued_at.isoformat(), "score": ctx["score"]}
    here = {"pid": os.getpid(), "main_thread": threading.current_thread().name}
    return known | more | here


@job("compute", executor="process", attempts=2, backoff=fixed(0.01), no_retry=(Wordy,))
def compute(ctx: Context, how: str = "ok", value: Any = None) -> Any:
    """Behave as told; `first:how` behaves so in the first attempt and well after it."""
    first, _, rest = how.partition(":")
    if first == "first":
        how = rest if ctx.attempt == 1 else "ok"
    behave = globals()[f"do_{how}"]
    return behave(value)


@job("needy", executor="process", attempts=1)
def needy(ctx: Context, how: str) -> Any:
    """Wants what a process does not have."""
    return ctx.client if how == "client" else ctx[how]


def kept(call: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as others write it."""

    @functools.wraps(call)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return ["kept", call(*args, **kwargs)]

    return inner


@job("inside_out", executor="process")
@kept
def inside_out(ctx: Context) -> str:
    """Decorated below `@job`: the decorator is part of the code."""
    return "inner"


@kept
@job("outside_in", executor="process")
def outside_in(ctx: Context) -> str:
    """Decorated above `@job`: the worker was given the job function."""
    return "outer"


def plain(ctx: Context) -> str:
    """Declared by a call instead of a decorator."""
    return "plain"


declared_apart = job("apart", executor="process")(plain)


class Shelf:
    """A class as a place for functions."""

    @staticmethod
    @job("shelved", executor="process")
    def shelved(_: Context) -> str:
        """Found by its qualified name."""
        return "shelf"


# -- behaviours ----------------------------------------------------------------------------


def only_in_a_process() -> None:
    """What would end or hang the tests is not done in a thread of theirs."""
    assert process_child.inside(), "this function runs in a process of the tests"


def do_ok(value: Any) -> Any:
    return value


def do_pid(_: Any) -> int:
    return os.getpid()


def do_error(value: Any) -> NoReturn:
    raise ValueError(value)


def do_chain(value: Any) -> NoReturn:
    try:
        raise KeyError("below")
    except KeyError as error:
        raise ValueError(value) from error


def do_wordy(value: Any) -> NoReturn:
    raise Wordy(value, wait=0.5)


def do_local(value: Any) -> NoReturn:
    class Local(Wordy):
        pass

    raise Local(value, wait=0.5)


def do_base(_: Any) -> NoReturn:
    raise KeyboardInterrupt


def do_fail(value: Any) -> NoReturn:
    raise Fail(value)


def do_retry(value: Any) -> NoReturn:
    raise Retry(defer=value)


def do_retry_from(value: Any) -> NoReturn:
    try:
        raise ValueError("the real reason")
    except ValueError as error:
        raise Retry(defer=value) from error


def do_snooze(value: Any) -> NoReturn:
    raise Snooze(value, "not yet")


def do_skip(value: Any) -> NoReturn:
    raise Skip(value)


def do_return_skip(value: Any) -> Skip:
    return Skip(value)


def do_cancel(value: Any) -> NoReturn:
    raise Cancel(value)


def do_exit(value: Any) -> NoReturn:
    sys.exit(value)


def do_os_exit(value: Any) -> NoReturn:
    only_in_a_process()
    os._exit(value)


def do_signal(value: Any) -> None:
    only_in_a_process()
    os.kill(os.getpid(), value)
    time.sleep(60)


def do_sleep(value: Any) -> str:
    time.sleep(value)
    return "woke"


def do_hold(value: Any) -> str:
    """Note that it began, wait, and note how it ended."""
    only_in_a_process()
    mark = Path(value)
    try:
        mark.write_text(f"{os.getpid()}")
        time.sleep(60)
    finally:
        mark.with_suffix(".cleaned").touch()
    return "held"


def do_miss(value: Any) -> str:
    """Holds, and does not hear the first signal."""
    only_in_a_process()
    hears = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, hears))
    return do_hold(value)


def do_stubborn(value: Any) -> None:
    """Ends for nothing but SIGKILL."""
    only_in_a_process()
    Path(value).write_text(f"{os.getpid()}")
    while True:
        try:
            time.sleep(60)
        except BaseException:  # noqa: BLE001 -- the fault itself
            continue


def do_parent(value: Any) -> None:
    """Starts a program and waits for it."""
    only_in_a_process()
    child = subprocess.Popen(["sleep", "60"])
    Path(value).write_text(f"{child.pid}")
    child.wait()


def do_fork(value: Any) -> int:
    """Forks; the fork must obey SIGTERM, and its end is none of ours."""
    only_in_a_process()
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(3)
    os.kill(pid, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def do_log(value: Any) -> None:
    quiet.info("nobody listens to this")
    logger.warning("told %s", value, extra={"odd": threading.Lock()})
    try:
        do_error("logged")
    except ValueError:
        logger.exception("it failed")


def do_unsendable(_: Any) -> Any:
    return (number for number in range(3))


def do_unreadable(_: Any) -> Any:
    return Unreadable()


def do_big(value: Any) -> str:
    return "x" * int(value)


def do_length(value: Any) -> int:
    return len(value)


def do_burn(value: Any) -> int:
    """Keep one CPU busy for so many ms of its time."""
    end, turns = time.process_time() + value / 1000, 0
    while time.process_time() < end:
        turns += 1
    return turns


def do_close(_: Any) -> None:
    """Closes what is not its own."""
    only_in_a_process()
    os.closerange(3, 256)
    time.sleep(60)


class Unreadable:
    """A value that can be sent and not be received."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


@job("telling", executor="process", timeout=30, capture_logs="INFO")
def telling(ctx: Context, steps: int) -> int:
    """Tell of itself, from another process."""
    for step in range(1, steps + 1):
        ctx.progress({"step": step, "pid": os.getpid()})
        ctx.log(f"step {step}")
    logger.warning("all %d done", steps)
    return os.getpid()
