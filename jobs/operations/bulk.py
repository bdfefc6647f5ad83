"""One action on every job that a filter means: resolved once, then done hundred by hundred."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Protocol

from jobs import clock
from jobs.connections import asks_server
from jobs.errors import InvalidFilter, JobNotFound, UnsafeAll, WrongState
from jobs.operations.actions import (
    ARCHIVE,
    CANCEL,
    CHANGE_PRIORITY,
    PROMOTE,
    REMOVE,
    RETRY,
    Action,
    BulkResult,
    Progress,
)
from jobs.operations.editing import check_priority
from jobs.operations.filters import Filter
from jobs.operations.letter_files import Sink, document
from jobs.operations.search import Search, check_limit, server_ms
from jobs.options import RateLimit
from jobs.queues import QueueView
from jobs.states import State
from jobs.store import control
from jobs.store._script import MAX_ITEMS, AsyncCommands
from jobs.store.show import StoredJob, read_jobs

#: Calls for single jobs that are under way at once.
AT_ONCE = 10
#: At a rate, jobs are acted on in portions of so much time.
PORTION_MS = 200

#: The end that those hear of who wait for a job that is removed before its own.
REMOVED = b'{"outcome":"cancelled","reason":"removed"}'
#: Told after every portion.
OnProgress = Callable[[Progress], object]
#: Does something to jobs of one queue; the state in which each was found, `None` for one to
#: which it was not done, in order.
Act = Callable[[QueueView, Sequence[StoredJob]], Awaitable[Sequence[State | None]]]


class Source(Protocol):
    """What finding jobs needs of the client."""

    @property
    def address(self) -> str:
        """Where the server is."""

    @property
    def lane(self) -> AsyncCommands:
        """The connection for its own calls."""

    async def queues(self) -> list[str]:
        """The names of all queues."""

    def queue(self, name: str = ...) -> QueueView:
        """The view of one queue."""


class Bulk:
    """Everything that a filter means, to be acted on; made by `client.bulk(…)`.

    Each action finds the jobs once, at its start, with relative times fixed at that moment, and
    then takes them a hundred at a time; a job that no longer fits the filter when its turn comes
    is left alone and counted as failed.

    Args:
        client: where the jobs are.
        chosen: which jobs.
        everything: whether a filter that nothing narrows may be acted on.
        limit: only the first so many, in the order of a search; default all.
        only: exactly these jobs, as (queue, id), where they fit the filter.

    Raises:
        InvalidOption: `limit` is below 1.
    """

    def __init__(
        self,
        client: Source,
        chosen: Filter,
        *,
        everything: bool = False,
        limit: int | None = None,
        only: Sequence[tuple[str, str]] | None = None,
    ) -> None:
        if limit is not None:
            check_limit("limit", limit)
        self.address = client.address
        self._client = client
        self._chosen = chosen
        self._everything = everything
        self._limit = limit
        self._only = only

    @asks_server
    async def retry(
        self,
        *,
        rate: str | RateLimit | None = None,
        on_progress: OnProgress | None = None,
        dry_run: bool = False,
    ) -> BulkResult:
        """Make ended jobs wait again; failed ones only, unless the filter names other states.

        Args:
            rate: no faster than this, such as "10/s". A call that was stopped half-way is
                repeated: what was retried is not failed any more.
            on_progress: told how far it is after every portion.
            dry_run: only count, and name the first ids.

        Raises:
            UnsafeAll: the filter is empty, and `everything` was not said.
            InvalidFilter: it names states whose jobs cannot be retried.
            ServerAway, ServerRefused: some of the jobs may have been acted on; repeat the call.
        """

        async def act(view: QueueView, jobs: Sequence[StoredJob]) -> Sequence[State | None]:
            return await view.retry([job.id for job in jobs])

        pace = None if rate is None else RateLimit.of(rate)
        return await self.act_with(RETRY, act, on_progress, dry_run=dry_run, pace=pace)

    @asks_server
    async def cancel(
        self,
        reason: str = "cancelled",
        *,
        on_progress: OnProgress | None = None,
        dry_run: bool = False,
    ) -> BulkResult:
        """Cancel jobs that have not ended; those that run are asked to stop.

        Raises:
            The same as `retry`.
        """

        async def act(view: QueueView, jobs: Sequence[StoredJob]) -> Sequence[State | None]:
            return await view.cancel_many([job.id for job in jobs], reason)

        return await self.act_with(CANCEL, act, on_progress, dry_run=dry_run)

    @asks_server
    async def remove(
        self, *, on_progress: OnProgress | None = None, dry_run: bool = False
    ) -> BulkResult:
        """Remove jobs with all that is theirs; running ones stay.

        Raises:
            The same as `retry`.
        """

        async def act(view: QueueView, jobs: Sequence[StoredJob]) -> Sequence[State | None]:
            return await remove_found(self._client.lane, view, jobs)

        return await self.act_with(REMOVE, act, on_progress, dry_run=dry_run)

    @asks_server
    async def promote(
        self, *, on_progress: OnProgress | None = None, dry_run: bool = False
    ) -> BulkResult:
        """Make delayed jobs wait now.

        Raises:
            The same as `retry`.
        """

        async def act(view: QueueView, jobs: Sequence[StoredJob]) -> Sequence[State | None]:
            return await view.promote([job.id for job in jobs])

        return await self.act_with(PROMOTE, act, on_progress, dry_run=dry_run)

    @asks_server
    async def change_priority(
        self, priority: int, *, on_progress: OnProgress | None = None, dry_run: bool = False
    ) -> BulkResult:
        """Give waiting and delayed jobs another priority, 1 (first) to 1000 (last).

        Raises:
            InvalidOption: there is no such priority.
            The same as `retry`.
        """
        check_priority(priority)

        async def one(view: QueueView, job: StoredJob) -> State | None:
            try:
                return await view.change(job.id, priority=priority)
            except (JobNotFound, WrongState):
                return None

        async def act(view: QueueView, jobs: Sequence[StoredJob]) -> Sequence[State | None]:
            found: list[State | None] = []
            for at in range(0, len(jobs), AT_ONCE):
                found += await asyncio.gather(*(one(view, job) for job in jobs[at : at + AT_ONCE]))
            return found

        return await self.act_with(CHANGE_PRIORITY, act, on_progress, dry_run=dry_run)

    async def archive(
        self, sink: Sink, *, on_progress: OnProgress | None = None, dry_run: bool = False
    ) -> BulkResult:
        """Hand failed jobs to a sink, up to 100 at a time, and remove each that it took; see
        `DeadLetters.archive`.

        Raises:
            The same as `retry`, and whatever the sink raises: those jobs stay.
        """
        try:
            return await self._archive(sink, on_progress, dry_run=dry_run)
        except _SinkFailed as failed:
            raise failed.error from failed.error.__cause__

    @asks_server
    async def _archive(
        self, sink: Sink, on_progress: OnProgress | None, *, dry_run: bool
    ) -> BulkResult:
        before_ms = await server_ms(self._client.lane)

        async def act(view: QueueView, jobs: Sequence[StoredJob]) -> Sequence[State | None]:
            try:
                await sink([document(view.shelf.read(job)) for job in jobs])
            except Exception as error:
                raise _SinkFailed(error) from error
            # One that came back meanwhile and failed again ended later: it stays.
            return await remove_found(self._client.lane, view, jobs, before_ms)

        return await self.act_with(ARCHIVE, act, on_progress, dry_run=dry_run)

    # -- the way of every action -------------------------------------------------------------

    def narrowed(self, action: Action) -> Filter:
        """The filter of an action: by default only states whose jobs it is for.

        Raises:
            UnsafeAll: nothing narrows it, and `everything` was not said.
            InvalidFilter: it names states whose jobs the action cannot take.
        """
        chosen = self._chosen
        if chosen.empty and not self._everything:
            raise UnsafeAll(action.name)
        if wrong := [state for state in chosen.states if state not in action.allowed]:
            raise InvalidFilter(
                f"it cannot {action.name} a job that is {wrong[0]}; it takes jobs that are "
                f"{', '.join(sorted(action.allowed))}"
            )
        return chosen if chosen.states else replace(chosen, states=sorted(action.usual))

    async def find(self, chosen: Filter) -> tuple[Filter, list[tuple[str, str]]]:
        """The filter with its times fixed, and (queue, id) of everything that it means now."""
        if self._only is not None:
            now_ms = await server_ms(self._client.lane)
            return chosen.at(now_ms), list(dict.fromkeys(self._only))
        names = [name for name in await self._client.queues() if chosen.takes_queue(name)]
        shelves = [self._client.queue(name).shelf for name in names]
        way = Search(self._client.lane, shelves, chosen, bound=None, whole=False)
        await way.begin(None)
        found = dict.fromkeys([(s.queue, row.id) async for s, row in way.rows(self._limit)])
        return way.chosen, list(found)

    async def act_with(
        self,
        action: Action,
        act: Act,
        on_progress: OnProgress | None,
        *,
        dry_run: bool,
        pace: RateLimit | None = None,
    ) -> BulkResult:
        """Do something to everything that is meant.

        Args:
            action: its name and the states that it is for.
            act: does it to jobs of one queue.
            on_progress: told after every portion.
            dry_run: only count, and name the ids.
            pace: no faster than this.

        Raises:
            UnsafeAll, InvalidFilter: as `retry`.
        """
        chosen, found = await self.find(self.narrowed(action))
        result = BulkResult(action.name, len(found), dry_run=dry_run)
        if dry_run:
            result.ids = [job_id for _, job_id in found]
            return result
        began_s = clock.mono()
        for queue, ids in portions(found, _portion(pace)):
            view = self._client.queue(queue)
            done = await self._act_on(view, ids, chosen, action, act)
            result.ids += done
            result.done += len(done)
            result.failed += len(ids) - len(done)
            if on_progress is not None:
                on_progress(Progress(result.done, result.failed, result.total))
            acted = result.done + result.failed
            if pace is not None and acted < result.total:
                due_s = began_s + acted * pace.period_ms / pace.limit / 1000
                await asyncio.sleep(max(0, due_s - clock.mono()))
        return result

    async def _act_on(
        self, view: QueueView, ids: Sequence[str], chosen: Filter, action: Action, act: Act
    ) -> list[str]:
        """Act on those of one portion that still fit; the ids of those it was done to."""
        shelf = view.shelf
        stored = await read_jobs(self._client.lane, shelf.keys, ids)
        fitting = [job for job in stored if job and chosen.matches(shelf.read(job))]
        states = await act(view, fitting) if fitting else ()
        pairs = zip(fitting, states, strict=False)
        return [job.id for job, state in pairs if state in action.allowed]


class _SinkFailed(Exception):
    """The sink of an archive raised an error, which may be of any kind."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


