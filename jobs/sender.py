"""Brings prepared jobs to the server: in hundreds, some of them at once, repeated if they broke."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterable, Sequence

from redis.exceptions import ResponseError

from jobs.conflicts import settle
from jobs.connections import as_server_error, never_sent, trouble
from jobs.errors import DuplicateJob, EnqueueUnknown
from jobs.keys import QueueKeys, queue_keys
from jobs.lane import Lane
from jobs.requests import Prepared, chunks
from jobs.store import workers
from jobs.store._script import MAX_ITEMS
from jobs.store.queue import Added, Entry, are_plain, enqueue_plain, submit
from jobs.tasks import end_tasks

#: So many calls are under way at once: the server works while the next ones are packed.
CALLS_AT_ONCE = 2
#: So often a generated id that is taken is made anew; even one repetition is hardly ever seen.
RENAMES = 5


class Sender:
    """Duties: 1. send jobs in calls of a hundred; 2. repeat a call once whose connection broke,
    which the script finds out; 3. give another id to a job whose generated one was taken;
    4. put each queue on the list of queues, once; 5. settle conflicts over ids and unique keys.

    Args:
        lane: the way to the server.
        prefix: first part of every key.
        address: where the server is, for people.
    """

    def __init__(self, lane: Lane, prefix: str, address: str) -> None:
        self._lane = lane
        self._prefix = prefix
        self._address = address
        self._announced: set[str] = set()

    async def send(self, prepared: Iterable[Prepared]) -> list[Added]:
        """What became of each job, in the same order. From an iterator jobs are taken a hundred
        at a time, the next while the server is busy with those before.

        Raises:
            DuplicateJob: an id is taken whose job has `on_conflict="raise"`.
            ServerAway, ServerRefused: the server took nothing of one call; others may be queued.
            EnqueueUnknown: the answer of a call was lost.
        """
        answers: list[Added] = []
        under_way: deque[asyncio.Task[list[Added]]] = deque()
        try:
            for queue, chunk in chunks(prepared):
                if len(chunk) < MAX_ITEMS and not under_way:
                    answers += await self._send(queue, chunk)
                    continue
                under_way.append(asyncio.create_task(self._send(queue, chunk)))
                strict = any(item.on_conflict in ("raise", "replace", "cancel") for item in chunk)
                if len(under_way) == (1 if strict else CALLS_AT_ONCE):
                    answers += await under_way.popleft()
                else:
                    await asyncio.sleep(0)  # it is sent now, not when the next one is packed
            while under_way:
                answers += await under_way.popleft()
        finally:
            await end_tasks(*under_way)
        return answers

    async def send_one(self, prepared: Prepared) -> Added:
        """What became of one job.

        Raises:
            The same as `send`.
        """
        (answer,) = await self._send(prepared.queue, [prepared])
        return answer

    def forget(self, queue: str) -> None:
        """Put the queue on the list again with its next job: it was taken off."""
        self._announced.discard(queue)

    async def _send(self, queue: str, chunk: Sequence[Prepared]) -> list[Added]:
        answers = await self._call(queue, chunk)
        if answers.count(Added.added) == len(chunk):
            return answers
        await self._rename(queue, chunk, answers)
        for at, item in enumerate(chunk):
            if answers[at] is Added.held and item.generated:
                raise DuplicateJob(queue, item.entry.id)
            if answers[at] is not Added.added:
                answers[at] = await self._settle(item, answers[at])
        return answers

    async def _settle(self, item: Prepared, answer: Added) -> Added:
        async def send(item: Prepared) -> Added:
            return (await self._call(item.queue, [item]))[0]

        keys = queue_keys(item.queue, self._prefix)
        return await settle(self._lane, keys, self._prefix, item, answer, send)

    async def _rename(self, queue: str, chunk: Sequence[Prepared], answers: list[Added]) -> None:
        """Send jobs again whose generated ids were taken, under others."""
        for _ in range(RENAMES):
            taken = [
                at for at, item in enumerate(chunk) if item.generated and answers[at] is Added.held
            ]
            if not taken:
                return
            renamed = [chunk[at] for at in taken]
            for item in renamed:
                item.rename()
            for at, answer in zip(taken, await self._call(queue, renamed), strict=True):
                answers[at] = answer

    async def _call(self, queue: str, chunk: Sequence[Prepared]) -> list[Added]:
        """One call of the script; once more where its answer is lost."""
        keys = queue_keys(queue, self._prefix)
        try:
            if queue not in self._announced:
                await workers.add_queues(self._lane, self._prefix, [queue])
                self._announced.add(queue)
            return await self._enqueue(keys, chunk, again=False)
        except Exception as error:
            if trouble(error) is None:
                raise
            first = error
            try:
                return await self._enqueue(keys, chunk, again=True)
            except Exception as error:
                if trouble(error) is None:
                    raise
                raise self._error(first, error) from error

    def _enqueue(
        self, keys: QueueKeys, chunk: Sequence[Prepared], *, again: bool
    ) -> Awaitable[list[Added]]:
        entries = [item.entry for item in chunk]
        if are_plain(entries):
            return enqueue_plain(self._lane, keys, entries, again=again)
        return self._submit(keys, chunk, entries, again=again)

    async def _submit(
        self, keys: QueueKeys, chunk: Sequence[Prepared], entries: Sequence[Entry], *, again: bool
    ) -> list[Added]:
        answers = await submit(self._lane, keys, entries, again=again)
        for item, (_, holder) in zip(chunk, answers, strict=True):
            item.holder = holder
        return [added for added, _ in answers]

    def _error(self, first: Exception, last: Exception) -> Exception:
        known = as_server_error(last, self._address)
        if all(map(_took_nothing, (first, last))):
            return known
        return EnqueueUnknown(
            f"the connection to {self._address} broke before the answer came ({last}): the jobs "
            "may or may not be queued; repeat the call with the same ids"
        )


def _took_nothing(error: Exception) -> bool:
    """Whether the server surely did not execute the call: never sent, or refused as a whole."""
    return never_sent(error) or isinstance(error, ResponseError)
