"""Catches SIGTERM and SIGINT while a worker runs, and gives them back afterwards."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from signal import Signals
from typing import Any


class SignalTrap:
    """Signals are caught while the worker runs, not from its construction on (arq-E8).

    By `signal.signal`, not by `loop.add_signal_handler`: the loop holds one callback a signal,
    so the application's own would be lost for good.
    """

    def __init__(self) -> None:
        self._previous: dict[Signals, Any] = {}

    def set(self, loop: asyncio.AbstractEventLoop, handler: Callable[[Signals], None]) -> None:
        """Call `handler` in `loop` for each signal; only from the main thread."""

        def caught(number: int, _: object) -> None:
            loop.call_soon_threadsafe(handler, Signals(number))

        for signum in (signal.SIGINT, signal.SIGTERM):
            self._previous[signum] = signal.signal(signum, caught)

    def release(self) -> None:
        """Put the handlers back that were there before."""
        for signum, handler in self._previous.items():
            if handler is not None:  # None: set by something else than Python, and lost
                signal.signal(signum, handler)
        self._previous.clear()