async def remove_found(
    client: AsyncCommands, view: QueueView, jobs: Sequence[StoredJob], before_ms: int = 0
) -> list[State | None]:
    """Remove jobs from the states in which they were found: one that moved on meanwhile stays.

    `before_ms`: only those that ended by then; 0 for any.
    """
    gone: list[State | None] = []
    for state, some in groupby(jobs, key=lambda job: job.state):
        ids = [job.id for job in some]
        removed = await control.remove(
            client, view.shelf.keys, ids, line=REMOVED, state=state, before_ms=before_ms
        )
        gone += [one.state if one.done else None for one in removed]
    return gone


def portions(found: Sequence[tuple[str, str]], most: int) -> list[tuple[str, list[str]]]:
    """Runs of at most `most` jobs of one queue, in order."""
    cut: list[tuple[str, list[str]]] = []
    for queue, pairs in groupby(found, key=itemgetter(0)):
        ids = [job_id for _, job_id in pairs]
        cut += [(queue, ids[at : at + most]) for at in range(0, len(ids), most)]
    return cut


def _portion(pace: RateLimit | None) -> int:
    """How many jobs are acted on at once: at a rate, those of a moment."""
    if pace is None:
        return MAX_ITEMS
    return max(1, min(MAX_ITEMS, pace.limit * PORTION_MS // pace.period_ms))
