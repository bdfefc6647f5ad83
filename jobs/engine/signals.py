"""Catches SIGTERM and SIGINT while a worker runs, and gives them back afterwards."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from functools import partial
from signal import Signals
from typing import Any


class SignalTrap:
    """Signals are caught while the worker runs, not from its construction on (arq-E8)."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._previous: dict[Signals, Any] = {}

    def set(self, loop: asyncio.AbstractEventLoop, handler: Callable[[Signals], None]) -> None:
        """Call `handler` in `loop` for each signal; on Windows there is nothing to set."""
        self._loop = loop
        for signum in (signal.SIGINT, signal.SIGTERM):
            previous = signal.getsignal(signum)
            try:
                loop.add_signal_handler(signum, partial(handler, signum))
            except NotImplementedError:  # pragma: no cover -- Windows
                continue
            self._previous[signum] = previous

    def release(self) -> None:
        """Put the handlers back that were there before."""
        for signum, handler in self._previous.items():
            assert self._loop is not None  # noqa: S101 -- set with the handlers
            self._loop.remove_signal_handler(signum)
            signal.signal(signum, handler)
        self._previous.clear()
