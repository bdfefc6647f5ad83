"""Control of jobs from outside a worker: cancel, retry, change, promote, remove."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jobs.keys import QueueKeys
from jobs.states import State
from jobs.store._script import AsyncCommands, script
from jobs.store.queue import Limits

_SIZE = struct.Struct(">H")


async def cancel(  # noqa: PLR0913 -- where, what, and the policy for what is kept of it
    client: AsyncCommands,
    keys: QueueKeys,
    job_id: str,
    *,
    channel: str,
    keep: Limits,
    line: bytes,
    now_ms: int = 0,
) -> State | None:
    """Cancel one job; see `cancel_many`."""
    found = await cancel_many(
        client, keys, [job_id], channel=channel, keep=keep, line=line, now_ms=now_ms
    )
    return found[0]


async def cancel_many(  # noqa: PLR0913 -- the same
    client: AsyncCommands,
    keys: QueueKeys,
    ids: Sequence[str],
    *,
    channel: str,
    keep: Limits,
    line: bytes,
    now_ms: int = 0,
) -> list[State | None]:
    """Cancel up to 100 jobs; the state in which each was found, `None` if it is not there.

    One found `active` is asked to stop through `channel`; its worker ends it.
    """
    return _states(await script("cancel")(client, keys, (now_ms, channel, *keep, line), ids))


def read_request(message: bytes) -> tuple[str, bytes]:
    """(job id, history line) of a request to cancel, as a worker gets it."""
    (size,) = _SIZE.unpack_from(message)
    at = _SIZE.size + size
    return message[_SIZE.size : at].decode(), message[at:]


async def retry(
    client: AsyncCommands,
    keys: QueueKeys,
    bodies: Mapping[str, bytes],
    *,
    reset: bool = True,
    now_ms: int = 0,
) -> list[State | None]:
    """Make up to 100 ended jobs wait again; the state in which each was found, in order.

    Args:
        client: where the queue is.
        keys: the queue's.
        bodies: id -> another envelope, encoded for that id; nothing to keep its own.
        reset: whether they get all their attempts again, and all the time they may wait.
        now_ms: the time of a test.
    """
    rest = [value for pair in bodies.items() for value in pair]
    return _states(await script("retry")(client, keys, (now_ms, int(reset)), rest))


async def promote(
    client: AsyncCommands, keys: QueueKeys, ids: Sequence[str], *, now_ms: int = 0
) -> list[State | None]:
    """Make up to 100 delayed jobs wait now; the state in which each was found, in order."""
    return _states(await script("promote")(client, keys, (now_ms,), ids))


class Changed(NamedTuple):
    """What became of a change."""

    state: State | None  #: in which the job was found; `None` if the queue does not hold it
    done: bool


async def change(  # noqa: PLR0913 -- each part of a job that can be changed, and when not to
    client: AsyncCommands,
    keys: QueueKeys,
    job_id: str,
    *,
    own: str = "",
    body: bytes = b"",
    priority: int = 0,
    due_ms: int = -1,
    delay_ms: int = -1,
    most_ms: int = 0,
    now_ms: int = 0,
) -> Changed:
    """Edit a job that neither runs nor has ended; what is not given stays as it is.

    Args:
        client: where the queue is.
        keys: the queue's.
        job_id: which job.
        own: change it only while it has this unique key.
        body: its envelope, encoded for the same id.
        priority: 1 to 1000; 0 leaves it.
        due_ms: when it may run, by the server's clock; 0 is now, -1 leaves it.
        delay_ms: the same from now; -1 for none.
        most_ms: it is not due later than this after its enqueue; 0 for no limit.
        now_ms: the time of a test.
    """
    args = (now_ms, job_id, own, body, priority, due_ms, delay_ms, most_ms)
    state, done = await script("change")(client, keys, args)
    return Changed(_states([state])[0], bool(done))


class Removed(NamedTuple):
    """What became of a removal."""

    state: State | None  #: in which the job was found; `None` if the queue does not hold it
    done: bool


async def remove(  # noqa: PLR0913 -- which jobs, and what is told of it
    client: AsyncCommands,
    keys: QueueKeys,
    ids: Sequence[str],
    *,
    line: bytes,
    state: State | None = None,
    before_ms: int = 0,
    running: bool = False,
    event: str = "",
    now_ms: int = 0,
) -> list[Removed]:
    """Remove up to 100 jobs with all that is theirs; what became of each, in order.

    Args:
        client: where the queue is.
        keys: the queue's.
        ids: which jobs.
        line: the end that those hear of who wait for a job which had not ended.
        state: only jobs of this state.
        before_ms: only those that ended then or earlier; of others, that were enqueued so.
        running: also those that run; their ends are refused.
        event: `cleaned` or `drained`, told as well.
        now_ms: the time of a test.
    """
    args = (now_ms, state or "", before_ms, int(running), event, line)
    flat = await script("remove")(client, keys, args, ids)
    return [Removed(*pair) for pair in zip(_states(flat[::2]), map(bool, flat[1::2]), strict=True)]


def _states(found: Sequence[bytes]) -> list[State | None]:
    return [State(state.decode()) if state else None for state in found]
