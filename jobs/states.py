"""The state machine of a job, on one screen.

                                 ┌──────────── retry, snooze ───────────┐
                                 v                                      │
    enqueue ──delay──────────> delayed ──due──> waiting ──claim──> active ──> completed
       └───────no delay──────────────────────────^  ^                │ ├────> failed
                                                    └──release,──────┘ ├────> cancelled
                                                       lost lease      ├────> expired
                                                                       └────> parked

`waiting` and `delayed` jobs can be cancelled where they are. `failed` jobs come back by hand
(`retry`), `parked` ones when a worker that knows their function appears. `suspended` is reserved
for runs that sleep or wait for an event and hold no slot.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a job is, in the words of BullMQ, so that its users find them again."""

    waiting = "waiting"
    delayed = "delayed"
    active = "active"
    completed = "completed"
    failed = "failed"
    cancelled = "cancelled"
    expired = "expired"
    parked = "parked"
    suspended = "suspended"


#: Ended: kept for a while, then removed.
TERMINAL = frozenset({State.completed, State.failed, State.cancelled, State.expired})

#: Every move that a script may make; `None` stands for "not in the queue".
TRANSITIONS: dict[State | None, frozenset[State | None]] = {
    None: frozenset({State.waiting, State.delayed}),
    State.waiting: frozenset({State.active, State.cancelled}),
    State.delayed: frozenset({State.waiting, State.cancelled}),
    State.active: frozenset(
        {
            State.completed,
            State.failed,
            State.cancelled,
            State.expired,
            State.parked,
            State.delayed,
            State.waiting,
        }
    ),
    State.completed: frozenset({None, State.waiting, State.delayed}),
    State.failed: frozenset({None, State.waiting, State.delayed}),
    State.cancelled: frozenset({None, State.waiting, State.delayed}),
    State.expired: frozenset({None, State.waiting, State.delayed}),
    State.parked: frozenset({State.waiting, State.cancelled}),
    State.suspended: frozenset({State.waiting, State.cancelled}),
}
