"""The one silhouette of every background loop: start, stop, run_once."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from random import random

from jobs.tasks import end_tasks

logger = logging.getLogger("jobs.worker")

#: The share of its interval by which a loop sleeps longer, at most, so that many workers do not
#: act in step.
JITTER = 0.1


class Loop(ABC):
    """Runs `run_once` again and again until stopped; an error is logged and ends nothing.

    Args:
        name: names the task, for people who look at a hung process.
        interval_s: seconds from the end of one run to the next; up to a tenth is added by chance.
    """

    #: Whether the first turn is over before any job runs.
    before_work = False
    #: Whether it goes on while the last jobs finish: a worker that still runs jobs is alive.
    while_draining = False

    def __init__(self, name: str, interval_s: float) -> None:
        self.name = name
        self.interval_s = interval_s
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def run_once(self) -> object:
        """Do the work of one turn."""

    async def failed(self, error: Exception) -> None:
        """What to do about an error of `run_once`."""
        logger.error("the loop %s failed and goes on: %s", self.name, error, exc_info=error)

    def start(self) -> None:
        """Begin; the first run is at once."""
        self._task = asyncio.create_task(self._turn_for_ever(), name=f"jobs-{self.name}")

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._task is not None

    async def stop(self) -> None:
        """End, also in the middle of a run."""
        if self._task is not None:
            await end_tasks(self._task)
            self._task = None

    async def _turn_for_ever(self) -> None:
        while True:
            await self.turn()
            await self.rest()

    async def rest(self) -> None:
        """Sleep until the next turn."""
        await asyncio.sleep(self.interval_s * (1 + random() * JITTER))

    async def turn(self) -> None:
        """One run, which raises nothing."""
        try:
            await self.run_once()
        except Exception as error:  # noqa: BLE001 -- a loop outlives every error
            await self.failed(error)
