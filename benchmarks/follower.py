"""Follows the events of a queue until its input ends: `python -m benchmarks.follower URL`."""

from __future__ import annotations

import asyncio
import sys

from benchmarks import drive
from jobs import Client, EventReader


async def follow(url: str) -> None:
    """Say "ready" when the reader listens; read everything that is told from then on."""
    async with Client.connect(url) as client, client.events(drive.QUEUE) as reader:
        print("ready", flush=True)
        reading = asyncio.create_task(_read(reader))
        await asyncio.to_thread(sys.stdin.read)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _read(reader: EventReader) -> None:
    async for _ in reader:
        pass


if __name__ == "__main__":
    asyncio.run(follow(sys.argv[1]))
