"""What can be done to many jobs at once: the actions, how far one is, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from jobs.states import TERMINAL, State

_LIVE = frozenset({State.waiting, State.delayed, State.parked, State.active})
_REMOVABLE = TERMINAL | _LIVE - {State.active}


class Action(NamedTuple):
    """What is done to jobs, and to those in which states."""

    name: str
    allowed: frozenset[State]
    usual: frozenset[State]  #: where the filter names no states


RETRY = Action("retry", TERMINAL, frozenset({State.failed}))
CANCEL = Action("cancel", _LIVE, _LIVE)
REMOVE = Action("remove", _REMOVABLE, _REMOVABLE)
PROMOTE = Action("promote", frozenset({State.delayed}), frozenset({State.delayed}))
ARCHIVE = Action("archive", frozenset({State.failed}), frozenset({State.failed}))
_LINED = frozenset({State.waiting, State.delayed})
CHANGE_PRIORITY = Action("change the priority of", _LINED, _LINED)


class Progress(NamedTuple):
    """How far an action is; `failed` jobs were elsewhere when their turn came."""

    done: int
    failed: int
    total: int


@dataclass(slots=True)
class BulkResult:
    """What came of an action on many jobs.

    Args:
        action: its name.
        total: how many jobs matched at its start.
        done: how many of them it was done to; 0 in a dry run.
        failed: how many of them were gone, or in another state, when their turn came.
        ids: those it was done to; in a dry run, would be.
        dry_run: whether nothing was done.
    """

    action: str
    total: int
    done: int = 0
    failed: int = 0
    ids: list[str] = field(default_factory=list)
    dry_run: bool = False

    @property
    def partial(self) -> bool:
        """Whether some of the jobs could not be acted on."""
        return not self.dry_run and self.done < self.total
