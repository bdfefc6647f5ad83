"""What a worker counts: what it has done, and how many jobs a burst may still start."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.store import queue as store


@dataclass
class Counters:
    """What a worker has done, by arq's names."""

    complete: int = 0
    failed: int = 0
    retried: int = 0
    started: int = 0

    def note(self, verb: store.Verb) -> None:
        """Count one written ack."""
        match verb:
            case store.Verb.complete:
                self.complete += 1
            case store.Verb.fail | store.Verb.cancel | store.Verb.expire:
                self.failed += 1
            case store.Verb.retry | store.Verb.snooze | store.Verb.interrupt | store.Verb.limited:
                self.retried += 1
            case store.Verb.park | store.Verb.release:
                pass

    def figures(self, ongoing: int) -> str:
        """The counters in the words of arq's health key."""
        return (
            f"j_complete={self.complete} j_failed={self.failed} "
            f"j_retried={self.retried} j_ongoing={ongoing}"
        )


@dataclass
class Budget:
    """How many more jobs a burst may start; `None` for no limit."""

    left: int | None = None

    def grant(self, want: int) -> int:
        """As many of `want` as are left."""
        return want if self.left is None else min(want, self.left)

    def spend(self, number: int) -> None:
        """Note that jobs were started."""
        if self.left is not None:
            self.left -= number
