"""The view of one queue: counts, pages of jobs, single jobs, and all that is done to them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import from_json

from jobs import clock
from jobs.codec import Deserializer, decode_body
from jobs.connections import asks_server
from jobs.durations import Duration, to_ms
from jobs.errors import InvalidOption, JobNotFound, UnreadableBody
from jobs.events import keep_events, publish
from jobs.handle import JobInfo
from jobs.keys import control_channel, queue_keys
from jobs.metrics import Point, QueueMetrics, read_history, read_metrics
from jobs.notes import JobLog, read_log
from jobs.operations.editing import Writer
from jobs.operations.explain import Explanation, explain_job
from jobs.operations.filters import Filter
from jobs.operations.queue_control import QueueControl
from jobs.operations.search import BOUND, Page, Shelf, search
from jobs.states import TERMINAL, State
from jobs.store import limits, notes, show, workers
from jobs.store._script import MAX_ITEMS
from jobs.store.audit import audit

if TYPE_CHECKING:
    from redis.asyncio import Redis


GATE_KINDS = ("q", "f", "k", "fk", "s")


class LimitsInfo(NamedTuple):
    """The limits of one queue."""

    queue: str
    rules: dict[str, str]  #: scope -> rules, as lua/lib/gates.lua reads them
    gates: list[limits.Gate]
    closed_until_ms: int | None  #: when a 429 lets jobs begin again, by the server's clock


class QueueView(QueueControl):
    """One queue as seen from outside; made by `client.queue(name)`.

    Every method raises `ServerAway` or `ServerRefused` when the server does not answer well.
    """

    def __init__(
        self,
        client: Redis,
        address: str,
        name: str,
        prefix: str,
        writer: Writer,
    ) -> None:
        self.name = name
        self.address = address
        self._client = client
        self._prefix = prefix
        self._keys = queue_keys(name, prefix)
        self._channel = control_channel(name, prefix)
        self._writer = writer
        self._deserializer = writer.deserializer

    @asks_server
    async def counts(self) -> dict[State, int]:
        """How many jobs are in each state, at one moment."""
        return (await show.size(self._client, self._keys)).counts

    @asks_server
    async def metrics(self, since: Duration = "1h") -> QueueMetrics:
        """Counts, rates and times of the queue and of each function.

        Args:
            since: how far back what has ended is counted: 1 minute to 90 days; over 3 hours in
                whole hours, over 7 days in whole days. Default 1 hour.

        Raises:
            InvalidOption: `since` is no such duration.
        """
        window_ms = to_ms(since, what="since")
        return await read_metrics(self._client, self.name, self._keys, window_ms)

    @asks_server
    async def history(self, days: int = 90) -> list[Point]:
        """What was enqueued and what ended on each of the last days (UTC), the oldest first.

        Args:
            days: 1 to 90, today included. Default 90.

        Raises:
            InvalidOption: `days` is out of this range.
        """
        return await read_history(self._client, self._keys, days)

    @asks_server
    async def priorities(self) -> dict[int, int]:
        """How many jobs wait at each priority, the first to run first; in a queue with ageing,
        where they stand in line by time, all are under 0.
        """
        return await show.levels(self._client, self._keys)

    @asks_server
    async def memory(self) -> int:
        """Bytes that the queue takes in the server, estimated from samples."""
        return await show.memory(self._client, self._keys)

    @asks_server
    async def audit(self) -> list[str]:
        """What does not fit together in the data of the queue, in sentences; empty if all is well.

        It reads every id of the queue: for the hour after an accident, not for every minute.
        """
        return await audit(self._client, self._keys)

    @asks_server
    async def workers(self) -> list[workers.WorkerInfo]:
        """The live workers that serve the queue, each by its last heartbeat."""
        return await workers.live_workers(self._client, self._keys)

    @asks_server
    async def job(self, job_id: str) -> JobInfo:
        """Everything that the queue knows about one job.

        Raises:
            JobNotFound: the queue does not hold it.
        """
        (stored,) = await show.read_jobs(self._client, self._keys, [job_id])
        if stored is None:
            raise JobNotFound(self.name, job_id)
        return self._info(stored)

    @asks_server
    async def jobs(self, state: State, start: int = 0, count: int = 100) -> list[JobInfo]:
        """One page of the jobs in a state: live ones as they will run, ended ones newest first.

        Args:
            state: which jobs.
            start: how many to pass over.
            count: at most this many.
        """
        ids = await show.page_ids(self._client, self._keys, state, start, count)
        stored = await show.read_jobs(self._client, self._keys, ids)
        return [self._info(job) for job in stored if job is not None]

    async def iterate(self, *states: State) -> AsyncIterator[JobInfo]:
        """All jobs of these states, page by page, in the order of a search; those that stay where
        they are meanwhile are given once.
        """
        after: str | None = None
        while states:
            page = await self.search(Filter(states=states), after=after, bound=None)
            for info in page.jobs:
                yield info
            if (after := page.cursor) is None:
                return

    @asks_server
    async def explain(self, job_id: str) -> Explanation:
        """Why a job is not running, and when it will.

        Raises:
            JobNotFound: the queue does not hold it.
        """
        return await explain_job(self._client, self.name, self._prefix, job_id, self._deserializer)

    @asks_server
    async def limits(self) -> LimitsInfo:
        """The rules of the queue's limits, and how they stand."""
        rules = await limits.read_rules(self._client, self._keys)
        keys = queue_keys(self.name, self._prefix, shared=limits.are_shared(rules))
        gates = await limits.read_gates(self._client, keys)
        closed_ms = await limits.closed_until(self._client, keys)
        return LimitsInfo(self.name, rules, gates, closed_ms)

    @asks_server
    async def reset_limit(self, gate: str) -> int:
        """Forget the starts that a rate has counted, so that it opens at once.

        Args:
            gate: the limit by its name in `limits()`: `q` the queue, `f:<function>`,
                `k:<key>`, `fk:<function>` + U+0002 + `<key>`, `s:<name>` a shared one.

        Returns:
            How many starts were forgotten.

        Raises:
            InvalidOption: no limit can have this name.
        """
        kind = gate.partition(":")[0]
        if kind not in GATE_KINDS or (gate != "q" and not gate.partition(":")[2]):
            raise InvalidOption(
                f"a limit is called q, f:<function>, k:<key>, fk:…, or s:<name>, not {gate!r}"
            )
        keys = queue_keys(self.name, self._prefix, shared=kind == "s")
        return await limits.reopen(self._client, keys, gate)

    @asks_server
    async def search(
        self,
        query: Filter | str | None = None,
        *,
        limit: int = MAX_ITEMS,
        after: str | None = None,
        backwards: bool = False,
        bound: int | None = BOUND,
    ) -> Page:
        """One page of the jobs of this queue that match; see `Client.search`.

        Raises:
            The same as `Client.search`.
        """
        return await search(
            self._client,
            [self.shelf],
            Filter.of(query),
            limit=limit,
            after=after,
            backwards=backwards,
            bound=bound,
        )

    @property
    def shelf(self) -> Shelf:
        """What a search needs to know of this queue."""
        return Shelf(self.name, self._keys, self._info)

    async def logs(self, job_id: str, attempt: int | None = None) -> JobLog:
        """The log of a job: what it wrote with `ctx.log`, and captured records of `logging`.

        Args:
            job_id: the job.
            attempt: only the lines of this attempt; default all.

        Raises:
            JobNotFound: the queue does not hold it.
        """
        stored = await notes.read_log(self._client, self._keys, job_id)
        if stored is None:
            raise JobNotFound(self.name, job_id)
        return read_log(stored, attempt)

    @asks_server
    async def publish(
        self, name: str, data: Mapping[str, Any] | None = None, *, job_id: str = ""
    ) -> str | None:
        """Write an event of your own into the queue's stream, for those who follow it.

        Args:
            name: with a dot, such as "shop.order-paid".
            data: JSON of at most 16 KiB.
            job_id: of the job that it is about, if any.

        Returns:
            The event's id; `None` if nobody listens, so that nothing was written.

        Raises:
            InvalidOption: another name, or data that cannot be written.
        """
        return await publish(self._client, self._keys, name, data, job_id)

    @asks_server
    async def keep_events(self, for_: Duration | None = None) -> datetime:
        """Have the queue's events written, whether somebody reads them or not.

        Without it they are written while somebody listens and for 24 hours after.

        Args:
            for_: from now on so long; `None` (default) for ever, 0 to stop writing them now.

        Returns:
            Until when they are written.
        """
        return await keep_events(self._client, self._keys, for_)

    def _info(self, stored: show.StoredJob) -> JobInfo:
        try:
            function, args, kwargs, options = decode_body(
                stored.id, stored.body, self._deserializer
            )
        except UnreadableBody:
            function, args, kwargs, options = "?", [], {}, {}
        record, state = stored.record, stored.state
        at = clock.from_ms(stored.score)
        return JobInfo(
            id=stored.id,
            queue=self.name,
            state=state,
            function=function,
            args=list(args),
            kwargs=kwargs,
            options=options,
            priority=record.priority,
            failures=record.failures,
            losses=record.losses,
            interruptions=record.interruptions,
            enqueued_at=clock.from_ms(stored.enqueued_ms),
            due_at=at if state is State.delayed else None,
            finished_at=at if state in TERMINAL else None,
            history=[read_line(line, self._deserializer) for line in stored.history],
            progress=from_json(stored.progress) if stored.progress else None,
        )


def read_line(line: bytes, deserializer: Deserializer | None) -> dict[str, Any]:
    """One line of history as a dict, with a result of the application's own serializer read."""
    entry: dict[str, Any] = from_json(line) if line else {}
    if "own" in entry and deserializer is not None:
        entry["result"] = deserializer(base64.b64decode(entry.pop("own")))["r"]
    return entry
