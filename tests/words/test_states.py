"""The transition table is consistent with itself and with the sets that hold the states."""

from __future__ import annotations

import pytest

from jobs import states
from jobs.errors import InvalidOption
from jobs.states import TERMINAL, TRANSITIONS, State, state_named
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


def test_a_job_that_runs_never_disappears() -> None:
    """Those that rest do when they are removed by hand."""
    gone = {state for state, after in TRANSITIONS.items() if None in after}
    assert gone == TERMINAL | {State.waiting, State.delayed, State.parked}


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


def test_a_state_is_named_by_itself_or_by_its_text() -> None:
    assert state_named(State.failed, TERMINAL, "clean") is State.failed
    assert state_named("failed", TERMINAL, "clean") is State.failed


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("fialed", r"no state 'fialed' \(did you mean 'failed'\?\); `clean` takes cancelled, "),
        ("active", "`clean` takes jobs that are cancelled, .*expired or failed, not active"),
        (State.waiting, "not waiting"),
    ],
)  # fmt: skip
def test_a_state_that_does_not_fit_is_refused(given: str, sentence: str) -> None:
    with pytest.raises(InvalidOption, match=sentence):
        state_named(given, TERMINAL, "clean")
