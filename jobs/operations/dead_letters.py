"""Dead letters: the jobs that failed for good, to be read, grouped, redriven, kept elsewhere.

A dead letter *is* the failed job: the transition that ends its last attempt puts it there, with
its payload and every attempt's error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from jobs.durations import Duration
from jobs.errors import InvalidFilter, UnsafeAll, WrongState
from jobs.handle import JobInfo
from jobs.operations.actions import BulkResult
from jobs.operations.bulk import Bulk, OnProgress, Source
from jobs.operations.filters import Filter
from jobs.operations.letter_files import Sink
from jobs.operations.letters import DeadLetter, LetterGroup, LetterGroups, LetterPage, count_into
from jobs.operations.payloads import payload_of
from jobs.operations.search import BOUND, Page, check_limit
from jobs.options import RateLimit
from jobs.queues import QueueView
from jobs.states import State
from jobs.store._script import MAX_ITEMS


class Client(Source, Protocol):
    """What is needed of the client."""

    async def search(
        self,
        query: Filter | str | None = ...,
        *,
        limit: int = ...,
        after: str | None = ...,
        backwards: bool = ...,
        bound: int | None = ...,
    ) -> Page:
        """One page of the jobs that match."""


class DeadLetters:
    """The dead letters of one queue, or of all; made by `client.dead_letters(…)`.

    A `query` narrows the choice as in `client.search`; its state is always `failed`.
    """

    def __init__(self, client: Client, queue: str | None = None) -> None:
        self._client = client
        self._queue = queue

    async def list(
        self,
        query: Filter | str | None = None,
        *,
        limit: int = MAX_ITEMS,
        after: str | None = None,
        bound: int | None = BOUND,
    ) -> LetterPage:
        """One page of dead letters, newest first; see `Client.search`.

        Raises:
            InvalidFilter, InvalidOption: as for `Client.search`.
        """
        chosen = self._chosen(query)
        page = await self._client.search(chosen, limit=limit, after=after, bound=bound)
        return LetterPage([DeadLetter.of(info) for info in page.jobs], page.cursor, page.bounded)

    async def iterate(self, query: Filter | str | None = None) -> AsyncIterator[JobInfo]:
        """All dead letters that match, as jobs, newest first, in constant memory."""
        chosen, after = self._chosen(query), None
        while True:
            page = await self._client.search(chosen, after=after, bound=None)
            for info in page.jobs:
                yield info
            if (after := page.cursor) is None:
                return

    async def get(self, job_id: str) -> DeadLetter:
        """One dead letter.

        Raises:
            JobNotFound: the queue does not hold the job.
            WrongState: it is no dead letter.
        """
        return DeadLetter.of(await self._failed(job_id))

    async def groups(
        self, query: Filter | str | None = None, *, bound: int | None = BOUND
    ) -> LetterGroups:
        """Dead letters by function and error, the largest group first.

        Args:
            query: which of them; default all.
            bound: only the newest so many of each queue are counted; `None` for all.
        """
        if bound is not None:
            check_limit("bound", bound)
        chosen = self._chosen(query)
        found: dict[str, LetterGroup] = {}
        counted, bounded = 0, []
        for name in await self._client.queues():
            if chosen.takes_queue(name):
                looked, whole = await self._count(name, chosen, found, bound)
                counted += looked
                bounded += [] if whole else [(name, State.failed)]
        groups = sorted(found.values(), key=lambda group: -group.count)
        return LetterGroups(groups, counted, bounded)

    async def _count(
        self, queue: str, chosen: Filter, found: dict[str, LetterGroup], bound: int | None
    ) -> tuple[int, bool]:
        """Count the letters of one queue: how many, and whether these are all."""
        view, after, counted = self._client.queue(queue), None, 0
        while bound is None or counted < bound:
            most = MAX_ITEMS if bound is None else min(MAX_ITEMS, bound - counted)
            page = await view.search(chosen, limit=most, after=after, bound=bound)
            for info in page.jobs:
                count_into(found, DeadLetter.of(info))
            counted += len(page.jobs)
            if (after := page.cursor) is None:
                return counted, not page.bounded
        return counted, (await view.search(chosen, limit=1, after=after, bound=bound)).jobs == []

    # -- back to work, or out of the way -------------------------------------------------------

    async def edit(self, job_id: str, changes: Mapping[str, Any]) -> None:
        """Run a dead letter again with some of its arguments changed, all of its attempts anew.

        Args:
            job_id: which one.
            changes: the arguments that get other values, by name.

        Raises:
            JobNotFound, WrongState: there is no such dead letter.
            InvalidPayload: the arguments do not fit the function then; nothing was done.
        """
        info = await self._failed(job_id)
        payload = payload_of(info) | dict(changes)
        (found,) = await self._view().retry([job_id], payload=payload)
        if found is not State.failed:
            raise WrongState(f"job {job_id!r} was {found or 'gone'} when it was to be redriven")

    async def redrive(  # noqa: PLR0913 -- which of them, and how
        self,
        query: Filter | str | None = None,
        *,
        ids: Sequence[str] | None = None,
        everything: bool = False,
        limit: int | None = None,
        rate: str | RateLimit | None = None,
        on_progress: OnProgress | None = None,
        dry_run: bool = False,
    ) -> BulkResult:
        """Put dead letters back into their queues, with all their attempts.

        Args:
            query: which; or `ids`, of one queue; or `everything`.
            ids: exactly these.
            everything: must be said where nothing narrows the choice.
            limit: only the newest so many.
            rate: no faster than this, such as "10/s". A call that was stopped is repeated: it
                goes on with those that are still dead letters.
            on_progress: told how far it is.
            dry_run: only count, and name the first ids.

        Raises:
            UnsafeAll: nothing narrows the choice, and `everything` was not said.
            InvalidFilter, InvalidOption: as for `Client.bulk`.
        """
        bulk = self._bulk("redrive", query, ids, everything=everything, limit=limit)
        return await bulk.retry(rate=rate, on_progress=on_progress, dry_run=dry_run)

    async def discard(  # noqa: PLR0913 -- the same
        self,
        query: Filter | str | None = None,
        *,
        ids: Sequence[str] | None = None,
        everything: bool = False,
        limit: int | None = None,
        on_progress: OnProgress | None = None,
        dry_run: bool = False,
    ) -> BulkResult:
        """Remove dead letters for good; arguments and errors as for `redrive`."""
        bulk = self._bulk("discard", query, ids, everything=everything, limit=limit)
        return await bulk.remove(on_progress=on_progress, dry_run=dry_run)

    async def purge(
        self, older_than: Duration, *, on_progress: OnProgress | None = None, dry_run: bool = False
    ) -> BulkResult:
        """Remove the dead letters that failed longer ago than this.

        Raises:
            InvalidFilter: `older_than` is no duration.
        """
        chosen = Filter(until=older_than)
        return await self.discard(chosen, on_progress=on_progress, dry_run=dry_run)

    async def archive(  # noqa: PLR0913 -- where to, and which of them
        self,
        sink: Sink,
        *,
        older_than: Duration | None = None,
        query: Filter | str | None = None,
        everything: bool = False,
        on_progress: OnProgress | None = None,
        dry_run: bool = False,
    ) -> BulkResult:
        """Hand dead letters to a keeper, and remove each after it was taken.

        Args:
            sink: an async function of up to 100 letters, each a dict of JSON values with all that
                is known of the job (`letter_files.document`). When it returns, they are removed;
                when it raises, they stay. After a crash between the two a letter is handed over
                again.
            older_than: only those that failed longer ago than this.
            query: only those that match.
            everything: must be said where nothing narrows the choice.
            on_progress: told how far it is.
            dry_run: only count, and name the ids.

        Raises:
            UnsafeAll, InvalidFilter: as for `redrive`.
            Whatever the sink raises.
        """
        chosen = Filter.of(query)
        if older_than is not None:
            if chosen.until is not None:
                raise InvalidFilter("give `older_than`, or `until` in the query, not both")
            chosen = replace(chosen, until=older_than)
        bulk = self._bulk("archive", chosen, None, everything=everything, limit=None)
        return await bulk.archive(sink, on_progress=on_progress, dry_run=dry_run)

    # -- parts ---------------------------------------------------------------------------------

    def _chosen(self, query: Filter | str | None) -> Filter:
        chosen = Filter.of(query)
        if set(chosen.states) - {State.failed}:
            raise InvalidFilter("dead letters are failed jobs: leave the state out of the filter")
        if self._queue is not None:
            if chosen.queues and not chosen.takes_queue(self._queue):
                raise InvalidFilter(f"these are the dead letters of queue {self._queue!r} alone")
            chosen = replace(chosen, queues=[self._queue])
        return replace(chosen, states=[State.failed])

    def _bulk(
        self,
        action: str,
        query: Filter | str | None,
        ids: Sequence[str] | None,
        *,
        everything: bool,
        limit: int | None,
    ) -> Bulk:
        if Filter.of(query).empty and ids is None and not everything:
            raise UnsafeAll(action)
        only = None if ids is None else [(self._view().name, job_id) for job_id in ids]
        return Bulk(self._client, self._chosen(query), limit=limit, only=only)

    def _view(self) -> QueueView:
        if self._queue is None:
            raise InvalidFilter(
                "ids belong to one queue: ask for its letters, `client.dead_letters(queue)`"
            )
        return self._client.queue(self._queue)

    async def _failed(self, job_id: str) -> JobInfo:
        info = await self._view().job(job_id)
        if info.state is not State.failed:
            raise WrongState(f"job {job_id!r} is no dead letter: it is {info.state}")
        return info
