"""Emptying a queue page by page: its waiting jobs, its old ones, or all of it with its name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from jobs.keys import QueueKeys
from jobs.states import TERMINAL, State
from jobs.store import control, show, workers
from jobs.store._script import MAX_ITEMS, script

if TYPE_CHECKING:
    from redis.asyncio import Redis


async def clear(  # noqa: PLR0913 -- which jobs, how many, and what is told of it
    client: Redis,
    keys: QueueKeys,
    state: State,
    *,
    line: bytes,
    before_ms: int,
    limit: int | None = None,
    event: str = "cleaned",
) -> int:
    """Remove jobs of one state, a hundred a call; how many were removed.

    Args:
        client: where the queue is.
        keys: the queue's.
        state: of which jobs; not `active`.
        line: the end that those hear of who wait for one of them.
        before_ms: only those that ended then or earlier; of others, that were enqueued so. What
            comes meanwhile stays, so that this ends in a busy queue too.
        limit: at most so many; the oldest of ended ones.
        event: `cleaned` or `drained`, told with each call.
    """
    removed = start = 0
    while limit is None or removed < limit:
        most = MAX_ITEMS if limit is None else min(MAX_ITEMS, limit - removed)
        ids = await _page(client, keys, state, start, most, before_ms)
        if not ids:
            break
        answers = await control.remove(
            client, keys, ids, line=line, state=state, before_ms=before_ms, event=event
        )
        gone = sum(answer.done for answer in answers)
        removed += gone
        start += len(ids) - gone
    return removed


async def matching(
    client: Redis, keys: QueueKeys, state: State, *, before_ms: int, limit: int | None = None
) -> list[str]:
    """The ids that `clear` would remove."""
    found: list[str] = []
    start = 0
    while limit is None or len(found) < limit:
        ids = await _page(client, keys, state, start, MAX_ITEMS, before_ms)
        if not ids:
            break
        start += len(ids)
        stored = await show.read_jobs(client, keys, ids)
        found += [job.id for job in stored if job and _is_older(job, before_ms)]
    return found[:limit]


def _is_older(job: show.StoredJob, before_ms: int) -> bool:
    return (job.score if job.state in TERMINAL else job.enqueued_ms) <= before_ms


async def _page(  # noqa: PLR0913 -- a page of a range of a state
    client: Redis, keys: QueueKeys, state: State, start: int, count: int, before_ms: int
) -> list[str]:
    """Ids of one state, ended ones oldest first and old enough."""
    if state not in TERMINAL:
        return await show.page_ids(client, keys, state, start, count)
    key = getattr(keys, show.STATE_KEYS[state])
    ids = await client.zrangebyscore(key, "-inf", before_ms, start=start, num=count)
    return [job_id.decode() for job_id in ids]


async def newest(
    client: Redis, keys: QueueKeys, state: State, *, before_ms: int | None, count: int
) -> list[str]:
    """The ids of the last jobs that ended so, before a moment; the newest first."""
    key = getattr(keys, show.STATE_KEYS[state])
    most = "+inf" if before_ms is None else f"({before_ms}"
    ids = await client.zrevrangebyscore(key, most, "-inf", start=0, num=count)
    return [job_id.decode() for job_id in ids]


async def obliterate(  # noqa: PLR0913 -- the queue by its keys and by its name
    client: Redis, keys: QueueKeys, prefix: str, name: str, *, line: bytes, force: bool
) -> int | None:
    """Remove a queue: every job, every key, its name from the list.

    Returns:
        How many jobs it held; `None` if some run and `force` was not given: nothing was done.
    """
    close = script("obliterate")
    held = sum((await show.size(client, keys)).counts.values())
    active = await close(client, keys, (0, int(force), 0))
    if active and not force:
        return None
    fence = 2 if active else int(force)
    while True:
        async for ids in _concerned(client, keys):
            await control.remove(client, keys, ids, line=line, running=True)
        if not await close(client, keys, (0, fence, 1)):
            break
    await workers.forget_queue(client, prefix, name)
    return held


async def _concerned(client: Redis, keys: QueueKeys) -> AsyncIterator[list[str]]:
    """The jobs that somebody must hear of: those that run, those that are awaited."""
    while active := await client.zrange(keys.leases, 0, MAX_ITEMS - 1):
        yield [job_id.decode() for job_id in active]
    awaited: set[str] = {job_id.decode() async for job_id, _ in client.hscan_iter(keys.waiters)}
    ids = sorted(awaited)
    for at in range(0, len(ids), MAX_ITEMS):
        yield ids[at : at + MAX_ITEMS]


async def remove_orphans(client: Redis, keys: QueueKeys, *, line: bytes) -> int:
    """Remove ids without a job and jobs that no state holds; how many ids were cleared away."""
    names = ("body", "record", "result", "progress", "logs", "waiters", *show.STATE_KEYS.values())
    removed = 0
    for name in (*names, "grouped"):
        cursor = "0"
        while True:
            number, after = await script("sweep")(client, keys, (0, name, cursor, line))
            removed += number
            cursor = after.decode()
            if cursor == "0":
                break
    return removed
