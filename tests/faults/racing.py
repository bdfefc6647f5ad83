"""A process of producers that all want the same: `python -m tests.faults.racing SETTINGS`.

It says that it is ready, waits for a line on its standard input, has all producers enqueue at
once, and prints the keys and ids for which it was told that the job is its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from jobs import Client, Context, job
from jobs.uniqueness import Unique

QUEUE = "race"


@job("once", queue=QUEUE)
async def once(ctx: Context, key: str = "") -> None:
    """What the producers want."""


def say(line: str) -> None:
    """To the test that started this process."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def race(settings: dict[str, Any]) -> list[str]:
    """The words `key:<key>` and `id:<id>` of all jobs that this process made."""
    clients = [Client.connect(settings["url"]) for _ in range(settings["clients"])]
    made: list[str] = []

    async def produce(client: Client, word: str) -> None:
        kind, _, name = word.partition(":")
        options: Any = {"unique": Unique(key=name)} if kind == "key" else {"id": name}
        job = await client.enqueue("once", {"key": name}, **options)
        if not job.duplicate:
            made.append(word)

    for client in clients:
        await client.ping()
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    each = settings["producers"] // len(clients)
    for word in settings["words"]:
        await asyncio.gather(*(produce(c, word) for c in clients for _ in range(each)))
    for client in clients:
        await client.aclose()
    return made


if __name__ == "__main__":
    say(json.dumps(asyncio.run(race(json.loads(sys.argv[1])))))
