"""Control of single jobs from outside a worker: cancel, retry."""

from __future__ import annotations

import struct
from collections.abc import Sequence

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
