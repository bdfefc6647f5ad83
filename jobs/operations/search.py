"""Finds jobs by a filter: pages with cursors, in the order of the sets, bounded in what is read."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from jobs.errors import InvalidFilter, InvalidOption
from jobs.handle import JobInfo
from jobs.keys import QueueKeys
from jobs.operations.filters import Filter
from jobs.states import TERMINAL, State
from jobs.store._script import MAX_ITEMS, AsyncCommands
from jobs.store.pages import SETS, STATE_OF, Look, Place, Row, page
from jobs.store.show import StoredJob

#: A search that must read jobs to know whether they match reads the first so many of each set.
BOUND = 10_000
#: States in which the newest jobs come first: the ended and the parked ones.
_BACKWARDS = TERMINAL | {State.parked}


class Shelf(NamedTuple):
    """One queue to look through: its name, its keys, and how its stored jobs are read."""

    queue: str
    keys: QueueKeys
    read: Callable[[StoredJob], JobInfo]


@dataclass(frozen=True, slots=True)
class Page:
    """What a search found.

    Args:
        jobs: the jobs, running ones first, ended ones last; in each state in the order in which
            they will run, or the newest first.
        cursor: give it as `after` to go on; `None` when everything was looked through. It stays
            right while jobs come and go: jobs that were there all the time are told once.
        bounded: (queue, state) pairs of which only the first `bound` jobs were looked at.
    """

    jobs: list[JobInfo]
    cursor: str | None = None
    bounded: list[tuple[str, State]] = field(default_factory=list)


class _Part(NamedTuple):
    """One set to look through."""

    shelf: Shelf
    name: str

    @property
    def state(self) -> State:
        return STATE_OF[self.name]


class _Cursor(NamedTuple):
    """Where a search stopped: by which clock it began, in which set, how much of it was read."""

    now_ms: int
    queue: str
    name: str
    place: Place
    looked: int

    def __str__(self) -> str:
        member = base64.b64encode(self.place.member).decode()
        flat = [self.now_ms, self.queue, self.name, self.place.score, member, self.looked]
        return base64.urlsafe_b64encode(to_json(flat)).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> _Cursor:
        try:
            flat = from_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            now_ms, queue, name, score, member, looked = flat
            float(score)
            place = Place(str(score), base64.b64decode(member))
            return cls(int(now_ms), str(queue), str(name), place, int(looked))
        except (ValueError, TypeError):
            raise InvalidFilter(
                f"{text!r:.80} is no cursor: give the `cursor` of the page before, as it is"
            ) from None


@dataclass(slots=True)
class Search:
    """One way through the sets that a filter names.

    Args:
        client: the server.
        shelves: the queues to look through.
        chosen: which jobs.
        backwards: whether each state is gone through the other way round.
        bound: how many jobs of a set are read at most to find those that match; `None` for all.
            Where the order of a set alone tells what matches, it holds not.
        whole: whether the jobs are read; without, only ids are found where that is enough.
    """

    client: AsyncCommands
    shelves: Sequence[Shelf]
    chosen: Filter
    backwards: bool = False
    bound: int | None = BOUND
    whole: bool = True
    bounded: list[tuple[str, State]] = field(default_factory=list)
    #: Where the last job that was given out stands; `None` before the first.
    at: _Cursor | None = None
    now_ms: int = 0

    async def begin(self, after: str | None) -> None:
        """Fix relative times, or go on where an earlier search stopped."""
        if after is not None:
            self.at = _Cursor.read(after)
            self.now_ms = self.at.now_ms
        elif not self.now_ms:
            self.now_ms = await server_ms(self.client)
        self.chosen = self.chosen.at(self.now_ms)

    async def rows(self, limit: int | None = None) -> AsyncIterator[tuple[Shelf, Row]]:
        """What matches, from where `begin` said, at most `limit` of it."""
        left = limit
        for part, cursor in self._parts():
            async for row in self._rows_of(part, cursor):
                yield part.shelf, row
                left = None if left is None else left - 1
                if left == 0:
                    return
        self.at = None

    def _parts(self) -> Iterator[tuple[_Part, _Cursor | None]]:
        """The sets that are left, the first of them with the place at which to go on."""
        states = self.chosen.states or tuple(SETS)
        parts = [
            _Part(shelf, name)
            for state in SETS
            if state in states
            for shelf in self.shelves
            for name in SETS[state]
        ]
        cursor = self.at
        if cursor is None:
            return ((part, None) for part in parts)
        names = [(part.shelf.queue, part.name) for part in parts]
        if (cursor.queue, cursor.name) not in names:
            raise InvalidFilter("this cursor is that of a search with another filter")
        at = names.index((cursor.queue, cursor.name))
        return ((part, cursor if part is parts[at] else None) for part in parts[at:])

    async def _rows_of(self, part: _Part, cursor: _Cursor | None) -> AsyncIterator[Row]:
        by_order = self.chosen.is_by_order(part.state)
        look = self._look(part, by_order)._replace(after=cursor and cursor.place)
        looked, more, seen = cursor.looked if cursor else 0, True, set[str]()
        while more:
            left = MAX_ITEMS
            if not by_order and self.bound is not None:
                left = min(MAX_ITEMS, self.bound - looked)
            if left <= 0:
                self.bounded.append((part.shelf.queue, part.state))
                return
            rows, more = await page(self.client, part.shelf.keys, look, left)
            for row in rows:
                looked += 1
                if row.id not in seen and self._matches(part, look, row):
                    self.at = _Cursor(self.now_ms, part.shelf.queue, part.name, row.place, looked)
                    yield row
            if part.state is State.active:
                # A renewed lease ends later, and so stands further back in the set.
                seen.update(row.id for row in rows)
            look = look._replace(after=rows[-1].place if rows else None)

    def _look(self, part: _Part, by_order: bool) -> Look:
        window = self.chosen.window if by_order and part.state in TERMINAL else None
        return Look(
            part.name,
            backwards=(part.state in _BACKWARDS) is not self.backwards,
            least=window.since_ms if window else None,
            most=window.until_ms if window else None,
            whole=self.whole or not by_order,
        )

    def _matches(self, part: _Part, look: Look, row: Row) -> bool:
        if row.job is None:
            return not look.whole
        by_order = self.chosen.is_by_order(part.state)
        return by_order or self.chosen.matches(part.shelf.read(row.job))


async def search(  # noqa: PLR0913 -- where to look, for what, and how far
    client: AsyncCommands,
    shelves: Sequence[Shelf],
    chosen: Filter,
    *,
    limit: int = MAX_ITEMS,
    after: str | None = None,
    backwards: bool = False,
    bound: int | None = BOUND,
) -> Page:
    """One page of the jobs that match.

    Raises:
        InvalidFilter: the cursor is none, or that of another search.
        InvalidOption: `limit` or `bound` is below 1.
    """
    check_limit("limit", limit)
    if bound is not None:
        check_limit("bound", bound)
    way = Search(client, shelves, chosen, backwards=backwards, bound=bound)
    await way.begin(after)
    rows = [(shelf, row.job) async for shelf, row in way.rows(limit)]
    found = [shelf.read(job) for shelf, job in rows if job is not None]
    return Page(found, str(way.at) if way.at else None, way.bounded)


async def server_ms(client: AsyncCommands) -> int:
    """The server's clock, in ms since 1970."""
    seconds, micros = await client.execute_command("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def check_limit(name: str, value: Any) -> None:
    """Refuse what is no number of jobs.

    Raises:
        InvalidOption: it is no whole number of 1 or more.
    """
    if type(value) is not int or value < 1:
        raise InvalidOption(f"`{name}` is a whole number of 1 or more, not {value!r}")
