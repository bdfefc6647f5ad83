"""The state machine of a job, on one screen.

                                 ┌──────────── retry, snooze ───────────┐
                                 v                                      │
    enqueue ──delay──────────> delayed ──due──> waiting ──claim──> active ──> completed
       └───────no delay──────────────────────────^  ^                │ ├────> failed
                                                    └──release,──────┘ ├────> cancelled
                                                       lost lease      ├────> expired
                                                                       └────> parked

`waiting`, `delayed` and `parked` jobs can be cancelled, changed or removed where they are. Ended
jobs come back by hand (`retry`), `parked` ones when a worker that knows their function appears.
`suspended` is reserved for runs that sleep or wait for an event and hold no slot.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from jobs.errors import InvalidOption, did_you_mean


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

#: Every move that a script may make; `None` stands for "not in the queue". A running job leaves
#: the queue only with all others, when it is obliterated by force.
TRANSITIONS: dict[State | None, frozenset[State | None]] = {
    None: frozenset({State.waiting, State.delayed}),
    State.waiting: frozenset({State.active, State.delayed, State.cancelled, None}),
    State.delayed: frozenset({State.waiting, State.cancelled, None}),
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
    State.parked: frozenset({State.waiting, State.cancelled, None}),
    State.suspended: frozenset({State.waiting, State.cancelled}),
}


def state_named(given: State | str, allowed: Collection[State], verb: str) -> State:
    """The state of this name, if it is one of those that are `allowed`.

    Raises:
        InvalidOption: there is no such state, or the verb has no business with it.
    """
    for state in allowed:
        if given == state:
            return state
    names = sorted(allowed)
    if given in list(State):
        raise InvalidOption(f"`{verb}` takes jobs that are {_listed(names)}, not {given}")
    hint = did_you_mean(str(given), map(str, names))
    raise InvalidOption(f"there is no state {given!r}{hint}; `{verb}` takes {_listed(names)}")


def _listed(names: list[State]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
