"""The jobs that the worker processes of the bench run, each as small as what it measures."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, ClassVar

from benchmarks.ledger import Ledger
from benchmarks.meter import Meter
from jobs import Context, Limit, fixed, job
from jobs.errors import InvalidOption

QUEUE = "bench"

#: CPU time of one `crunch`, about; the loop that spends it is measured once a process.
CRUNCH_MS = 20


class Desk:
    """What this process writes on, set before its worker begins."""

    meter: ClassVar[Meter]
    ledger: ClassVar[Ledger]


@job("noop", queue=QUEUE)
async def noop(_ctx: Context, _payload: str) -> None:
    """Nothing at all."""
    Desk.meter.begin()
    Desk.meter.end()


def limited_noop(limit: Limit) -> Any:
    """`noop` under a limit of its own."""
    return job("noop", queue=QUEUE, limits=[limit])(noop.__wrapped__)


@job("nap", queue=QUEUE)
async def nap(_ctx: Context, _payload: str) -> None:
    """Waits 50 ms, as for somebody else's answer."""
    Desk.meter.begin()
    await asyncio.sleep(0.05)
    Desk.meter.end()


@job("shaky", queue=QUEUE, attempts=5, backoff=fixed(0.1))
async def shaky(ctx: Context, failures: int) -> int:
    """Fails in its first attempts; the answer is the attempt that did not."""
    Desk.meter.begin()
    if ctx.attempt <= failures:
        raise RuntimeError(f"attempt {ctx.attempt} fails on purpose")
    Desk.meter.end()
    return ctx.attempt


@job("storm", queue=QUEUE, backoff=fixed(0.1))
async def storm(ctx: Context, ms: float) -> None:
    """An effect that the ledger keeps, then some milliseconds."""
    Desk.ledger.note("start", ctx.job_id, ctx.token)
    await asyncio.sleep(ms / 1000)
    Desk.ledger.note("effect", ctx.job_id, ctx.token)


def crunch_code(_ctx: Any, ms: float = CRUNCH_MS) -> int:
    """Keeps one core busy for `ms` milliseconds of CPU time; the sum of what it added."""
    over_ns = time.process_time_ns() + int(ms * 1e6)
    total = 0
    while time.process_time_ns() < over_ns:
        total += sum(range(2000))
    return total + os.getpid()


def crunch_function() -> Any:
    """`crunch_code` as a job of the process pool; `None` where jobs have no such executor."""
    options: dict[str, Any] = {"queue": QUEUE, "executor": "process"}
    try:
        return job("crunch", **options)(crunch_code)
    except (TypeError, InvalidOption):
        return None
