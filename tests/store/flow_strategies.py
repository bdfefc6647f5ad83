"""What the machine of test_flow_machine draws its steps from."""

from __future__ import annotations

from hypothesis import strategies as st

from jobs.states import State
from jobs.store.queue import Once, Verb
from tests.store.steps import FOREVER, NOTHING

IDS = st.sampled_from("abcdefghijklmnopqrst")
KEEPS = st.sampled_from([FOREVER, FOREVER, NOTHING, (40, -1, -1)])
MOST_LOSSES = 2
MS = 300
ENDS = {
    Verb.complete: State.completed,
    Verb.fail: State.failed,
    Verb.cancel: State.cancelled,
    Verb.expire: State.expired,
}
BACK = {Verb.release, Verb.interrupt, Verb.limited}
RULES = {
    "q": ["c3", "r3/1000", "c2@s", "r3/1000@s"],
    "k": ["c1", "c2", "r2/1000", "o", "c2 r2/1000"],
    "f:x": ["c1", "r1/1000", "c1@s", "r2/1000@s", "c2 r2/1000"],
    "f:y": ["c2", "c1@s"],
    "fk:x": ["c1", "r1/1000", "o"],
}
CHANGES = st.sampled_from(
    [(scope, text) for scope, texts in RULES.items() for text in ["", *texts]]
)
ENTRY = st.fixed_dictionaries(
    {
        "job_id": IDS,
        "function": st.sampled_from("xxy"),
        "key": st.sampled_from(["k", "l", "k", ""]),
        "once": st.sampled_from([None] * 6 + [*Once]),
        "priority": st.sampled_from([3, 3, 3, 1, 5]),
        "delay": st.sampled_from([0, 0, 0, 0, 50, 400]),
        "most": st.sampled_from([0, 500]),
    }
)
#: Jobs that end, jobs that are wanted, how they end, and the time before that.
TURN = (
    st.sampled_from([1, 0, 2]),
    st.sampled_from([2, 1, 3, 100, 0]),
    st.sampled_from([Verb.complete, Verb.complete, Verb.retry, Verb.interrupt]),
    st.sampled_from([0, 0, 300, 1000]),
)
CONTROL = st.one_of(
    st.tuples(st.just("rescue"), IDS, KEEPS),
    st.tuples(st.just("cancel"), IDS, KEEPS),
    st.tuples(st.just("retry"), IDS),
    st.tuples(st.just("promote"), IDS),
    st.tuples(st.just("unpark"), IDS),
    st.tuples(st.just("prune")),
    st.tuples(
        st.just("remove"),
        st.sets(IDS, min_size=1, max_size=2),
        st.sampled_from([None, *State]),
        st.booleans(),
    ),
    st.tuples(
        st.just("change"),
        IDS,
        st.sampled_from([0, 1, 5]),
        st.sampled_from([-1, -1, 0, 50]),
        st.sampled_from([-1, 0]),
        st.booleans(),
    ),
)
SETTINGS = st.one_of(
    st.tuples(st.just("limit"), st.lists(CHANGES, min_size=1, max_size=2)),
    st.tuples(
        st.just("pause_function"), st.sampled_from("xy"), st.sampled_from([False, False, True])
    ),
    st.tuples(st.just("pause"), st.sampled_from([False, False, True])),
)
