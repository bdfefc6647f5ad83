"""A worker process of our own: `python -m benchmarks.work_worker worker --url … --function APP`.

It takes the options of the peers' programs (peers/), and waits for the starting gun when
everything is imported. `APP` names the functions that it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import work_functions
from benchmarks.ledger import Ledger
from benchmarks.meter import Meter
from benchmarks.work_functions import Desk
from jobs import Context, Limit, Queue, RedisSettings, Worker


@dataclass
class App:
    """What one worker runs: its functions, its queue, and what is made at its start."""

    functions: list[Any]
    queue: str = work_functions.QUEUE
    resources: dict[str, Any] = field(default_factory=dict)
    counted_by_hooks: bool = False
    worker: dict[str, Any] = field(default_factory=dict)
    of_queue: dict[str, Any] = field(default_factory=dict)


def plain(given: dict[str, Any]) -> App:
    """Functions that count by themselves."""
    return App([work_functions.noop, work_functions.nap, work_functions.shaky], worker=given)


def limited(given: dict[str, Any]) -> App:
    """No-ops under limits: `rate` and `queue` of their queue, `function` of their function."""
    function = work_functions.noop
    if given.get("function"):
        function = work_functions.limited_noop(Limit(**given["function"]))
    limits = [Limit(**given["queue"])] if given.get("queue") else []
    return App([function], of_queue={"rate": given.get("rate"), "limits": limits})


def mail(given: dict[str, Any]) -> App:
    """The catalog's e-mail job, at the sink on `port`."""
    from benchmarks.real import mailer
    from jobs.catalog.email import send_email

    return App([send_email], "email", {"mailer": mailer(given["port"])}, counted_by_hooks=True)


def push(given: dict[str, Any]) -> App:
    """The catalog's push job, at the sink on `port`; without the queue's own rate limit."""
    from benchmarks.real import onesignal
    from jobs.catalog.push import send_push

    return App([send_push], "push", {"onesignal": onesignal(given["port"])}, counted_by_hooks=True)


def cpu(given: dict[str, Any]) -> App:
    """Work for the process pool."""
    return App([work_functions.crunch_function()], counted_by_hooks=True, worker=given)


def storm(given: dict[str, Any]) -> App:
    """Jobs whose effects are kept in the ledger at `ledger`."""
    Desk.ledger = Ledger(Path(given.pop("ledger")))
    return App([work_functions.storm], worker={**given, "after_job_end": _written})


APPS: dict[str, Callable[[dict[str, Any]], App]] = {
    "plain": plain,
    "limited": limited,
    "mail": mail,
    "push": push,
    "cpu": cpu,
    "storm": storm,
}


async def _written(ctx: Context) -> None:
    Desk.ledger.note("written", ctx.job_id, ctx.token)


async def _begun(_ctx: Context) -> None:
    Desk.meter.begin()


async def _ended(_ctx: Context) -> None:
    Desk.meter.end()


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["worker"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--slot", type=int, default=0)
    parser.add_argument("--function", choices=APPS, default="plain")
    parser.add_argument("--settings", type=json.loads, default={})
    return parser.parse_args()


async def serve(given: argparse.Namespace) -> None:
    """Be the worker until SIGTERM."""
    app = APPS[given.function](given.settings)
    more = dict(app.worker)
    if app.counted_by_hooks:
        more |= {"on_job_start": _begun, "after_job_end": _ended}
    worker = Worker(
        functions=app.functions,
        queues=[Queue(app.queue, concurrency=given.concurrency, **app.of_queue)],
        redis_settings=RedisSettings.from_dsn(given.url),
        ctx=app.resources,
        **more,
    )
    Desk.meter.wait_for_go()
    try:
        await worker.async_run()
    finally:
        await worker.close()


def main() -> None:
    """Run a worker as the command line says."""
    logging.basicConfig(level=logging.WARNING)
    given = options()
    Desk.meter = Meter(given.shared, given.slot)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(given))


if __name__ == "__main__":
    main()
