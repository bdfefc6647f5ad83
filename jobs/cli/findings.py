"""What `check` can find, each under a code that stays: for `--ignore`, and to look it up."""

from __future__ import annotations

from dataclasses import dataclass

WARN, FAIL = "WARN", "FAIL"

#: Each code, and why it matters.
WHY = {
    "no-timeout": "an attempt that hangs keeps its slot until the worker ends",
    "no-retry-policy": "its first ordinary exception is final: the job is a dead letter at once",
    "contradictory-options": "one of the options can never have its effect",
    "object-in-payload": "jobs outlive the process that enqueues them: what is not JSON is refused "
    "or grows old in the queue",
    "large-payload": "it is held in the server's memory, and travels with every attempt",
    "cron-without-zone": "nine o'clock is another moment in another zone, or on another machine",
    "unknown-function": "its jobs wait, parked, for a worker that can run them",
    "invalid-arguments": "no job can be made of it",
    "overtaking-schedule": "its runs pile up, or two of them do the same work at once",
    "overdue-schedule": "the instants pass, and nobody makes its jobs",
    "short-unique-key": "the key is free again while the job may still run, so a second one starts "
    "beside it",
    "queue-without-function": "workers serve it for nothing, or its functions name another one",
    "undeclared-queue": "it is served with the defaults: no rate, the worker's concurrency",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that will go wrong, or may.

    Args:
        code: one of `WHY`.
        subject: what it is about, such as "job email".
        what: what was found, a sentence.
        fix: what to do about it, a sentence.
        level: "WARN", or "FAIL" for what cannot work.
    """

    code: str
    subject: str
    what: str
    fix: str
    level: str = WARN

    @property
    def why(self) -> str:
        """Why it matters."""
        return WHY[self.code]

    def document(self) -> dict[str, str]:
        """As JSON."""
        names = ("code", "level", "subject", "what", "why", "fix")
        return {name: getattr(self, name) for name in names}
