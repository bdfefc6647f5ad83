"""What a reader of events hears."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from jobs import EventReader, QueueEvent


async def until(reader: EventReader, name: str, times: int = 1) -> list[QueueEvent]:
    """The events up to the one of this name."""
    found: list[QueueEvent] = []
    async with asyncio.timeout(10):
        async for event in reader:
            found.append(event)
            times -= event.name == name
            if times == 0:
                return found
    raise AssertionError("a reader ends only when it is left")


def names(events: Sequence[QueueEvent]) -> list[str]:
    return [event.name for event in events]


def only(events: Sequence[QueueEvent], name: str) -> QueueEvent:
    (found,) = (event for event in events if event.name == name)
    return found
