"""What a client answers about the jobs of all queues: search, and actions on what is found."""

from __future__ import annotations

from jobs.connections import asks_server
from jobs.keys import check_name
from jobs.operations.bulk import Bulk, Source
from jobs.operations.dead_letters import Client, DeadLetters
from jobs.operations.filters import Filter
from jobs.operations.search import BOUND, Page, search
from jobs.store._script import MAX_ITEMS


class Finding:
    """The part of a client that finds jobs over all queues."""

    @asks_server
    async def search(
        self: Source,
        query: Filter | str | None = None,
        *,
        limit: int = MAX_ITEMS,
        after: str | None = None,
        backwards: bool = False,
        bound: int | None = BOUND,
    ) -> Page:
        """One page of the jobs that match, from all queues: running ones first, ended ones last.

        Args:
            query: a `Filter`, or text such as `state:failed queue:email since:1h`; default all.
            limit: at most so many jobs; default 100.
            after: the cursor of the page before.
            backwards: each state the other way round: last in line first, oldest end first.
            bound: where jobs must be read to know whether they match, only the first so many of
                each state and queue are; default 10,000, `None` for all. The page says where
                that was reached.

        Raises:
            InvalidFilter: the query or the cursor is none.
            InvalidOption: a number is below 1.
        """
        chosen = Filter.of(query)
        shelves = [self.queue(n).shelf for n in await self.queues() if chosen.takes_queue(n)]
        return await search(
            self.lane, shelves, chosen, limit=limit, after=after, backwards=backwards, bound=bound
        )

    def bulk(
        self: Source,
        query: Filter | str | None = None,
        *,
        everything: bool = False,
        limit: int | None = None,
    ) -> Bulk:
        """Everything that matches, to be retried or cancelled: `client.bulk("…").retry()`.

        Args:
            query: as for `search`.
            everything: must be said for a query that nothing narrows.
            limit: only the first so many, in the order of a search; default all.

        Raises:
            InvalidFilter: the query is none.
            InvalidOption: `limit` is below 1.
        """
        chosen = Filter.of(query)
        return Bulk(self, chosen, everything=everything, limit=limit)

    def dead_letters(self: Client, queue: str | None = None) -> DeadLetters:
        """The jobs of one queue, or of all, that failed for good."""
        return DeadLetters(self, queue if queue is None else check_name(queue))
