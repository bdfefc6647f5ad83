"""Makes the jobs of stored schedules: each instant once over all workers, by the server's clock.

Every worker has a scheduler. All of them plan the same runs from what is stored, and the script
that makes the jobs takes the plan of whoever is first. To spare the server the calls of the
others, they look a moment later than the one that was first the last time, and find nothing to
do while it lives.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import uniform

from jobs import clock
from jobs.codec import Deserializer, Serializer
from jobs.engine.link import Link
from jobs.engine.upkeep import Upkeep
from jobs.errors import JobsError
from jobs.keys import QueueKeys, control_channel, queue_keys
from jobs.recurring import Definition, Schedule
from jobs.requests import Preparer
from jobs.schedules import next_instant
from jobs.store import schedules as store
from jobs.store import workers
from jobs.store.schedules import ScheduleState, Stage, Stored

logger = logging.getLogger("jobs.worker")

#: Longest time from a change of a schedule to its effect, if the message about it is lost.
LONGEST_SLEEP_S = 10.0
#: So much later look schedulers that were not the first the last time, in ms.
FOLLOW_MS = (200, 400)
#: So often the end of a job is looked for that keeps the next run waiting, in ms.
HELD_MS = 500
#: So many plans are under way at once.
AT_ONCE = 50
#: Time from an error of this loop to its next turn.
FAILED_S = 1.0
#: A schedule that cannot be fired is tried again so much later, in ms.
BROKEN_MS = 60_000


@dataclass
class Entry:
    """One schedule, and when this scheduler has to do something for it (ms; `None`: never)."""

    definition: Definition
    state: ScheduleState
    due_ms: int | None = None

    def look_ahead(self, now: int) -> None:
        """Note when there is something to do next."""
        due = None if self.state.paused else next_instant(self.definition, self.state)
        if self.state.held:
            due = now + HELD_MS if due is None else min(due, now + HELD_MS)
        self.due_ms = due


@dataclass
class Board:
    """The schedules of one queue that this worker makes the jobs of."""

    queue: str
    keys: QueueKeys
    declared: frozenset[str] = frozenset()
    version: int = -1
    entries: dict[str, Entry] = field(default_factory=dict)
    lag_ms: int = 0

    def take(self, name: str, stored: Stored | None, now: int) -> None:
        """Note a schedule as it is stored now; one from code only if our own code declares it."""
        self.entries.pop(name, None)
        if stored is None:
            return
        try:
            entry = Entry(Definition.of(stored), stored.state)
            entry.look_ahead(now)
        except (KeyError, TypeError, ValueError):  # a newer release, or a zone that is not here
            logger.exception("the schedule %r of queue %r is unreadable", name, self.queue)
            return
        if name in self.declared or not entry.definition.from_code:
            self.entries[name] = entry

    def due(self, now: int, lag_ms: int = 0) -> list[Entry]:
        """What is to be done, the oldest first."""
        found = [
            e for e in self.entries.values() if e.due_ms is not None and e.due_ms <= now - lag_ms
        ]
        return sorted(found, key=lambda entry: entry.due_ms or 0)

    def next_ms(self) -> int | None:
        """When something is to be done next."""
        dues = [e.due_ms for e in self.entries.values() if e.due_ms is not None]
        return min(dues) + self.lag_ms if dues else None


class Scheduler(Upkeep):
    """Duties: 1. store the schedules that this worker's code declares; 2. know those of its
    queues, also when they change; 3. make the jobs of each instant when it comes.
    """

    before_work = True

    def __init__(  # noqa: PLR0913 -- where the schedules are, and how their jobs are written
        self,
        link: Link,
        queues: Mapping[str, QueueKeys],
        declared: Sequence[Schedule],
        preparer: Preparer,
        *,
        prefix: str,
        deserializer: Deserializer | None = None,
    ) -> None:
        super().__init__("scheduler", LONGEST_SLEEP_S, link, queues)
        self._prefix = prefix
        self._serializer: Serializer | None = preparer.serializer
        self._deserializer = deserializer
        self._own = [schedule.define(preparer, from_code=True) for schedule in declared]
        names: dict[str, set[str]] = {queue: set() for queue in queues}
        for queue, definition in self._own:
            names.setdefault(queue, set()).add(definition.name)
        self.boards = {
            queue: Board(queue, queue_keys(queue, prefix), frozenset(own))
            for queue, own in names.items()
        }
        self._stored = False
        self._read_s = float("-inf")
        #: queue -> version -> name of the schedule that was changed with it
        self._heard: dict[str, dict[int, str]] = {}
        self._news = asyncio.Event()

    # -- the loop --------------------------------------------------------------------------

    async def run_once(self) -> int:
        """Do what is due; how many jobs this scheduler made."""
        self._news.clear()
        self.interval_s = FAILED_S
        if not self._stored:
            await self._store_own()
        now = await store.server_ms(self.link.lane)
        await self._read_changes(now)
        made = 0
        for board in self.boards.values():
            made += await self._work(board, now)
        self.interval_s = self._until_next(now)
        return made

    async def rest(self) -> None:
        """Sleep until the next instant, or until there is news."""
        try:
            async with asyncio.timeout(self.interval_s):
                await self._news.wait()
        except TimeoutError:
            pass

    def told(self, queue: str, data: bytes) -> None:
        """A schedule was changed, or messages may have been missed."""
        news = store.read_news(data)
        if news is not None and queue in self.boards:
            version, name = news
            self._heard.setdefault(queue, {})[version] = name
            self._news.set()

    def _until_next(self, now: int) -> float:
        dues = [due for board in self.boards.values() if (due := board.next_ms()) is not None]
        left_s = (min(dues) - now) / 1000 if dues else LONGEST_SLEEP_S
        return max(0.0, min(left_s, LONGEST_SLEEP_S))

    # -- what is stored --------------------------------------------------------------------

    async def _store_own(self) -> None:
        """Store what our code declares; the worker that starts last decides."""
        for queue, definition in self._own:
            await workers.add_queues(self.link.lane, self._prefix, [queue])
            became = await store.define(
                self.link.lane,
                self.boards[queue].keys,
                definition.name,
                *definition.documents(),
                channel=control_channel(queue, self._prefix),
            )
            if became is not store.Defined.unchanged:
                text = definition.timing.text
                logger.info("schedule %s %s: %s", definition.name, became.name, text)
        self._stored = True

    async def _read_changes(self, now: int) -> None:
        """Read what was changed; all of a queue if it is not known what, and now and then."""
        heard, self._heard = self._heard, {}
        overdue = clock.mono() - self._read_s >= LONGEST_SLEEP_S
        for board in self.boards.values():
            news = {v: name for v, name in heard.get(board.queue, {}).items() if v > board.version}
            if news and sorted(news) == list(range(board.version + 1, max(news) + 1)):
                names = sorted(set(news.values()))
                await self._read_some(board, names, now)
                board.version = max(news)
            elif news or overdue:
                await self._read_all(board, now)
        if overdue:
            self._read_s = clock.mono()

    async def _read_some(self, board: Board, names: Sequence[str], now: int) -> None:
        found = await store.read(self.link.lane, board.keys, names)
        for name, stored in zip(names, found, strict=True):
            board.take(name, stored, now)

    async def _read_all(self, board: Board, now: int) -> None:
        version = await store.version(self.link.lane, board.keys)
        if version == board.version:
            return
        found = {item.name: item for item in await store.read_all(self.link.lane, board.keys)}
        for name in board.entries.keys() | found.keys():
            board.take(name, found.get(name), now)
        board.version = version

    # -- making jobs -----------------------------------------------------------------------

    async def _work(self, board: Board, now: int) -> int:
        due = board.due(now, board.lag_ms)
        if due and board.lag_ms:
            await self._read_some(board, [entry.definition.name for entry in due], now)
            due = board.due(now)
        made, first = 0, True
        for at in range(0, len(due), AT_ONCE):
            for stage, jobs in await self._fire_some(board, due[at : at + AT_ONCE], now):
                first = first and stage is not Stage.stale
                made += jobs
        if due:
            board.lag_ms = 0 if first else round(uniform(*FOLLOW_MS))
        return made

    async def _fire_some(
        self, board: Board, due: Sequence[Entry], now: int
    ) -> list[tuple[Stage, int]]:
        """Send some plans without waiting for each answer; all have ended when this raises."""
        calls = (self._fire(board, entry, now) for entry in due)
        done: list[tuple[Stage, int]] = []
        for answer in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer
            done.append(answer)
        return done

    async def _fire(self, board: Board, entry: Entry, now: int) -> tuple[Stage, int]:
        """Send the plan for one schedule; what became of it, and how many jobs it made."""
        definition, state = entry.definition, entry.state
        plan = definition.policy.plan(definition.timing, state.after, now)
        instants = [*([state.held] if state.held else []), *(plan.instants if plan else ())]
        try:
            runs = self._runs(definition, instants, state.last)
        except JobsError as error:
            logger.error("no run of schedule %r can be made: %s", definition.name, error)  # noqa: TRY400 -- a sentence, no trace
            entry.due_ms = now + BROKEN_MS
            return Stage.done, 0
        fired = await store.fire(
            self.link.lane,
            board.keys,
            definition.name,
            runs,
            revision=state.revision,
            after=state.after,
            upto=plan.upto if plan else state.after,
            overlap=definition.policy.overlap,
            limit=definition.timing.limit,
            priority=definition.priority,
            group=definition.group,
            key=definition.key,
        )
        await self._note(board, entry, fired, now)
        self._log(definition, runs, fired.runs)
        return fired.stage, fired.runs.count("+")

    def _runs(self, definition: Definition, instants: Sequence[int], last: int) -> list[store.Run]:
        runs = []
        for instant in instants:
            runs.append(definition.run(instant, last, self._serializer, self._deserializer))
            last = instant
        return runs

    async def _note(self, board: Board, entry: Entry, fired: store.Fired, now: int) -> None:
        """What is known of the schedule after its plan was sent."""
        name = entry.definition.name
        if fired.state is None:
            board.entries.pop(name, None)
        elif fired.state.revision != entry.state.revision:
            await self._read_some(board, [name], now)
        else:
            entry.state = fired.state
            entry.look_ahead(fired.now_ms)

    def _log(self, definition: Definition, runs: Sequence[store.Run], letters: str) -> None:
        for run, letter in zip(runs, letters, strict=False):
            if letter == "s":
                at = clock.from_ms(run.instant).isoformat()
                name = definition.name
                logger.info("schedule %s: %s is left out, the last run goes on", name, at)
