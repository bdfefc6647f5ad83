"""Follows the events of queues from any process, and resumes where it was."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from datetime import datetime
from random import random
from typing import TYPE_CHECKING, Any, Self

from jobs import clock
from jobs.connections import Trouble, as_server_error, trouble
from jobs.errors import InvalidOption
from jobs.events import QueueEvent, check_event
from jobs.keys import QueueKeys, check_name, queue_keys
from jobs.lane import Lane
from jobs.queues import read_line
from jobs.store import events as store
from jobs.store import workers

if TYPE_CHECKING:
    from jobs.client import Client

logger = logging.getLogger("jobs.events")

#: A reader has events written for so long; so one that was away as long can resume.
LISTEN_MS = 24 * 3600 * 1000
#: One read waits so long; then, or at the latest so long after the last time, the reader says that
#: it is still there.
BLOCK_MS, RENEW_S = 10_000, 600.0
#: A reader of all queues looks for new ones so often.
LOOK_MS = 1000
_ANSWER_MARGIN_S = 5.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0

#: Where a reader begins in a queue: `None` now, "0" at the oldest event that is kept, an event's
#: id behind that event, a time at that time.
Since = str | int | datetime | None


class EventReader:
    """Follows the events of queues over a connection of its own; made by `client.events(…)`.

    `async for event in reader` goes on for ever, over restarts of the server: it resumes behind
    the last event that it gave. Where events were trimmed before they could be read, or nobody
    had them written, comes an event `gap`. A reader that has left its loop can be iterated again.

    Used as `async with`, it begins at that moment, and not at the first step of the loop.
    """

    def __init__(
        self,
        client: Client,
        queues: Collection[str],
        since: Since | Mapping[str, Since],
        names: Collection[str],
        job_id: str | None,
    ) -> None:
        self._client = client
        self._all = not queues
        self._since = since
        self._names = frozenset(map(check_event, [names] if isinstance(names, str) else names))
        self._job_id = job_id
        self._keys: dict[str, QueueKeys] = {}
        self._numbers: dict[str, int] = {}
        self._not_before: dict[str, datetime] = {}
        self._listened_s = -float("inf")
        self._began = False
        self._turn: object | None = None
        self._gaps: list[str] = []
        self._lane: Lane | None = None
        for name in queues:
            self._add(check_name(name))
        for place in since.values() if isinstance(since, Mapping) else (since,):
            _check_since(place)

    def _add(self, name: str) -> None:
        self._keys[name] = queue_keys(name, self._client.prefix)

    # -- life ------------------------------------------------------------------------------

    @property
    def position(self) -> dict[str, str]:
        """The last event read of each queue, for `since` of a later reader."""
        return {name: str(number) for name, number in self._numbers.items()}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Connect and begin, so that everything from now on is read.

        Raises:
            ServerAway, ServerRefused: the server does not answer well.
        """
        try:
            await self._listen()
        except Exception as error:
            if trouble(error) is None:
                raise
            raise as_server_error(error, self._client.address) from error

    async def aclose(self) -> None:
        """Close the connection and end the loops over this reader. It may be iterated again, and
        goes on where it was.
        """
        self._turn = None
        await self._disconnect()

    # -- reading ---------------------------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[QueueEvent]:
        # A loop that was left is ended later, when the next one may have begun.
        turn = self._turn = object()
        if self._lane is None:
            await self.start()
        wait_s = _FIRST_WAIT_S
        try:
            while self._turn is turn:
                try:
                    found = await self._read()
                    wait_s = _FIRST_WAIT_S
                except Exception as error:  # noqa: BLE001 -- sorted by `_lost`
                    if self._turn is not turn:
                        return
                    await self._lost(error, wait_s)
                    wait_s = min(_LONGEST_WAIT_S, wait_s * 2)
                    continue
                for event in found if self._turn is turn else ():
                    self._numbers[event.queue] = int(event.id)
                    if self._wants(event):
                        yield event
        finally:
            if self._turn is turn:
                await self.aclose()

    async def _read(self) -> list[QueueEvent]:
        """The next events, in the order of each queue; none when nothing happened for a while."""
        if self._lane is None:
            await self._listen()
        gaps, self._gaps = self._gaps, []
        if gaps:
            return [self._gap(name) for name in gaps]
        streams = {keys.events: name for name, keys in self._keys.items()}
        after = {keys.events: self._numbers[name] for name, keys in self._keys.items()}
        block_ms = LOOK_MS if self._all else BLOCK_MS
        if not streams:
            await asyncio.sleep(block_ms / 1000)
        found = await store.read(self._own_lane(), after, block_ms) if streams else {}
        if not found or clock.mono() - self._listened_s > RENEW_S:
            await self._listen()
        return [
            event
            for key, told in found.items()
            for event in self._events(streams[key], told, after[key])
        ]

    def _events(self, name: str, told: list[store.Told], last: int) -> Iterator[QueueEvent]:
        """The events of one queue; where their numbers do not follow each other is a gap."""
        for one in told:
            if last > 0 and one.number > last + 1:
                yield self._gap(name, one.number - 1, one.at_ms)
            yield self._event(name, one)
            last = one.number

    def _event(self, name: str, told: store.Told) -> QueueEvent:
        return QueueEvent(
            name=told.name,
            queue=name,
            job_id=told.job_id,
            at=clock.from_ms(told.at_ms),
            id=str(told.number),
            data=_read_data(told, self._client),
        )

    def _gap(self, name: str, number: int | None = None, at_ms: int | None = None) -> QueueEvent:
        number = self._numbers[name] if number is None else number
        at = clock.from_ms(clock.now_ms() if at_ms is None else at_ms)
        return QueueEvent("gap", name, "", at, str(number))

    def _wants(self, event: QueueEvent) -> bool:
        if event.name == "gap":
            return True
        early = event.queue in self._not_before and event.at < self._not_before[event.queue]
        named = not self._names or event.name in self._names
        return named and not early and self._job_id in {None, event.job_id}

    # -- the server ------------------------------------------------------------------------

    def _own_lane(self) -> Lane:
        if self._lane is None:
            timeout_s = BLOCK_MS / 1000 + _ANSWER_MARGIN_S
            self._lane = Lane(self._client.connection_pool, timeout_s)
        return self._lane

    async def _disconnect(self) -> None:
        self._listened_s = -float("inf")
        lane, self._lane = self._lane, None
        if lane is not None:
            await lane.aclose()

    async def _listen(self) -> None:
        """Say that somebody listens, and find the place to read from where it is not known."""
        lane = self._own_lane()
        if self._all:
            await self._find_queues()
        is_due = clock.mono() - self._listened_s >= BLOCK_MS / 1000
        names = [name for name in self._keys if is_due or name not in self._numbers]
        if is_due:
            self._listened_s = clock.mono()
        calls = [store.listen(lane, self._keys[name], LISTEN_MS) for name in names]
        for name, stand in zip(names, await asyncio.gather(*calls), strict=True):
            known = self._numbers.get(name)
            if known is None:
                self._numbers[name] = self._begin(name, stand.last)
            elif known > stand.last:  # the server has forgotten what it told
                self._numbers[name] = stand.last
                self._gaps.append(name)

    async def _find_queues(self) -> None:
        """Follow the queues that came; what happened there before is a gap, for nobody listened."""
        is_new, self._began = self._began, True
        for name in await workers.all_queues(self._client, self._client.prefix):
            if name not in self._keys:
                self._add(name)
                if is_new and self._place_of(name) is None:
                    self._gaps.append(name)

    def _place_of(self, name: str) -> Since:
        return self._since.get(name) if isinstance(self._since, Mapping) else self._since

    def _begin(self, name: str, last: int) -> int:
        chosen = self._place_of(name)
        if chosen is None:
            return last
        if isinstance(chosen, datetime):
            self._not_before[name] = chosen.replace(microsecond=chosen.microsecond // 1000 * 1000)
            return 0
        number = int(chosen)
        if number > last:
            self._gaps.append(name)
        return min(number, last)

    async def _lost(self, error: Exception, wait_s: float) -> None:
        """Wait before the next try; the events stay where they are meanwhile."""
        kind = trouble(error)
        if kind is None:
            raise error
        if kind is Trouble.fatal:
            raise as_server_error(error, self._client.address) from error
        if wait_s == _FIRST_WAIT_S:
            logger.warning("the events of %s are read on when the server is back: %s",
                           self._client.address, error)  # fmt: skip
        await self._disconnect()
        await asyncio.sleep(wait_s * (0.5 + random()))


def _check_since(since: object) -> None:
    if since is None or (isinstance(since, datetime) and since.tzinfo is not None):
        return
    if isinstance(since, int | str) and not isinstance(since, bool) and str(since).isdigit():
        return
    raise InvalidOption(
        f"`since` is the id of an event, '0', an aware datetime or None, not {since!r}"
    )


def _read_data(told: store.Told, client: Client) -> dict[str, Any]:
    """The data of an event; that of some is plain text, which the scripts have at hand."""
    if not told.data:
        return {}
    match told.name:
        case "added" | "active":
            return {"function": told.data.decode(errors="replace")}
        case "deduplicated":
            return {"deduplicated": told.data.decode(errors="replace")}
        case "delayed":
            return {"due_ms": int(float(told.data))}
    try:
        entry = read_line(told.data, client.job_deserializer)
    except Exception:  # noqa: BLE001 -- a deserializer of any kind: the event is told all the same
        return {"text": told.data.decode(errors="replace")}
    return entry


def follow(
    self: Client,
    *queues: str,
    since: Since | Mapping[str, Since] = None,
    names: Collection[str] = (),
    job_id: str | None = None,
) -> EventReader:
    """Follow what happens: `async for event in client.events("email")`.

    Args:
        self: the client.
        *queues: their names; none for all queues, also those that come: they are found within
            a second, and a `gap` stands for what happened there before.
        since: where to begin: `None` (default) now, "0" at the oldest event that is kept (about
            10,000 of a queue), an event's id behind that event, an aware datetime at that time;
            or one of these for each queue, such as a reader's `position`.
        names: only events of these names; default all.
        job_id: only events of this job.

    Returns:
        The reader. Used as `async with` it begins at once, and is closed at the end.

    Raises:
        InvalidOption: there is no such event, or `since` is none of these.
    """
    return EventReader(self, queues, since, names, job_id)
