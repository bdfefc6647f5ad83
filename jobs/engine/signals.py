"""Catches SIGTERM and SIGINT while a worker runs, and gives them back afterwards."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from signal import Signals
from typing import Any

from jobs.engine.figures import Figures

logger = logging.getLogger("jobs.worker")


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


class ArqSignals(Figures):
    """arq's names for the two reactions of a worker to a signal."""

    on_stop: Callable[[Signals], None] | None

    def stop(self, grace: float | None = None) -> None:
        """Ask the worker to stop."""
        raise NotImplementedError

    def handle_sig(self, signum: Signals) -> None:
        """arq's reaction to a signal: stop at once; running jobs are released."""
        self.stop(grace=0)
        if self.on_stop:
            self.on_stop(Signals(signum))

    def handle_sig_wait_for_completion(self, signum: Signals) -> None:
        """arq's other reaction: let running jobs finish for `job_completion_wait` seconds."""
        logger.info("%s: %s", Signals(signum).name, self._figures())
        self.stop()
        if self.on_stop:
            self.on_stop(Signals(signum))
