"""Pausing: why a queue or a function is held, and one switch for all queues."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol

from jobs import clock
from jobs.errors import WrongState
from jobs.store.pausing import Note


class Pause(NamedTuple):
    """Why something is paused."""

    reason: str
    since: datetime

    @classmethod
    def of(cls, note: Note) -> Pause:
        """The stored note, with its time as a datetime."""
        return cls(note.reason, clock.from_ms(note.at_ms))


def pause_of(note: Note | None) -> Pause | None:
    """The same for what may not be paused."""
    return None if note is None else Pause.of(note)


class Pausable(Protocol):
    """A queue that can be paused."""

    async def pause(self, reason: str = ...) -> bool:
        """Give out no jobs any more."""

    async def resume(self) -> None:
        """Give out jobs again."""


class Queues(Protocol):
    """What knows all queues."""

    async def queues(self) -> list[str]:
        """Their names."""

    def queue(self, name: str = ...) -> Pausable:
        """One of them."""


async def pause_all(client: Queues, reason: str = "") -> list[str]:
    """Pause every queue that ever had a job or a worker; one that comes later is not paused.

    Args:
        client: the client.
        reason: why, for those who look.

    Returns:
        The names of the queues that were not paused before.
    """
    return [name for name in await client.queues() if await client.queue(name).pause(reason)]


async def resume_all(client: Queues) -> list[str]:
    """Resume every queue that is paused, whoever paused it; functions paused by name stay so.

    Returns:
        The names of the queues that were paused.

    Raises:
        WrongState: no queue is paused.
    """
    resumed = []
    for name in await client.queues():
        try:
            await client.queue(name).resume()
        except WrongState:
            continue
        resumed.append(name)
    if not resumed:
        raise WrongState("no queue is paused")
    return resumed
