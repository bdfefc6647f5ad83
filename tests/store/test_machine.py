"""A queue against a small model of it, under every order of operations that Hypothesis can find."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from jobs.states import TERMINAL, TRANSITIONS, State
from jobs.store import pausing
from jobs.store.queue import Ack, Limits, Verb
from jobs.store.show import STATE_KEYS
from tests.store.steps import FOREVER, LEASE, NOTHING, NOW, Steps

T = TypeVar("T")

IDS = st.sampled_from("abcdef")
KEEPS = st.sampled_from([FOREVER, NOTHING, (40, -1, -1), (-1, 2, -1)])
MOST_LOSSES = 2
ENDS = {
    Verb.complete: State.completed,
    Verb.fail: State.failed,
    Verb.cancel: State.cancelled,
    Verb.expire: State.expired,
}


#: All but the one that closes the queue for a time.
ACKS = [verb for verb in Verb if verb is not Verb.limited]


@dataclass
class Model:
    """What should be known of one job."""

    state: State
    priority: int
    place: int = 0
    at: int = 0  #: due, deadline or moment of the end
    token: int = 0
    failures: int = 0
    losses: int = 0
    interruptions: int = 0
    cancel_asked: bool = False
    expires: int | None = None
    lines: list[bytes] = field(default_factory=list)


class QueueMachine(RuleBasedStateMachine):
    """Each rule does one thing to the queue and the same to the model, and compares the answers."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.client = Redis.from_url(self.url)
        self.run(self.client.flushdb())
        self.steps = Steps(self.client)
        self.jobs: dict[str, Model] = {}
        self.before: dict[str, State] = {}
        self.held: list[tuple[str, int]] = []
        self.sequence = 0
        self.paused = False

    def teardown(self) -> None:
        self.run(self.client.aclose())
        self.loop.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    # -- the model's moves -------------------------------------------------------------------

    def wait(self, job: Model) -> None:
        self.sequence += 1
        job.state, job.place = State.waiting, self.sequence

    def due(self, delay: int) -> int:
        """A moment that no other delayed job has, so that the order is certain."""
        taken = {job.at for job in self.jobs.values() if job.state is State.delayed}
        at = self.steps.now + delay
        while at in taken:
            at += 1
        return at

    def stage(self) -> None:
        late = [
            j for j in self.jobs.values() if j.state is State.delayed and j.at <= self.steps.now
        ]
        for job in sorted(late, key=lambda job: job.at):
            self.wait(job)

    def end(self, job_id: str, state: State, keep: Limits, line: bytes) -> None:
        job = self.jobs[job_id]
        age, most, _ = keep
        if age == 0 or most == 0:
            del self.jobs[job_id]
            return
        job.state, job.at = state, self.steps.now
        job.expires = self.steps.now + age if age > 0 else None
        job.lines.append(line)
        mine = sorted((j.at, i) for i, j in self.jobs.items() if j.state is state)
        for _, oldest in mine[: max(0, len(mine) - most)] if most > 0 else []:
            del self.jobs[oldest]

    def of(self, job_id: str, *states: State) -> Model | None:
        job = self.jobs.get(job_id)
        return job if job and job.state in states else None

    # -- rules -------------------------------------------------------------------------------

    @rule(job_id=IDS, priority=st.integers(1, 3), delay=st.sampled_from([0, 0, 5, 60]))
    def enqueue(self, job_id: str, priority: int, delay: int) -> None:
        free = job_id not in self.jobs or self.jobs[job_id].state in TERMINAL
        due = self.due(delay) if delay else 0
        answer = self.run(self.steps.add(job_id, priority=priority, due_ms=due))
        assert answer == ("+" if free else "=")
        if free:
            job = self.jobs[job_id] = Model(State.delayed, priority, at=due)
            self.sequence += 1
            if not delay:
                job.state, job.place = State.waiting, self.sequence

    @rule(want=st.integers(0, 3), worker=st.sampled_from("xy"))
    def claim(self, want: int, worker: str) -> None:
        answer = self.run(self.steps.step(worker, want=want))
        self.stage()
        line = [(j.priority, j.place, i) for i, j in self.jobs.items() if j.state is State.waiting]
        expected = [job_id for *_, job_id in sorted(line)[: 0 if self.paused else want]]
        assert [claimed.id for claimed in answer.jobs] == expected
        assert answer.waiting == (0 if self.paused else len(line) - len(expected))
        for claimed in answer.jobs:
            job = self.jobs[claimed.id]
            assert claimed.record.token > job.token
            job.state, job.at, job.token = (
                State.active,
                self.steps.now + LEASE,
                claimed.record.token,
            )
            self.held.append((claimed.id, job.token))

    @rule(
        pick=st.integers(0, 50), verb=st.sampled_from(ACKS), keep=KEEPS,
        delay=st.sampled_from([0, 5, 60]),
    )  # fmt: skip
    def ack(self, pick: int, verb: Verb, keep: Limits, delay: int) -> None:
        """A holder's ack, or that of one that lost its lease long ago."""
        if not self.held:
            return
        job_id, token = self.held[pick % len(self.held)]
        job = self.of(job_id, State.active)
        mine = job is not None and job.token == token
        wait = self.due(delay) - self.steps.now
        answer = self.run(self.steps.ack(Ack(job_id, token, verb, wait, keep, 3, b"ack")))
        assert answer == ("1" if mine else "0")
        if job is not None and mine:
            self.acked(job_id, job, verb, keep, self.steps.now + wait)
        self.stage()

    def acked(self, job_id: str, job: Model, verb: Verb, keep: Limits, due: int) -> None:
        job.failures += verb in (Verb.retry, Verb.fail)
        if verb in ENDS:
            self.end(job_id, ENDS[verb], keep, b"ack")
            return
        if verb is Verb.release:
            job.state = State.waiting
            return
        job.lines.append(b"ack")
        job.interruptions += verb in (Verb.interrupt, Verb.snooze)
        if verb is Verb.interrupt:
            job.state = State.waiting
        elif verb is Verb.park:
            job.state, job.at = State.parked, self.steps.now
        else:
            job.state, job.at = State.delayed, due

    @rule(pick=st.integers(0, 50))
    def renew(self, pick: int) -> None:
        if not self.held:
            return
        job_id, token = self.held[pick % len(self.held)]
        job = self.of(job_id, State.active)
        verdict = self.run(self.steps.renew((job_id, token)))
        if job is None or job.token != token:
            assert verdict == "0"
            return
        assert verdict == ("2" if job.cancel_asked else "1")
        job.at = self.steps.now + LEASE

    @rule(job_id=IDS, keep=KEEPS)
    def rescue(self, job_id: str, keep: Limits) -> None:
        fate = self.run(self.steps.rescue(job_id, most_losses=MOST_LOSSES, keep=keep))
        job = self.of(job_id, State.active)
        if job is None:
            assert fate == "alive"
            return
        job.losses += 1
        if job.cancel_asked:
            assert fate == "cancelled"
            self.end(job_id, State.cancelled, keep, b"lost")
        elif job.losses >= MOST_LOSSES:
            assert fate == "failed"
            self.end(job_id, State.failed, keep, b"lost")
        else:
            assert fate == "waiting"
            job.state = State.waiting
            job.lines.append(b"lost")

    @rule(job_id=IDS, keep=KEEPS)
    def cancel(self, job_id: str, keep: Limits) -> None:
        job = self.jobs.get(job_id)
        assert self.run(self.steps.cancel(job_id, keep=keep)) == (job and job.state)
        if job is None:
            return
        if job.state is State.active:
            job.cancel_asked = True
        elif job.state not in TERMINAL:
            self.end(job_id, State.cancelled, keep, b"stop")

    @rule(job_id=IDS)
    def retry(self, job_id: str) -> None:
        job = self.jobs.get(job_id)
        assert self.run(self.steps.retry(job_id)) == [job and job.state]
        if job is not None and job.state in TERMINAL:
            job.failures = job.losses = job.interruptions = 0
            job.cancel_asked, job.expires = False, None
            self.wait(job)

    @rule(job_id=IDS)
    def unpark(self, job_id: str) -> None:
        job = self.of(job_id, State.parked)
        assert self.run(self.steps.unpark(job_id)) == int(job is not None)
        if job is not None:
            self.wait(job)

    @rule(job_id=IDS)
    def promote(self, job_id: str) -> None:
        job = self.jobs.get(job_id)
        assert self.run(self.steps.promote(job_id)) == [job and job.state]
        if job is not None and job.state is State.delayed:
            self.wait(job)

    @rule(job_id=IDS)
    def remove(self, job_id: str) -> None:
        job = self.jobs.get(job_id)
        goes = job is not None and job.state is not State.active
        assert self.run(self.steps.remove(job_id)) == [(job and job.state, goes)]
        if goes:
            del self.jobs[job_id]

    @rule(job_id=IDS, priority=st.integers(0, 3), delay=st.sampled_from([None, 0, 5, 60]))
    def change(self, job_id: str, priority: int, delay: int | None) -> None:
        due = -1 if delay is None else self.due(delay) if delay else 0
        answer = self.run(self.steps.change(job_id, priority=priority, due_ms=due))
        job = self.of(job_id, State.waiting, State.delayed)
        if job is None:
            parked = self.of(job_id, State.parked) if delay is None else None
            assert answer.done == (parked is not None)
            if parked is not None:
                parked.priority = priority or parked.priority
            return
        assert answer == (job.state, True)
        job.priority = priority or job.priority
        if delay:
            job.state, job.at = State.delayed, due
        elif delay == 0 and job.state is State.delayed:
            self.wait(job)

    @rule()
    def pause_or_resume(self) -> None:
        turn = pausing.resume if self.paused else pausing.pause
        args = () if self.paused else ("why",)
        were = self.run(turn(self.client, self.steps.keys, [], *args, now_ms=self.steps.now))
        assert were == [self.paused]
        self.paused = not self.paused

    @rule(ms=st.sampled_from([1, 10, 100]))
    def time_passes(self, ms: int) -> None:
        self.steps.now += ms

    @rule()
    def prune(self) -> None:
        over = [i for i, j in self.jobs.items() if j.state in TERMINAL and j.expires is not None
                and j.expires <= self.steps.now]  # fmt: skip
        assert self.run(self.steps.prune()) == len(over)
        for job_id in over:
            del self.jobs[job_id]

    # -- comparison --------------------------------------------------------------------------

    @invariant()
    def the_queue_is_the_model(self) -> None:
        found = self.run(self.steps.dump())
        for state, name in STATE_KEYS.items():
            expected = {i: j for i, j in self.jobs.items() if j.state is state}
            scores = found.get(name, {})
            assert scores.keys() == expected.keys(), state
            if state is not State.waiting:
                assert scores == {job_id: job.at for job_id, job in expected.items()}
        for job_id, job in self.jobs.items():
            assert found.get("result", {}).get(job_id, []) == job.lines
            if record := found.get("record", {}).get(job_id):
                numbers = (record.priority, record.failures, record.losses, record.interruptions)
                assert numbers == (job.priority, job.failures, job.losses, job.interruptions)
                assert record.cancel_asked == job.cancel_asked

    @invariant()
    def the_audit_finds_nothing(self) -> None:
        self.run(self.steps.assert_sound())

    @invariant()
    def every_move_is_in_the_table(self) -> None:
        now = {job_id: job.state for job_id, job in self.jobs.items()}
        for job_id in now.keys() | self.before.keys():
            old, new = self.before.get(job_id), now.get(job_id)
            direct = new is old or new in TRANSITIONS[old]
            staged = old is State.delayed and new is State.active
            gone = new is None and old is not None and bool(TRANSITIONS[old] & TERMINAL)
            assert direct or staged or gone, f"{old} -> {new}"
        self.before = now


@pytest.mark.timeout(360)  # a failure is shrunk for up to five minutes
def test_the_queue_behaves_as_its_model(redis_url: str) -> None:
    machine = type("Machine", (QueueMachine,), {"url": redis_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=70,
            stateful_step_count=30,
            deadline=None,
            phases=[Phase.reuse, Phase.generate, Phase.shrink],
        ),
    )


def test_the_clock_of_the_tests_is_one_that_fits() -> None:
    assert NOW + LEASE < 2**53
