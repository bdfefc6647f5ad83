"""What others than workers do to a queue and to its model, each with the answers compared."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, TypeVar

from redis.asyncio import Redis

from jobs.states import TERMINAL, State
from jobs.store import limits, pausing
from jobs.store.queue import Limits as Keep
from tests.store.flow_model import FlowModel, Job, parse
from tests.store.flow_strategies import MOST_LOSSES
from tests.store.steps import NOTHING, NOW, Steps

T = TypeVar("T")


class FlowDriver:
    """A queue, its model, and the calls that change both."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.client = Redis.from_url(self.url)
        self.run(self.client.flushdb())
        self.steps = Steps(self.client)
        self.model = FlowModel(now=NOW)
        self.held: list[tuple[str, int]] = []

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    def of(self, job_id: str, *states: State) -> Job | None:
        job = self.model.jobs.get(job_id)
        return job if job and job.state in states else None

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

    def prune(self) -> None:
        model = self.model
        over = [j for j in model.of(*TERMINAL) if j.expires is not None and j.expires <= model.now]
        assert self.run(self.steps.prune()) == len(over)
        for job in over:
            del model.jobs[job.id]
        model.unique = {own: (i, at) for own, (i, at) in model.unique.items() if at > model.now}
