"""The one job of the engine's tests: its arguments choose how it behaves."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from jobs import Cancel, Context, Fail, Retry, Skip, Snooze, job


class NoOrdinaryError(BaseException):
    """An error that `except Exception` does not see."""


class Mute(Exception):
    """An error whose text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@dataclass
class Stage:
    """What the acts of one worker did, and the gate that acts may wait at; in `ctx["stage"]`."""

    starts: list[tuple[str, int, float]] = field(default_factory=list)
    ends: list[tuple[str, int, float]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0
    most: int = 0

    def begin(self, ctx: Context) -> None:
        """Note that an attempt began."""
        self.starts.append((ctx.job_id, ctx.attempt, time.monotonic()))
        self.running += 1
        self.most = max(self.most, self.running)

    def end(self, ctx: Context) -> None:
        """Note that an attempt ended."""
        self.ends.append((ctx.job_id, ctx.attempt, time.monotonic()))
        self.running -= 1

    @property
    def order(self) -> list[str]:
        """The ids of all attempts in the order of their starts."""
        return [job_id for job_id, *_ in self.starts]

    def attempts(self, job_id: str) -> list[int]:
        """The numbers of the attempts of one job."""
        return [attempt for started, attempt, _ in self.starts if started == job_id]


@job("act")
async def act(ctx: Context, how: str = "ok", value: Any = None) -> Any:
    """Behave as told; `first:how` behaves so in the first attempt and well after it."""
    stage: Stage = ctx["stage"]
    stage.begin(ctx)
    try:
        first, _, rest = how.partition(":")
        if first == "first":
            how = rest if ctx.attempt == 1 else "ok"
        return await perform(ctx, how, value)
    except asyncio.CancelledError:
        stage.cancelled.append(ctx.job_id)
        raise
    finally:
        stage.end(ctx)


async def perform(ctx: Context, how: str, value: Any) -> Any:
    """The behaviours: raised ones, returned ones, and those that take time."""
    errors: dict[str, Any] = {
        "error": lambda: ValueError(value),
        "mute": Mute,
        "base": NoOrdinaryError,
        "surrogate": lambda: FileNotFoundError("caf\udce9"),
        "fail": lambda: Fail(str(value)),
        "retry": lambda: Retry(defer=value),
        "snooze": lambda: Snooze(value),
        "skip": lambda: Skip(str(value)),
        "cancel": lambda: Cancel(str(value)),
        "interrupt": KeyboardInterrupt,
    }
    if how in errors:
        error: BaseException = errors[how]()
        raise error
    if how == "exit":
        sys.exit(value)
    return await endure(ctx, how, value)


async def endure(ctx: Context, how: str, value: Any) -> Any:
    """The behaviours that take time or return something odd."""
    match how:
        case "ok":
            return value
        case "return_skip":
            return Skip(str(value))
        case "sleep":
            await asyncio.sleep(value)
        case "gate":
            await ctx["stage"].gate.wait()
        case "swallow":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return "swallowed"
        case "block":
            time.sleep(value)  # noqa: ASYNC251 -- blocking the loop is the point
        case "unwritable":
            return object()
        case "big":
            return "x" * value
        case _:
            raise AssertionError(f"the acting job cannot {how!r}")
    return "woke"


@job("act_in_thread")
def act_in_thread(ctx: Context, how: str = "ok", value: Any = None) -> Any:
    """The same as a plain function, which runs in a thread; it can `ok`, `error`, `sleep`."""
    if how == "error":
        raise ValueError(value)
    if how == "sleep":
        time.sleep(value)
    import threading

    return threading.current_thread().name
