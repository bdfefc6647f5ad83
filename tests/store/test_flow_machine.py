"""Every operation of the store against a model of groups, limits and unique keys.

Where the order of groups is the queue's own affair, the model does not foretell which job comes,
but checks each that comes, and that none stays behind that could have come.
"""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from jobs.states import State
from jobs.store import audit as store_audit
from jobs.store import queue
from jobs.store.queue import Ack, Answer, Entry, Flow, Once, Verb
from jobs.store.queue import Limits as Keep
from jobs.store.show import STATE_KEYS
from tests.helpers.keyspace import audit_queue
from tests.store.flow_driver import FlowDriver
from tests.store.flow_model import FlowModel, Job
from tests.store.flow_strategies import (
    BACK,
    CONTROL,
    ENDS,
    ENTRY,
    KEEPS,
    MS,
    RULES,
    SETTINGS,
    TURN,
)
from tests.store.steps import LEASE, NOTHING


class FlowMachine(FlowDriver, RuleBasedStateMachine):
    """Each rule does one thing to the queue and the same to the model, and compares the answers."""

    def teardown(self) -> None:
        try:
            self.everything_ends_once_nothing_is_in_the_way()
        finally:
            self.run(self.client.aclose())
            self.loop.close()

    @initialize(
        rules=st.dictionaries(st.sampled_from(list(RULES)), st.integers(0, 4), min_size=2),
        entries=st.lists(ENTRY, min_size=6, max_size=10),
    )
    def begin(self, rules: dict[str, int], entries: list[dict[str, Any]]) -> None:
        """Limits as they mostly are, set before the jobs come."""
        self.set_rules({scope: RULES[scope][n % len(RULES[scope])] for scope, n in rules.items()})
        self.enqueue(entries)

    # -- enqueue ---------------------------------------------------------------------------

    @rule(entries=st.lists(ENTRY, min_size=1, max_size=4))
    def enqueue(self, entries: list[dict[str, Any]]) -> None:
        expected = []
        call = [self.entry(**entry) for entry in entries]
        seen: set[str] = set()
        for entry, made in zip(entries, call, strict=True):
            expected.append("=" if made.id in seen else self.expect(entry, made))
            seen.add(made.id)
        found = self.run(
            queue.submit(self.client, self.steps.keys, call, again=False, now_ms=self.steps.now)
        )
        assert [holder or str(added) for added, holder in found] == expected

    @rule(entries=st.lists(ENTRY, min_size=3, max_size=6))
    def enqueue_many(self, entries: list[dict[str, Any]]) -> None:
        self.enqueue(entries)

    def entry(self, job_id: str, function: str, key: str, **rest: Any) -> Entry:
        once: Once | None = rest["once"]
        body = b"j0000" + bytes([1]) + function.encode() + job_id.encode()
        own = f"own-{once.name}" if once else ""
        flow = Flow(key, key, own, once or Once.unfinished, MS, rest["most"])
        plain = not key and not own
        return Entry(job_id, body, rest["priority"], rest["delay"], flow=None if plain else flow)

    def expect(self, entry: dict[str, Any], made: Entry) -> str:
        model, flow = self.model, made.flow or Flow()
        if not model.is_free(made.id):
            return "="
        job = Job(made.id, entry["function"], flow.key, flow.unique, made.priority, model.now)
        if flow.unique:
            owner = model.is_taken(job, flow.once, MS, flow.most_ms)
            if owner:
                return owner
        model.jobs[made.id] = job
        delay = MS if flow.unique and flow.once is Once.trailing else made.delay_ms
        model.wait(job)
        if delay:
            job.state, job.at = State.delayed, model.now + delay
        return "+"

    # -- a worker --------------------------------------------------------------------------

    @rule(turns=st.lists(st.tuples(*TURN), min_size=1, max_size=4))
    def work(self, turns: list[tuple[int, int, Verb, int]]) -> None:
        """What a worker does all the time: the oldest of its jobs end, others begin."""
        for ends, want, verb, ms in turns:
            self.time_passes(ms)
            mine = [held for held in self.held if self.is_mine(*held)][:ends]
            acks = [Ack(job_id, token, verb, 5, NOTHING, 3, b"ack") for job_id, token in mine]
            answer = self.run(self.steps.step("v", acks=acks, want=want))
            assert answer.accepted == "1" * len(acks)
            for job_id, _ in mine:
                self.acked(self.model.jobs[job_id], verb, NOTHING, 5)
            self.model.stage()
            self.claimed(answer, want)
            self.the_audits_find_nothing()

    def is_mine(self, job_id: str, token: int) -> bool:
        job = self.of(job_id, State.active)
        return job is not None and job.token == token

    @rule(want=st.integers(0, 5), worker=st.sampled_from("vw"))
    def claim(self, want: int, worker: str) -> None:
        answer = self.run(self.steps.step(worker, want=want))
        self.model.stage()
        self.claimed(answer, want)

    def claimed(self, answer: Answer, want: int) -> None:
        model = self.model
        room, started, before = model.room(), [], deepcopy(model)
        for claimed in answer.jobs:
            job = model.jobs[claimed.id]
            assert job.state is State.waiting, f"{job} was claimed"
            assert room > 0, f"{job} was claimed, and the queue has no room"
            assert model.may_run(job), f"{job} was claimed, and may not run"
            assert claimed.record.token > job.token
            model.start(job)
            job.at, job.token, room = model.now + LEASE, claimed.record.token, room - 1
            self.held.append((job.id, job.token))
            started.append(job.id)
        if want == 0:
            return
        left = [job for job in model.of(State.waiting) if model.may_run(job)]
        if len(started) < want and room > 0:
            assert not left, f"{left} could run and was not claimed"
        self.by_priority(before, started)
        self.hints(answer, room)

    def by_priority(self, before: FlowModel, started: list[str]) -> None:
        """No job began while one of a better priority could have had its place."""
        waiting = [job for job in before.of(State.waiting) if job.id not in started]
        for worse in started:
            better = [j.id for j in waiting if j.priority < before.jobs[worse].priority]
            if not better:
                continue
            without = deepcopy(before)
            for job_id in started:
                if job_id != worse and without.may_run(without.jobs[job_id]):
                    without.start(without.jobs[job_id])
            first = [i for i in better if without.may_run(without.jobs[i])]
            assert not first, f"{worse} was claimed before {first}"

    def hints(self, answer: Answer, room: int) -> None:
        """A worker that sleeps as long as it was told misses nothing."""
        waits = [ms for ms in (answer.next_due_ms, answer.rate_wait_ms) if ms >= 0]
        opens = self.model.opens_at() - self.model.now
        if room > 0 and opens < math.inf and not answer.waiting:
            assert min(waits, default=math.inf) <= opens, "nobody wakes when a limit opens"

    @rule(
        pick=st.integers(0, 50), verb=st.sampled_from(list(Verb)), keep=KEEPS,
        delay=st.sampled_from([0, 5, 60]), want=st.sampled_from([0, 0, 3]),
    )  # fmt: skip
    def ack(self, pick: int, verb: Verb, keep: Keep, delay: int, want: int) -> None:
        """A holder's ack, or that of one that lost its lease long ago."""
        if not self.held:
            return
        job_id, token = self.held[pick % len(self.held)]
        job = self.of(job_id, State.active)
        mine = self.is_mine(job_id, token)
        sent = Ack(job_id, token, verb, delay, keep, 3, b"ack")
        answer = self.run(self.steps.step("v", acks=[sent], want=want))
        assert answer.accepted == ("1" if mine else "0")
        if job is not None and mine:
            self.acked(job, verb, keep, delay)
        self.model.stage()
        self.claimed(answer, want)

    def acked(self, job: Job, verb: Verb, keep: Keep, delay: int) -> None:
        model = self.model
        if verb in ENDS:
            model.end(job, ENDS[verb], keep)
        elif verb in BACK:
            model.back(job, State.waiting)
            if verb is Verb.limited:
                model.closed = model.now + delay
        elif verb is Verb.park:
            model.back(job, State.parked)
            job.at = model.now
        else:
            model.back(job, State.delayed)
            job.at = model.now + delay

    @rule(call=st.one_of(CONTROL, CONTROL, SETTINGS))
    def control(self, call: tuple[Any, ...]) -> None:
        """What others do to jobs, and to the queue."""
        name, *arguments = call
        getattr(self, name)(*arguments)

    # -- time ------------------------------------------------------------------------------

    @rule(ms=st.sampled_from([1, 50, 300, 1000]))
    def time_passes(self, ms: int) -> None:
        self.steps.now += ms
        self.model.now += ms

    # -- comparison ------------------------------------------------------------------------

    @invariant()
    def the_queue_is_the_model(self) -> None:
        found = self.run(self.steps.dump())
        for state, name in STATE_KEYS.items():
            scores = found.get(name, {})
            if state is State.waiting:
                scores = scores | found.get("grouped", {})
            expected = {job.id: job.at for job in self.model.of(state)}
            assert scores.keys() == expected.keys(), state
            assert state is State.waiting or scores == expected
        held = {f"{g} by {j.id}" for j in self.model.jobs.values() for g in j.holds if g[0] != "s"}
        assert found.get("holding", {}).keys() == held
        owners = {own: owner for own, (owner, _) in self.model.unique.items()}
        assert found.get("unique", {}) == owners
        timed = {o: at for o, (_, at) in self.model.unique.items() if at != math.inf}
        assert found.get("uniques", {}) == timed

    @invariant()
    def the_audits_find_nothing(self) -> None:
        assert not self.run(audit_queue(self.client, self.steps.keys))
        assert not self.run(store_audit.audit(self.client, self.steps.keys))

    def everything_ends_once_nothing_is_in_the_way(self) -> None:
        """With all limits open every job is given out, and the queue is empty in the end."""
        self.set_rules(dict.fromkeys(RULES, ""))
        for function in "xy":
            self.pause_function(function, False)
        self.pause(False)
        self.time_passes(100_000)
        self.run(self.steps.unpark(*self.model.jobs))
        for job in self.model.of(State.parked):
            self.model.wait(job)
        for _ in range(20):
            acks = [
                Ack(job.id, job.token, Verb.complete, 0, NOTHING, 3, b"ack")
                for job in self.model.of(State.active)
            ]
            answer = self.run(self.steps.step("v", acks=acks, want=100))
            assert answer.accepted == "1" * len(acks)
            for job in self.model.of(State.active):
                self.model.end(job, State.completed, NOTHING)
            self.model.stage()
            self.claimed(answer, 100)
            if not self.model.of(State.active):
                break
        left = self.model.of(State.waiting, State.delayed, State.active, State.parked)
        assert not left, f"{left} never ran"
        self.the_queue_is_the_model()


def run_machine(url: str, examples: int, steps: int) -> None:
    machine = type("Machine", (FlowMachine,), {"url": url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=[Phase.reuse, Phase.generate, Phase.shrink],
        ),
    )


@pytest.mark.timeout(360)  # a failure is shrunk for up to five minutes
def test_groups_limits_and_unique_keys_behave_as_their_model(redis_url: str) -> None:
    run_machine(redis_url, examples=20, steps=25)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_the_same_for_long(redis_url: str) -> None:
    run_machine(redis_url, examples=600, steps=60)
