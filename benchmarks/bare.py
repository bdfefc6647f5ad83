"""Programs to compare with: `python -m benchmarks.bare COMMAND …` prints one JSON object.

tasks --jobs N              an event loop that makes a task for each empty coroutine
roundtrips --jobs N         one command after the other from the same client library
enqueue --jobs N [--bulk]   this project's client
mail, push --jobs N         the catalog's functions, called without a queue
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvloop
from redis.asyncio import Redis

from benchmarks import real
from benchmarks.work_functions import noop
from jobs import Client, Context
from jobs.catalog.email import Email, send_email
from jobs.catalog.push import Push, send_push

PAYLOAD = "x" * 200
GROUP = 100


async def nothing() -> None:
    """What an empty job is."""


async def tasks(given: argparse.Namespace) -> float:
    """The seconds for so many tasks, a hundred at a time."""
    began = time.perf_counter()
    for _ in range(given.jobs // GROUP):
        for task in [asyncio.create_task(nothing()) for _ in range(GROUP)]:
            await task
    return time.perf_counter() - began


async def roundtrips(given: argparse.Namespace) -> float:
    """The seconds for so many SETs of 200 bytes, each awaited."""
    async with Redis.from_url(given.url) as client:
        await client.execute_command("SET", "bare", PAYLOAD)
        began = time.perf_counter()
        for _ in range(given.jobs):
            await client.execute_command("SET", "bare", PAYLOAD)
        return time.perf_counter() - began


async def enqueue(given: argparse.Namespace) -> float:
    """The seconds for so many jobs, one call each or all in one."""
    async with Client.connect(given.url) as client:
        await noop.enqueue(PAYLOAD)
        began = time.perf_counter()
        if given.bulk:
            await client.enqueue_many([noop.request(PAYLOAD) for _ in range(given.jobs)])
        else:
            for _ in range(given.jobs):
                await noop.enqueue(PAYLOAD)
        return time.perf_counter() - began


async def mail(given: argparse.Namespace) -> float:
    """The seconds for so many e-mails."""
    mailer = real.mailer(given.port)
    letters = [Email.model_validate(real.letter(number)) for number in range(given.jobs)]
    seconds = await _each(
        (send_email(_context(n, mailer=mailer), letter) for n, letter in enumerate(letters)),
        given.concurrency,
    )
    await mailer.aclose()
    return seconds


async def push(given: argparse.Namespace) -> float:
    """The seconds for so many notifications."""
    client = real.onesignal(given.port)
    notices = [Push.model_validate(real.notice(number)) for number in range(given.jobs)]
    seconds = await _each(
        (send_push(_context(n, onesignal=client), notice) for n, notice in enumerate(notices)),
        given.concurrency,
    )
    await client.aclose()
    return seconds


def _context(number: int, **resources: Any) -> Context:
    return Context(resources, job_id=f"bare-{number}")


async def _each(calls: Iterator[Awaitable[object]], concurrency: int) -> float:
    """The seconds for all calls, so many at once."""

    async def lane() -> None:
        for call in calls:
            await call

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(concurrency)))
    return time.perf_counter() - began


COMMANDS: dict[str, Callable[[argparse.Namespace], Awaitable[float]]] = {
    "tasks": tasks,
    "roundtrips": roundtrips,
    "enqueue": enqueue,
    "mail": mail,
    "push": push,
}


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--url", default="")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--bulk", action="store_true")
    return parser.parse_args()


async def main() -> None:
    """Run one command and print what it took."""
    given = options()
    seconds = await COMMANDS[given.command](given)
    print(json.dumps({"jobs": given.jobs, "seconds": seconds}))


if __name__ == "__main__":
    uvloop.run(main())
