"""Ids of jobs: 24 hexadecimal digits that sort by the time at which they were made."""

from __future__ import annotations

import os
import secrets
from threading import Lock

from jobs import clock

_TAIL_BITS = 48
_lock = Lock()
_last = [0, 0]


def new_id() -> str:
    """A new id: 48 bits of milliseconds, then 48 bits that are random at the first id of a
    millisecond and grow by one after it, so that one process makes them in order.
    """
    ms = clock.now_ms()
    with _lock:
        if ms > _last[0]:
            _last[:] = ms, secrets.randbits(_TAIL_BITS - 1)
        else:
            _last[1] += 1
        return f"{_last[0]:012x}{_last[1]:012x}"


def new_name(kind: str) -> str:
    """A name for a process or connection: kind, process id, random digits."""
    return f"{kind}-{os.getpid()}-{secrets.token_hex(4)}"
