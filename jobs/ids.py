"""Ids of jobs: 12 letters and digits that sort by the time at which they were made.

Twelve, because the allocators of servers give them, with what stands around them, 16 or 24 bytes;
the next size is 16 bytes more, twice for each job. Producers that make ids in the same millisecond
may meet; the sender then takes another id.
"""

from __future__ import annotations

import os
import secrets
from string import ascii_lowercase, ascii_uppercase, digits
from threading import Lock

from jobs import clock

#: In the order of ASCII, so that ids sort as text.
_DIGITS = digits + ascii_uppercase + ascii_lowercase
_PAIRS = tuple(first + second for first in _DIGITS for second in _DIGITS)
_PAIR = len(_PAIRS)
#: The last four digits count; the eight before them are made once in a millisecond.
_COUNTED = _PAIR**2
_FIVE = len(_DIGITS) * _COUNTED


class IdMaker:
    """Makes the ids of one process: 7 digits of milliseconds, then 5 that are random at the first
    id of a millisecond and grow by one after it, so that they come in order.

    Where the counted digits come to their end, the next millisecond is begun ahead of its time;
    that happens once in millions of ids.
    """

    __slots__ = ("_count", "_epoch", "_head", "_lock", "_ms", "_start")

    def __init__(self) -> None:
        self._ms, self._head, self._count = 0, "", _COUNTED
        self._epoch, self._start = -1, ""
        self._lock = Lock()

    def __call__(self) -> str:
        """A new id."""
        ms = clock.now_ms()
        with self._lock:
            if ms > self._ms or self._count == _COUNTED:
                self._begin(max(ms, self._ms + 1))
            first, second = divmod(self._count, _PAIR)
            self._count += 1
            return self._head + _PAIRS[first] + _PAIRS[second]

    def part(self) -> None:
        """Go other ways than the process from which this one was forked."""
        self._lock = Lock()
        self._count = _COUNTED

    def _begin(self, ms: int) -> None:
        self._ms = ms
        epoch, last = divmod(ms, _PAIR)
        if epoch != self._epoch:  # once in four seconds
            self._epoch, self._start = epoch, _five_digits(epoch)
        high, self._count = divmod(int.from_bytes(os.urandom(8)) % _FIVE, _COUNTED)
        self._head = self._start + _PAIRS[last] + _DIGITS[high]


def _five_digits(number: int) -> str:
    """The last five digits of a number."""
    rest, last = divmod(number, len(_DIGITS))
    first, second = divmod(rest % _COUNTED, _PAIR)
    return _PAIRS[first] + _PAIRS[second] + _DIGITS[last]


new_id = IdMaker()
os.register_at_fork(after_in_child=new_id.part)


def new_name(kind: str) -> str:
    """A name for a process or connection: kind, process id, random digits."""
    return f"{kind}-{os.getpid()}-{secrets.token_hex(4)}"
