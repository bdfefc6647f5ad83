"""States, results, and their removal by the clock (A87, A88, B158, B164)."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel

from jobs import Client, Context, Keep, State, job
from jobs.engine import upkeep
from tests.features.conftest import Work
from tests.helpers.waiting import wait_until


class Size(BaseModel):
    """A typed result."""

    width: int


async def test_a87_states_in_the_words_of_the_seeds(client: Client, work: Work) -> None:
    go_on = asyncio.Event()

    @job(attempts=1)
    async def act(ctx: Context, what: str) -> None:
        if what == "fail":
            raise RuntimeError(what)
        if what == "wait":
            await go_on.wait()

    later = await act.options(client=client, delay="1h").enqueue("later")
    first = await act.options(client=client).enqueue("wait")
    assert [await later.state(), await first.state()] == [State.delayed, State.waiting]
    await work(act)
    failed = await act.options(client=client).enqueue("fail")
    await wait_until(lambda: _is(client, failed.id, State.failed), description="it has failed")
    assert await first.state() is State.active
    go_on.set()
    await first.result(timeout=10)
    assert await first.state() is State.completed
    assert {state.value for state in State} == {
        "waiting", "delayed", "active", "completed", "failed", "cancelled", "expired", "parked",
        "suspended",
    }  # fmt: skip


async def _is(client: Client, job_id: str, state: State) -> bool:
    return await client.job(job_id).state() is state


async def test_a88_a_typed_result(client: Client, work: Work) -> None:
    @job
    async def shrink(ctx: Context, width: int) -> Size:
        return Size(width=width // 2)

    queued = await shrink.options(client=client).enqueue(100)
    await work(shrink)
    assert await queued.result(timeout=10) == Size(width=50)
    assert (await queued.details()).result == {"width": 50}


async def test_b158_a_result_comes_by_push(client: Client, work: Work) -> None:
    """Whoever waits asks once; the end wakes it."""

    @job
    async def act(ctx: Context) -> str:
        return "done"

    await work(act)
    queued = await act.options(client=client, delay=0.3).enqueue()
    await client.config_resetstat()
    assert await queued.result(timeout=10) == "done"
    calls = await client.info("commandstats")
    scripts = calls["cmdstat_evalsha"]["calls"]
    assert scripts < 15, "a poll every few ms would have asked more often"


async def test_b164_retention_holds_in_an_idle_queue(
    client: Client, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker prunes by the clock; no other job has to end for it."""
    monkeypatch.setattr(upkeep, "PRUNE_S", 0.05)

    @job(keep_completed=Keep(age=0.05))
    async def act(ctx: Context) -> None: ...

    queued = await act.options(client=client).enqueue()
    await work(act)
    await queued.result(timeout=10)

    async def removed() -> bool:
        return not await client.queue().jobs(State.completed)

    await wait_until(removed, description="the job is over its age and gone")
