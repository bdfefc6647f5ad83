"""One timer for all timeouts: a wheel of slots instead of a timer for each job."""

from __future__ import annotations

import asyncio
import heapq
import math
from typing import Protocol

#: Width of the finest slot, in seconds.
SLOT_S = 0.02
#: A timeout strikes late by at most this share of itself (or one slot): long ones share slots.
LATENESS = 1 / 64


class Expiring(Protocol):
    """Something that a deadline stops."""

    def time_out(self) -> None:
        """The time is over."""


class Deadlines:
    """Stops what is still registered when its time comes; adding and removing cost a set each."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, set[Expiring]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: Expiring, after_s: float) -> int:
        """Stop `item` in `after_s` seconds; the answer is what `remove` takes."""
        width = max(1, int(after_s * LATENESS / SLOT_S))
        slot = math.ceil((self._loop.time() + after_s) / (SLOT_S * width)) * width
        if slot not in self._slots:
            self._slots[slot] = set()
            heapq.heappush(self._order, slot)
            if self._order[0] == slot:
                self._schedule()
        self._slots[slot].add(item)
        return slot

    def remove(self, item: Expiring, slot: int) -> None:
        """Forget `item`, which ended in time."""
        if items := self._slots.get(slot):
            items.discard(item)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer:
            self._timer.cancel()
        self._timer = None

    def _schedule(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._order[0] * SLOT_S, self._strike)

    def _strike(self) -> None:
        self._timer = None
        now = self._loop.time() + SLOT_S / 10
        while self._order and self._order[0] * SLOT_S <= now:
            for item in self._slots.pop(heapq.heappop(self._order)):
                item.time_out()
        if self._order:
            self._schedule()
