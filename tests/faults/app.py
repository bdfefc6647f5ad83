"""The worker process of the fault tests: `python -m tests.faults.app '{"app": "storm", …}'`.

Every function writes what it does to the ledger, outside the server.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jobs import Context, DeadLetter, Limit, Queue, Skip, Snooze, Worker, fixed, job
from tests.helpers.ledger import Ledger
from tests.helpers.processes import QUEUE


class Book:
    """The ledger of this process, opened when it is known where it lies."""

    ledger: Ledger


def note(kind: str, ctx: Context) -> None:
    """One line about this attempt."""
    Book.ledger.note(kind, ctx.job_id, ctx.token)


@job("work", queue=QUEUE, backoff=fixed(0.1))
async def work(ctx: Context, ms: float = 10, padding: str = "") -> int:
    """The ordinary job: an effect, then some milliseconds."""
    note("start", ctx)
    note("effect", ctx)
    try:
        await asyncio.sleep(ms / 1000)
    except asyncio.CancelledError:
        note("cancelled", ctx)
        raise
    note("finish", ctx)
    return ctx.token


@job("hold", queue=QUEUE, timeout=0)
async def hold(ctx: Context, gate: str) -> int:
    """Runs until the file `gate` exists."""
    note("start", ctx)
    note("effect", ctx)
    try:
        while not os.path.exists(gate):  # noqa: ASYNC110, ASYNC240, PTH110 -- another process makes it
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        note("cancelled", ctx)
        raise
    note("finish", ctx)
    return ctx.token


@job("late", queue=QUEUE, timeout=0)
async def late(ctx: Context, gate: str) -> int:
    """A second long when it starts at once; later on, until the file `gate` exists."""
    if datetime.now(UTC) > ctx.enqueued_at + timedelta(seconds=1):
        return await hold(ctx, gate)
    return await work(ctx, ms=1000)


@job("flaky", queue=QUEUE, backoff=fixed(0.05), attempts=3)
async def flaky(ctx: Context, failures: int = 1) -> None:
    """Fails in its first attempts."""
    note("start", ctx)
    if ctx.attempt <= failures:
        raise RuntimeError(f"attempt {ctx.attempt} fails on purpose")
    note("effect", ctx)
    note("finish", ctx)


@job("snoozer", queue=QUEUE)
async def snoozer(ctx: Context, ms: int = 50) -> Skip:
    """Comes back once, and then has nothing to do."""
    note("start", ctx)
    if datetime.now(UTC) < ctx.enqueued_at + timedelta(milliseconds=ms):
        raise Snooze(ms / 1000)
    note("effect", ctx)
    note("finish", ctx)
    return Skip("nothing to do")


@job("block", queue=QUEUE, timeout=0)
async def block(ctx: Context, gate: str) -> int:
    """Blocks the event loop until the file `gate` exists, as code does that should not."""
    note("start", ctx)
    note("effect", ctx)
    while not os.path.exists(gate):  # noqa: ASYNC240, PTH110 -- the fault itself
        time.sleep(0.02)  # noqa: ASYNC251 -- the same
    note("finish", ctx)
    return ctx.token


@job("poison", queue=QUEUE, attempts=10)
async def poison(ctx: Context, how: str) -> None:
    """Ends its process."""
    note("start", ctx)
    match how:
        case "exit":
            os._exit(7)
        case "segv":
            ctypes.string_at(0)
        case _:
            os.kill(os.getpid(), signal.SIGKILL)


@job("doomed", queue=QUEUE, attempts=1)
async def doomed(ctx: Context) -> None:
    """Fails for good."""
    note("start", ctx)
    raise RuntimeError("as it must")


@job("mourn", queue=QUEUE)
async def mourn(ctx: Context, letter: DeadLetter) -> None:
    """Told of a dead letter."""
    await asyncio.sleep(0.01)
    Book.ledger.note("effect", letter.job_id, ctx.token)


@job("novel", queue=QUEUE)
async def novel(ctx: Context) -> None:
    """A function that only the new release has."""
    note("start", ctx)
    note("effect", ctx)
    note("finish", ctx)


@job("paced", queue=QUEUE, rate="30/s")
async def paced(ctx: Context) -> None:
    """At most 30 a second over all workers."""
    note("start", ctx)
    note("effect", ctx)
    note("finish", ctx)


@job("tenant", queue=QUEUE, key="name", limits=[Limit(concurrency=3, per="key")])
async def tenant(ctx: Context, name: str, ms: float = 10) -> int:
    """At most three of a tenant at once."""
    return await work(ctx, ms)


OLD = [work, hold, late, flaky, snoozer, block, poison]
APPS = {
    "old": OLD,
    "new": [*OLD, novel],
    "letters": [poison, doomed, mourn],
    "limited": [*OLD, paced, tenant],
}


async def up(ctx: dict[Any, Any]) -> None:
    """The worker has its connections and begins."""
    Book.ledger.note("up", "-")


async def down(ctx: dict[Any, Any]) -> None:
    """Says so in the log."""
    logging.getLogger("jobs.worker").info("on_shutdown ran")


async def written(ctx: Context) -> None:
    """The end of an attempt is recorded by the server."""
    note("written", ctx)


def make_worker(settings: dict[str, Any]) -> Worker:
    """The worker that the settings ask for."""
    Book.ledger = Ledger(Path(settings["ledger"]))
    return Worker(
        functions=APPS[settings.get("app", "old")],
        queues=[
            Queue(
                QUEUE,
                concurrency=settings.get("concurrency", 20),
                rate=settings.get("rate"),
                dead_letter=settings.get("dead_letter"),
            )
        ],
        lease=settings["lease"],
        job_completion_wait=settings.get("grace", 5),
        on_startup=up,
        on_shutdown=down,
        after_job_end=written,
        burst=settings.get("burst", False),
    )


if __name__ == "__main__":
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    settings = json.loads(sys.argv[1])
    logging.getLogger("jobs").setLevel(settings.get("log", "WARNING"))
    make_worker(settings).run()
