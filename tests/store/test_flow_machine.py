"""Every operation of the store against a model of groups, limits and unique keys.

Where the order of groups is the queue's own affair, the model does not foretell which job comes,
but checks each that comes, and that none stays behind that could have come.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from copy import deepcopy
from typing import Any, TypeVar

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
from redis.asyncio import Redis

from jobs.states import TERMINAL, State
from jobs.store import audit as store_audit
from jobs.store import limits, pausing, queue
from jobs.store.queue import Ack, Answer, Entry, Flow, Once, Verb
from jobs.store.queue import Limits as Keep
from jobs.store.show import STATE_KEYS
from tests.helpers.keyspace import audit_queue
from tests.store.flow_model import FlowModel, Job, parse
from tests.store.steps import FOREVER, LEASE, NOTHING, NOW, Steps

T = TypeVar("T")

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


class FlowMachine(RuleBasedStateMachine):
    """Each rule does one thing to the queue and the same to the model, and compares the answers."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.client = Redis.from_url(self.url)
        self.run(self.client.flushdb())
        self.steps = Steps(self.client)
        self.model = FlowModel(now=NOW)
        self.held: list[tuple[str, int]] = []

    def teardown(self) -> None:
        try:
            self.everything_ends_once_nothing_is_in_the_way()
        finally:
            self.run(self.client.aclose())
            self.loop.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    def of(self, job_id: str, *states: State) -> Job | None:
        job = self.model.jobs.get(job_id)
        return job if job and job.state in states else None

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

    def rescue(self, job_id: str, keep: Keep) -> None:
        fate = self.run(self.steps.rescue(job_id, most_losses=MOST_LOSSES, keep=keep))
        job = self.of(job_id, State.active)
        if job is None:
            assert fate == "alive"
            return
        job.losses += 1
        if job.cancel_asked:
            assert fate == "cancelled"
            self.model.end(job, State.cancelled, keep)
        elif job.losses >= MOST_LOSSES:
            assert fate == "failed"
            self.model.end(job, State.failed, keep)
        else:
            assert fate == "waiting"
            self.model.back(job, State.waiting)

    @rule(call=st.one_of(CONTROL, CONTROL, SETTINGS))
    def control(self, call: tuple[Any, ...]) -> None:
        """What others do to jobs, and to the queue."""
        name, *arguments = call
        getattr(self, name)(*arguments)

    # -- control ---------------------------------------------------------------------------

    def cancel(self, job_id: str, keep: Keep) -> None:
        job = self.model.jobs.get(job_id)
        assert self.run(self.steps.cancel(job_id, keep=keep)) == (job and job.state)
        if job is None or job.state in TERMINAL:
            return
        if job.state is State.active:
            job.cancel_asked = True
        else:
            self.model.end(job, State.cancelled, keep)

    def retry(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)
        assert self.run(self.steps.retry(job_id)) == [job and job.state]
        if job is None or job.state not in TERMINAL:
            return
        job.losses, job.cancel_asked, job.expires = 0, False, None
        job.enqueued = self.model.now
        self.model.wait(job)
        if job.own and self.model.unique.get(job.own, ("", 0))[1] <= self.model.now:
            self.model.unique[job.own] = job.id, math.inf

    def promote(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)
        assert self.run(self.steps.promote(job_id)) == [job and job.state]
        if job is not None and job.state is State.delayed:
            self.model.wait(job)

    def remove(self, job_ids: set[str], state: State | None, running: bool) -> None:
        ids = sorted(job_ids)
        found = self.run(self.steps.remove(*ids, state=state, running=running))
        for job_id, (was, removed) in zip(ids, found, strict=True):
            job = self.model.jobs.get(job_id)
            assert was == (job and job.state)
            fits = job is not None and state in (None, job.state)
            assert removed == (fits and (running or was is not State.active))
            if job is not None and removed:
                self.model.end(job, State.cancelled, NOTHING)

    def unpark(self, job_id: str) -> None:
        job = self.of(job_id, State.parked)
        assert self.run(self.steps.unpark(job_id)) == int(job is not None)
        if job is not None:
            self.model.wait(job)

    def change(self, job_id: str, priority: int, delay: int, due: int, owned: bool) -> None:
        model, job = self.model, self.model.jobs.get(job_id)
        own = job.own if job and owned else ""
        found = self.run(
            self.steps.change(job_id, own=own, priority=priority, delay_ms=delay, due_ms=due)
        )
        assert found.state == (job and job.state)
        at = model.now + delay if delay >= 0 else due
        can = job is not None and job.state in {State.waiting, State.delayed, State.parked}
        timed = job is not None and job.state is State.parked and at >= 0
        mine = not own or model.unique.get(own, ("", 0))[0] == job_id
        assert found.done == (can and not timed and mine)
        if job is None or not found.done:
            return
        job.priority = priority or job.priority
        if job.state is State.parked or at < 0:
            return
        if at > model.now:
            job.state, job.at = State.delayed, at
        elif job.state is State.delayed:
            model.wait(job)

    def limit(self, changes: list[tuple[str, str]]) -> None:
        self.set_rules(dict(changes))

    def set_rules(self, rules: dict[str, str]) -> None:
        self.run(limits.write_rules(self.client, self.steps.keys, rules, now_ms=self.steps.now))
        for scope, text in rules.items():
            self.model.rules[scope] = parse(text)

    def pause_function(self, function: str, paused: bool) -> None:
        self.set_pause([function], paused=paused)
        (self.model.paused.add if paused else self.model.paused.discard)(function)

    def pause(self, paused: bool) -> None:
        self.set_pause([], paused=paused)
        self.model.is_paused = paused

    def set_pause(self, functions: list[str], *, paused: bool) -> None:
        keys, now = self.steps.keys, self.steps.now
        if paused:
            self.run(pausing.pause(self.client, keys, functions, "why", now_ms=now))
        else:
            self.run(pausing.resume(self.client, keys, functions, now_ms=now))

    # -- time ------------------------------------------------------------------------------

    @rule(ms=st.sampled_from([1, 50, 300, 1000]))
    def time_passes(self, ms: int) -> None:
        self.steps.now += ms
        self.model.now += ms

    def prune(self) -> None:
        model = self.model
        over = [j for j in model.of(*TERMINAL) if j.expires is not None and j.expires <= model.now]
        assert self.run(self.steps.prune()) == len(over)
        for job in over:
            del model.jobs[job.id]
        model.unique = {own: (i, at) for own, (i, at) in model.unique.items() if at > model.now}

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
        assert found.get("uniques", {}) == {o: at for o, (_, at) in self.model.unique.items()}

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
    run_machine(redis_url, examples=60, steps=30)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_the_same_for_long(redis_url: str) -> None:
    run_machine(redis_url, examples=600, steps=60)
