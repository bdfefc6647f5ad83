"""What is done to the jobs of a queue from outside: retry, cancel, promote, change, remove."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from jobs import clock, registry
from jobs.codec import Deserializer
from jobs.connections import asks_server
from jobs.durations import Duration, until_ms
from jobs.errors import InvalidOption, JobNotFound, WrongState
from jobs.handle import Job
from jobs.kept import retention_of
from jobs.keys import QueueKeys
from jobs.operations import editing
from jobs.operations.editing import Payload, Writer
from jobs.retention import Limits
from jobs.states import TERMINAL, State, state_named
from jobs.store import clearing, control, show
from jobs.store._script import MAX_ITEMS

if TYPE_CHECKING:
    from redis.asyncio import Redis

#: What those hear of who wait for a job that is removed before its end.
REMOVED = "removed"


class QueueJobs:
    """The part of `QueueView` that is about jobs which are there."""

    name: str
    address: str
    _client: Redis
    _keys: QueueKeys
    _channel: str
    _prefix: str
    _deserializer: Deserializer | None
    _writer: Writer

    @asks_server
    async def retry(
        self, ids: Sequence[str], *, reset_attempts: bool = True, payload: Payload | None = None
    ) -> list[State | None]:
        """Make ended jobs wait again, completed ones too; body and history stay.

        Args:
            ids: which jobs.
            reset_attempts: whether they get all their attempts again (default), and all of the
                time in which they must start; else one more attempt.
            payload: other arguments, all of them, for one job.

        Returns:
            The state in which each was found, in order; `None` for an unknown one. Only those
            found in a terminal state were moved.

        Raises:
            InvalidOption: a payload for more than one job.
            InvalidPayload, PayloadTooLarge: it does not fit the function, if that is known here.
            UnreadableBody: the job whose payload is to be replaced cannot be read.
        """
        if payload is not None and len(ids) != 1:
            raise InvalidOption(f"a payload is for one job, not for {len(ids)}")
        bodies = dict.fromkeys(ids, b"")
        if payload is not None:
            stored = (await show.read_jobs(self._client, self._keys, ids))[0]
            if stored is None:
                return [None]
            bodies[stored.id] = editing.with_payload(stored, payload, self._writer)

        async def some(page: Sequence[str]) -> list[State | None]:
            mine = {job_id: bodies[job_id] for job_id in page}
            return await control.retry(self._client, self._keys, mine, reset=reset_attempts)

        found = dict(zip(bodies, await _in_pages(list(bodies), some), strict=True))
        return [found[job_id] for job_id in ids]

    @asks_server
    async def retry_jobs(
        self,
        count: int,
        *,
        state: State | str = State.failed,
        before: datetime | None = None,
        reset_attempts: bool = True,
    ) -> int:
        """Make the last jobs wait again that ended in a state: "the last 100 that failed
        before 14:00".

        Args:
            count: at most so many, the newest of them.
            state: failed (default), completed, cancelled or expired.
            before: only those that ended before this moment (aware); default no limit.
            reset_attempts: as in `retry`.

        Returns:
            How many wait again.

        Raises:
            InvalidOption: no such state, a count below 1, a moment without a time zone.
        """
        chosen = state_named(state, TERMINAL, "retry")
        check_limit(count)
        before_ms = None if before is None else until_ms(before, what="before")
        moved = 0
        ids = await clearing.newest(
            self._client, self._keys, chosen, before_ms=before_ms, count=count
        )
        for at in range(0, len(ids), MAX_ITEMS):
            page = dict.fromkeys(ids[at : at + MAX_ITEMS], b"")
            found = await control.retry(self._client, self._keys, page, reset=reset_attempts)
            moved += sum(state in TERMINAL for state in found)
        return moved

    @asks_server
    async def cancel(self, job_id: str, reason: str = "cancelled") -> State | None:
        """Cancel a job: at once if it does not run, else by asking its worker.

        Returns:
            The state in which it was found; `None` for an unknown job.
        """
        return (await self._cancel([job_id], reason))[0]

    @asks_server
    async def cancel_many(
        self, ids: Sequence[str], reason: str = "cancelled"
    ) -> list[State | None]:
        """Cancel jobs, as `cancel` does; the state in which each was found, in order."""
        return await self._cancel(ids, reason)

    @asks_server
    async def promote(self, ids: Sequence[str]) -> list[State | None]:
        """Make delayed jobs wait now, at the end of their priority.

        Returns:
            The state in which each was found, in order; `None` for an unknown one. Only those
            found delayed were moved.
        """
        return await _in_pages(ids, lambda page: control.promote(self._client, self._keys, page))

    @asks_server
    async def promote_all(self) -> int:
        """Make all jobs wait now that are delayed at this moment; how many were moved."""
        ids: list[str] = []
        while page := await show.page_ids(
            self._client, self._keys, State.delayed, len(ids), MAX_ITEMS
        ):
            ids += page
        return (await self.promote(ids)).count(State.delayed)

    @asks_server
    async def remove(self, ids: Sequence[str]) -> list[State | None]:
        """Remove jobs with their bodies, results and histories; running ones stay.

        Whoever waits for a job that had not ended hears that it was cancelled, with the reason
        "removed".

        Returns:
            The state in which each was found, in order; `None` for an unknown one. Those found
            active were not removed.
        """
        return await _in_pages(ids, self._remove)

    @asks_server
    async def change(
        self,
        job_id: str,
        *,
        payload: Payload | None = None,
        priority: int | None = None,
        delay: Duration | None = None,
        run_at: datetime | None = None,
    ) -> State:
        """Edit a job that waits, is delayed or is parked; its id, history and attempts stay.

        Args:
            job_id: which job.
            payload: other arguments, all of them.
            priority: 1 (first) to 1000 (last). Among equals it stands where it was enqueued.
            delay: it may run this long from now; 0 to make a delayed job wait now.
            run_at: it may run at this moment (aware); not together with `delay`.

        Returns:
            The state in which it was found.

        Raises:
            InvalidOption: nothing to change, `delay` with `run_at`, a value that cannot be.
            InvalidPayload, PayloadTooLarge: it does not fit the function, if that is known here.
            JobNotFound: the queue does not hold the job.
            WrongState: the job runs or has ended, or is parked and was to get a time.
            UnreadableBody: its payload is to be replaced, and cannot be read.
        """
        priority = editing.check_priority(priority)
        delay_ms, due_ms = editing.moment(delay, run_at)
        if payload is None and not priority and delay_ms < 0 and due_ms < 0:
            raise InvalidOption("nothing to change: give `payload`, `priority`, `delay`, `run_at`")
        body = b""
        if payload is not None:
            body = editing.with_payload(await self._stored(job_id), payload, self._writer)
        found, done = await control.change(
            self._client,
            self._keys,
            job_id,
            body=body,
            priority=priority,
            delay_ms=delay_ms,
            due_ms=due_ms,
        )
        if found is None:
            raise JobNotFound(self.name, job_id)
        if not done:
            raise WrongState(editing.unchanged(self.name, job_id, found))
        return found

    @asks_server
    async def duplicate(
        self,
        job_id: str,
        *,
        payload: Payload | None = None,
        id: str | None = None,  # noqa: A002 -- the word of `enqueue`
        delay: Duration | None = None,
        run_at: datetime | None = None,
    ) -> Job[Any]:
        """Enqueue a copy of a job of any state: the same function, arguments, options, priority
        and key, in the same queue. Attempts, history and a unique key are not copied.

        Args:
            job_id: which job.
            payload: other arguments, all of them.
            id: the id of the copy; by default a new one.
            delay: wait this long before it may run.
            run_at: run not before this moment (aware); not together with `delay`.

        Returns:
            The handle of the copy.

        Raises:
            JobNotFound: the queue does not hold the job.
            DuplicateJob: the id of the copy is taken.
            InvalidOption, InvalidPayload, PayloadTooLarge, UnreadableBody: as in `change`.
            EnqueueUnknown: the answer was lost; repeat with an id.
        """
        when = editing.moment(delay, run_at)
        stored = await self._stored(job_id)
        flow = await show.read_flow(self._client, self._keys, job_id)
        prepared = editing.copy_of(self.name, stored, flow, payload, id, when, self._writer)
        await self._writer.sender.send_one(prepared)
        return Job(prepared.entry.id, self._client, self.name)

    # -- helpers ---------------------------------------------------------------------------

    async def _stored(self, job_id: str) -> show.StoredJob:
        (stored,) = await show.read_jobs(self._client, self._keys, [job_id])
        if stored is None:
            raise JobNotFound(self.name, job_id)
        return stored

    async def _remove(self, page: Sequence[str]) -> list[State | None]:
        answers = await control.remove(self._client, self._keys, page, line=end_line(REMOVED))
        return [answer.state for answer in answers]

    async def _cancel(self, ids: Sequence[str], reason: str) -> list[State | None]:
        line = end_line(reason)

        async def some(page: Sequence[str]) -> list[State | None]:
            found: dict[str, State | None] = {}
            for keep, alike in (await self._by_retention(page)).items():
                answers = await control.cancel_many(
                    self._client, self._keys, alike, channel=self._channel, keep=keep, line=line
                )
                found |= zip(alike, answers, strict=True)
            return [found[job_id] for job_id in page]

        return await _in_pages(ids, some)

    async def _by_retention(self, page: Sequence[str]) -> dict[Limits, list[str]]:
        """The ids, those together that are kept alike once they are cancelled."""
        bodies = await show.read_bodies(self._client, self._keys, page)
        alike: dict[Limits, list[str]] = {}
        for job_id, body in zip(page, bodies, strict=True):
            keep = retention_of(job_id, body, registry.functions, deserializer=self._deserializer)
            alike.setdefault(keep.cancelled, []).append(job_id)
        return alike


async def _in_pages(
    ids: Sequence[str], some: Callable[[Sequence[str]], Awaitable[list[State | None]]]
) -> list[State | None]:
    found: list[State | None] = []
    for at in range(0, len(ids), MAX_ITEMS):
        found += await some(ids[at : at + MAX_ITEMS])
    return found


def end_line(reason: str) -> bytes:
    """The end of a job that was stopped from outside, in its history and to those who wait."""
    return to_json({"outcome": "cancelled", "reason": reason, "at": clock.now_ms()})


def check_limit(limit: int | None) -> None:
    """Refuse a number of jobs that is none.

    Raises:
        InvalidOption: it is below 1, or no whole number.
    """
    if limit is not None and (type(limit) is not int or limit < 1):
        raise InvalidOption(f"at least 1 job, and a whole number of them, not {limit!r}")
