"""Holds a running worker back, lets it go on, and changes its pace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from jobs.engine.presence import Mode, Presence
from jobs.engine.producer import Producer
from jobs.engine.upkeep import Heartbeat
from jobs.errors import InvalidOption
from jobs.store.commands import Command, Wish, check_resize
from jobs.tasks import end_tasks

logger = logging.getLogger("jobs.worker")


class Helm:
    """Duties: 1. switch between taking jobs, quiet and stopping; 2. change the concurrency;
    3. obey what is asked from outside; 4. show each change in the registry at once.

    Args:
        producers: by the names of their queues.
        presence: what the worker tells of itself.
        heartbeat: tells it.
        stop: stops the worker, with so many seconds of grace (`None`: its own).
    """

    def __init__(
        self,
        producers: Mapping[str, Producer],
        presence: Presence,
        heartbeat: Heartbeat,
        stop: Callable[[float | None], None],
    ) -> None:
        self._producers, self._presence, self._heartbeat = producers, presence, heartbeat
        self._stop = stop
        self._beats: set[asyncio.Task[None]] = set()

    def turn(self, mode: Mode) -> None:
        """Take jobs, be quiet, or stop; a worker that stops does nothing else any more."""
        if self._presence.mode in (mode, Mode.stopping):
            return
        self._presence.mode = mode
        for producer in self._producers.values():
            if mode is Mode.taking:
                producer.taking = True
                producer.look()
            else:
                producer.take_no_more()
        self._tell()

    def set_concurrency(self, limit: int, queue: str | None = None) -> None:
        """Run so many jobs at once from now on, of one queue or of each.

        Raises:
            InvalidOption: no such queue is served, or the limit is below 1.
        """
        for name in check_resize(limit, queue, self._producers):
            producer = self._producers[name]
            producer.station.concurrency = limit
            producer.slots.resize(limit)
            producer.look()
        self._tell()

    def obey(self, command: Command) -> None:
        """Do what was asked from outside; what makes no sense is logged."""
        logger.warning("asked from outside: %s %s", command.wish, command.values or "")
        values = command.values
        try:
            match command.wish:
                case Wish.quiet:
                    self.turn(Mode.quiet)
                case Wish.resume:
                    self.turn(Mode.taking)
                case Wish.stop:
                    self._stop(values.get("grace"))
                case Wish.concurrency:
                    self.set_concurrency(values["limit"], values.get("queue"))
        except (InvalidOption, KeyError) as error:  # any program may write to the channel
            logger.warning("this was refused: %s", error)

    async def aclose(self) -> None:
        """Tell nothing any more."""
        await end_tasks(*self._beats)

    def _tell(self) -> None:
        if self._heartbeat.is_running:
            task = asyncio.create_task(self._heartbeat.turn(), name="jobs-beat")
            self._beats.add(task)
            task.add_done_callback(self._beats.discard)
