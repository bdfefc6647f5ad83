"""The schedules of a server: stored, listed, paused, run now, asked for their next instants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel

from jobs import clock
from jobs.codec import decode_body
from jobs.connections import asks_server
from jobs.durations import MAX_MS, until_ms
from jobs.errors import InvalidOption, ScheduleNotFound, UnreadableBody, WrongState
from jobs.handle import Job
from jobs.keys import check_name, control_channel, queue_keys
from jobs.recurring import Definition, Schedule, ScheduleOptions, of_repeat
from jobs.requests import Preparer, Request
from jobs.store import schedules as store
from jobs.store import workers
from jobs.timetable import MOST_RUNS, job_id

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jobs.client import Client

#: A stored schedule that is overdue by more than this has no worker that makes its jobs.
ORPHANED_MS = 60_000
# `Schedules` has a method called `list`, which hides the type in its signatures.
Infos: TypeAlias = list["ScheduleInfo"]
Moments: TypeAlias = list[datetime]
Jobs: TypeAlias = list[Job[Any]]
#: Runs that one backfill makes at most.
MOST_BACKFILL = 10_000


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """A schedule as it is stored, and what it has done.

    Args:
        name, queue, function, args, kwargs: what runs where; `?` for an unreadable payload.
        rule: for people, such as "0 9 * * 1 in Europe/Berlin" or "every 5 m".
        definition: everything that was asked for.
        from_code: declared by the code of workers, which store it anew when they start.
        paused_at: since when it is paused; `None` while it is not.
        fired, skipped: runs made; runs left out because the last one had not ended.
        held_at: the instant whose run waits for the end of the last one (`overlap="queue"`).
        last_at: the instant of the last run, by hand ones too.
        next_at: the next instant; `None` while it is paused and when there is none any more.
        overdue: whether its next instant has passed for a minute without a run: no worker that
            lives serves its queue, or, for one from code, none declares it any more.
    """

    name: str
    queue: str
    function: str
    args: list[Any]
    kwargs: dict[str, Any]
    rule: str
    definition: Definition
    from_code: bool
    paused_at: datetime | None
    fired: int
    skipped: int
    held_at: datetime | None
    last_at: datetime | None
    next_at: datetime | None
    overdue: bool

    @property
    def state(self) -> str:
        """One of "active", "paused", "overdue", and "finished": no instant is left."""
        if self.paused_at is not None:
            return "paused"
        if self.next_at is None:
            return "finished"
        return "overdue" if self.overdue else "active"


class Schedules:
    """The schedules of a server; made by `client.schedules`.

    Every method raises `ServerAway` or `ServerRefused` when the server does not answer well.
    A name is looked for in all queues; `queue=` chooses where several have it.
    """

    def __init__(self, client: Client, preparer: Preparer) -> None:
        self._client = client
        self._preparer = preparer

    @property
    def address(self) -> str:
        """Where the server is, for people."""
        return self._client.address

    async def upsert(
        self,
        name: str,
        job: str | Request,
        payload: BaseModel | Mapping[str, Any] | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleInfo:
        """Store a schedule, or change the one of this name; the same call again changes nothing.

        What a schedule has done is kept, and so is a pause. With another rule (`cron`, `every`,
        `tz`, `start`, `end`, `offset`, `limit`) it begins anew: nothing was missed, `limit` counts
        from 0.

        Args:
            name: what it is called; one schedule of the server has a name, so that one of the
                same name in another queue is moved here.
            job: the name of the function, or what `function.request(…)` returns.
            payload: the keyword arguments, as a mapping or a pydantic model, if `job` is a name.
            options: see `ScheduleOptions`.

        Raises:
            InvalidOption, InvalidPayload, PayloadTooLarge: nothing was stored.
        """
        return await self.put(Schedule(name, job, payload, **options))

    @asks_server
    async def put(self, schedule: Schedule, *, from_code: bool = False) -> ScheduleInfo:
        """Store a schedule that was made as `Schedule(…)`; see `upsert`.

        Raises:
            The same as `upsert`.
        """
        queue, definition = schedule.define(self._preparer, from_code=from_code)
        elsewhere = [q for q, _ in await self._places(definition.name) if q != queue]
        client, prefix = self._client.lane, self._client.prefix
        await workers.add_queues(client, prefix, [queue])
        await store.define(
            client,
            queue_keys(queue, prefix),
            definition.name,
            *definition.documents(),
            channel=control_channel(queue, prefix),
        )
        for other in elsewhere:
            await self._remove(other, definition.name)
        return await self.get(definition.name, queue)

    async def repeat(self, request: Request) -> Job[Any]:
        """Store the schedule of `enqueue(…, repeat={…})`; the handle of its next job, which is
        there from its instant on.

        Raises:
            The same as `upsert`.
        """
        info = await self.put(of_repeat(request, self._preparer))
        if info.next_at is None:
            raise WrongState(f"the schedule {info.name!r} is {info.state}: no run will come")
        instant = until_ms(info.next_at)
        return self._client.job(job_id(info.name, instant), info.queue)

    @asks_server
    async def get(self, name: str, queue: str | None = None) -> ScheduleInfo:
        """One schedule.

        Raises:
            ScheduleNotFound: there is none of this name.
        """
        place, stored = await self._find(name, queue)
        return self._info(place, stored, await store.server_ms(self._client.lane))

    @asks_server
    async def list(self, queue: str | None = None) -> Infos:
        """All schedules of a queue or of all queues, by name; those that this release cannot
        read are left out.
        """
        now = await store.server_ms(self._client.lane)
        found: Infos = []
        for place in await self._queues(queue):
            for stored in await store.read_all(self._client.lane, self._keys(place)):
                with suppress(KeyError, TypeError, ValueError):
                    found.append(self._info(place, stored, now))
        return sorted(found, key=lambda info: (info.name, info.queue))

    @asks_server
    async def remove(self, name: str, queue: str | None = None) -> None:
        """Remove a schedule; the jobs that it made stay. One that is declared by code comes back
        when a worker with that code starts.

        Raises:
            ScheduleNotFound: there is none of this name.
        """
        place, _ = await self._find(name, queue)
        await self._remove(place, name)

    async def pause(self, name: str, queue: str | None = None) -> None:
        """Make no runs until `resume`; also over restarts of workers.

        Raises:
            ScheduleNotFound: there is none of this name.
            WrongState: it is paused.
        """
        await self._pause(name, queue, paused=True)

    async def resume(self, name: str, queue: str | None = None) -> None:
        """Make runs again; what was due during the pause is not made up for.

        Raises:
            ScheduleNotFound: there is none of this name.
            WrongState: it is not paused.
        """
        await self._pause(name, queue, paused=False)

    @asks_server
    async def run(self, name: str, queue: str | None = None) -> Job[Any]:
        """Make one run now, whatever its rule, pause, limit and overlap say; the handle of its job.

        Raises:
            ScheduleNotFound: there is none of this name.
        """
        place, stored = await self._find(name, queue)
        definition, now = Definition.of(stored), await store.server_ms(self._client.lane)
        while "=" in await self._make(place, definition, [now], stored.state.last):
            now += 1  # the job of this very ms was there
        return self._client.job(job_id(name, now), place)

    async def next(self, name: str, count: int = 5, queue: str | None = None) -> Moments:
        """The next instants, at most `count`, in UTC; none while it is paused.

        Raises:
            ScheduleNotFound: there is none of this name.
        """
        info = await self.get(name, queue)
        if info.next_at is None:
            return []
        timing, first = info.definition.timing, until_ms(info.next_at)
        left = count if timing.limit is None else min(count, timing.limit - info.fired)
        instants = islice(timing.between(first - 1, MAX_MS), left)
        return [clock.from_ms(instant) for instant in instants]

    @asks_server
    async def backfill(
        self, name: str, start: datetime, end: datetime, queue: str | None = None
    ) -> Jobs:
        """Make the runs of a past time, each instant once; what has a job is left alone.

        Args:
            name: the schedule's.
            start: an aware datetime; an instant at it is included.
            end: another, also included; instants that have not come yet are left out.
            queue: where several queues have a schedule of this name.

        Returns:
            The handles of the jobs that were made, oldest first.

        Raises:
            ScheduleNotFound: there is none of this name.
            InvalidOption: the end is before the start, or there are more than 10,000 instants.
        """
        first, last = until_ms(start, what="start"), until_ms(end, what="end")
        if last < first:
            raise InvalidOption(f"`end` lies before `start`: {end.isoformat()}")
        place, stored = await self._find(name, queue)
        definition = Definition.of(stored)
        until = min(last, await store.server_ms(self._client.lane))
        instants = list(islice(definition.timing.between(first - 1, until), MOST_BACKFILL + 1))
        if len(instants) > MOST_BACKFILL:
            raise InvalidOption(
                f"a backfill makes at most {MOST_BACKFILL:,} runs; {name!r} has more from "
                f"{start.isoformat()} to {end.isoformat()}: take a shorter time"
            )
        letters = ""
        for at in range(0, len(instants), MOST_RUNS):
            part = instants[at : at + MOST_RUNS]
            letters += await self._make(place, definition, part, 0)
        made = [instant for instant, was in zip(instants, letters, strict=True) if was == "+"]
        return [self._client.job(job_id(name, instant), place) for instant in made]

    # -- parts -----------------------------------------------------------------------------

    async def _make(
        self, place: str, definition: Definition, instants: Sequence[int], last: int
    ) -> str:
        """Make these runs by hand; one letter each."""
        client = self._client
        reading = (client.job_serializer, client.job_deserializer)
        runs = [definition.run(instant, last, *reading) for instant in instants]
        fired = await store.fire(
            client.lane,
            self._keys(place),
            definition.name,
            runs,
            by_hand=True,
            priority=definition.priority,
            group=definition.group,
            key=definition.key,
        )
        if fired.state is None:
            raise ScheduleNotFound(definition.name)
        return fired.runs

    async def _remove(self, queue: str, name: str) -> None:
        channel = control_channel(queue, self._client.prefix)
        await store.remove(self._client.lane, self._keys(queue), name, channel=channel)

    @asks_server
    async def _pause(self, name: str, queue: str | None, *, paused: bool) -> None:
        place, _ = await self._find(name, queue)
        channel = control_channel(place, self._client.prefix)
        done = await store.pause(
            self._client.lane, self._keys(place), name, paused=paused, channel=channel
        )
        if done is None:
            raise ScheduleNotFound(name)
        if not done:
            raise WrongState(f"the schedule {name!r} is {'' if paused else 'not '}paused")

    def _keys(self, queue: str) -> Any:
        return queue_keys(queue, self._client.prefix)

    async def _queues(self, queue: str | None) -> Sequence[str]:
        if queue is not None:
            return [check_name(queue)]
        return await workers.all_queues(self._client.lane, self._client.prefix)

    async def _places(
        self, name: str, queue: str | None = None
    ) -> Sequence[tuple[str, store.Stored]]:
        """Where there is a schedule of this name."""
        found = []
        for place in await self._queues(queue):
            (stored,) = await store.read(self._client.lane, self._keys(place), [name])
            if stored is not None:
                found.append((place, stored))
        return found

    async def _find(self, name: str, queue: str | None) -> tuple[str, store.Stored]:
        places = await self._places(check_name(name, "schedule"), queue)
        if not places:
            known = [info.name for info in await self.list(queue)]
            raise ScheduleNotFound(name, known)
        if len(places) > 1:
            queues = ", ".join(place for place, _ in places)
            raise InvalidOption(
                f"several queues have a schedule {name!r}: choose one of {queues} with `queue`"
            )
        return places[0]

    def _info(self, queue: str, stored: store.Stored, now: int) -> ScheduleInfo:
        definition, state = Definition.of(stored), stored.state
        try:
            _, args, kwargs, _ = decode_body("", definition.body, self._client.job_deserializer)
        except UnreadableBody:
            args, kwargs = ["?"], {}
        following = None if state.paused else next_instant(definition, state)
        return ScheduleInfo(
            name=stored.name,
            queue=queue,
            function=definition.function,
            args=args,
            kwargs=kwargs,
            rule=definition.timing.text,
            definition=definition,
            from_code=definition.from_code,
            paused_at=_moment(state.paused),
            fired=state.fired,
            skipped=state.skipped,
            held_at=_moment(state.held),
            last_at=_moment(state.last),
            next_at=None if following is None else clock.from_ms(following),
            overdue=following is not None and following < now - ORPHANED_MS,
        )


def next_instant(definition: Definition, state: store.ScheduleState) -> int | None:
    """The next instant of a schedule that has done so much; `None` if no run is left."""
    limit = definition.timing.limit
    if limit is not None and state.fired + bool(state.held) >= limit:
        return None
    return definition.timing.next_after(state.after)


def _moment(ms: int) -> datetime | None:
    return clock.from_ms(ms) if ms else None
