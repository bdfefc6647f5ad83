"""The transition table is consistent with itself and with the sets that hold the states."""

from __future__ import annotations

from jobs import states
from jobs.states import TERMINAL, TRANSITIONS, State
from jobs.store.show import STATE_KEYS


def reachable(start: State | None) -> set[State | None]:
    seen: set[State | None] = {start}
    todo = [start]
    while todo:
        for state in TRANSITIONS[todo.pop()] - seen:
            seen.add(state)
            todo.append(state)
    return seen


def test_every_state_has_its_moves() -> None:
    assert set(TRANSITIONS) == {None, *State}
    assert all(after <= {None, *State} for after in TRANSITIONS.values())


def test_every_state_that_a_queue_holds_is_reached_and_can_end() -> None:
    assert reachable(None) == {None, *State} - {State.suspended}
    assert all(reachable(state) >= TERMINAL for state in State)


def test_a_job_that_has_not_ended_never_disappears() -> None:
    assert {state for state, after in TRANSITIONS.items() if None in after} == TERMINAL


def test_an_end_is_left_only_by_wish() -> None:
    """Retried, or replaced by a new job of the same id."""
    allowed = {None, State.waiting, State.delayed}
    assert all(TRANSITIONS[state] <= allowed for state in TERMINAL)


def test_only_a_claim_makes_a_job_active() -> None:
    assert [state for state, after in TRANSITIONS.items() if State.active in after] == ["waiting"]


def test_no_state_leads_to_itself() -> None:
    assert not [state for state, after in TRANSITIONS.items() if state in after]


def test_every_state_but_the_reserved_one_has_its_set() -> None:
    assert set(STATE_KEYS) == set(State) - {State.suspended}
    assert len(set(STATE_KEYS.values())) == len(STATE_KEYS)


def test_the_drawing_shows_every_state() -> None:
    assert not [state for state in State if state.value not in (states.__doc__ or "")]
