"""Control of single jobs from outside a worker: cancel, retry, change."""

from __future__ import annotations

import struct
from collections.abc import Sequence
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
    """Cancel a job; the state in which it was found, `None` if the queue does not hold it.

    A job found `active` is asked to stop through `channel`; its worker ends it.
    """
    found = await script("cancel")(client, keys, (now_ms, job_id, channel, *keep, line))
    return State(found.decode()) if found else None


def read_request(message: bytes) -> tuple[str, bytes]:
    """(job id, history line) of a request to cancel, as a worker gets it."""
    (size,) = _SIZE.unpack_from(message)
    at = _SIZE.size + size
    return message[_SIZE.size : at].decode(), message[at:]


async def retry(
    client: AsyncCommands, keys: QueueKeys, ids: Sequence[str], *, now_ms: int = 0
) -> list[State | None]:
    """Make up to 100 ended jobs wait again; the state in which each was found, in order."""
    found = await script("retry")(client, keys, (now_ms,), ids)
    return [State(state.decode()) if state else None for state in found]


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
    return Changed(State(state.decode()) if state else None, bool(done))
