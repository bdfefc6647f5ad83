"""The ends of jobs: waiting for one by push, and reading the history that a job leaves."""

from __future__ import annotations

import struct
from typing import NamedTuple

from jobs.keys import QueueKeys
from jobs.states import State
from jobs.store._script import AsyncCommands, script

_MESSAGE = struct.Struct(">BH")
#: The codes of lua/lib/keep.lua.
_STATES = {1: State.completed, 2: State.failed, 3: State.cancelled, 4: State.expired}


class End(NamedTuple):
    """A job has ended: its state and the last line of its history."""

    state: State
    line: bytes


async def watch(
    client: AsyncCommands, keys: QueueKeys, job_id: str, inbox: str
) -> tuple[State | None, End | None]:
    """(state, end) of a job; while it has not ended, its end will be sent to `inbox`."""
    state, line = await script("wait")(client, keys, (job_id, inbox))
    if not state:
        return None, None
    known = State(state.decode())
    return known, End(known, line) if known in _STATES.values() else None


def read_message(data: bytes) -> tuple[str, End]:
    """(job id, end) of one message to an inbox."""
    code, size = _MESSAGE.unpack_from(data)
    at = _MESSAGE.size + size
    return data[_MESSAGE.size : at].decode(), End(_STATES[code], data[at:])
