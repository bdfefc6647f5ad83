"""What is kept of ended jobs: how long, how much, and in which state."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from pydantic import BaseModel

from jobs import (
    Cancel,
    Client,
    Context,
    Fail,
    JobFailed,
    JobOptions,
    Keep,
    Queue,
    Skip,
    State,
    fixed,
    job,
)
from jobs.errors import InvalidOption, JobNotFound, PayloadTooLarge
from tests.features.conftest import Work
from tests.helpers.endings import end, gone
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running

SOON = fixed("1ms")


class Mail(BaseModel):
    to: str
    copies: int = 1


# -- what is kept --------------------------------------------------------------------------

ENDS: dict[str, Any] = {
    "completed": lambda: None,
    "failed": lambda: Fail("no"),
    "cancelled": lambda: Cancel("no"),
}


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("layer", ["function", "queue", "call"])
async def test_a31_a32_b160_retention_by_state_function_and_call(
    client: Client, work: Work, state: str, layer: str
) -> None:
    keep: dict[str, Any] = {f"keep_{state}": Keep(count=2)}
    others = {"completed", "failed", "cancelled"} - {state}
    place = Queue("q", defaults=JobOptions(**keep) if layer == "queue" else None)

    @job("ends", queue="q", **(keep if layer == "function" else {}))
    async def ends(ctx: Context, how: str) -> None:
        if (error := ENDS[how]()) is not None:
            raise error

    await work(ends, queues=[place], max_jobs=1)
    options = ends.options(client=client, **(keep if layer == "call" else {}))
    for how in (state, *others):
        handles = [await options.enqueue(how) for _ in range(4)]
        for handle in handles:
            with suppress(JobFailed, JobNotFound):
                await handle.result(timeout=20)
    counts = await client.queue("q").counts()
    assert counts[State(state)] == 2
    for other in others:
        follows = state == "completed" and other == "cancelled"
        assert counts[State(other)] == (2 if follows else 4), "cancelled follow completed ones"


async def test_b160_expired_jobs_have_a_retention_of_their_own(client: Client, work: Work) -> None:
    @job("brief", expires="1ms", keep_expired=Keep(count=1), keep_completed=Keep(age=0))
    async def brief(ctx: Context) -> None: ...

    handles = [await brief.options(client=client).enqueue() for _ in range(3)]
    await asyncio.sleep(0.01)  # the jobs' own time runs out; no condition to wait for
    await work(brief)

    async def one() -> bool:
        return (await client.queue().counts())[State.expired] == 1

    await wait_until(one, description="one of three expired jobs is kept")
    assert [await gone(handle) for handle in handles].count(True) == 2


async def test_b160_a_waiting_job_that_is_cancelled_is_kept_as_its_function_says(
    client: Client,
) -> None:
    @job("short", keep_cancelled=Keep(age=0))
    async def short(ctx: Context) -> None: ...

    @job("long", keep_completed=Keep(age=0), keep_cancelled=Keep(age="1h"))
    async def long(ctx: Context) -> None: ...

    dropped = await short.options(client=client).enqueue()
    kept = await long.options(client=client).enqueue()
    by_call = await short.options(client=client, keep_cancelled=Keep(age="1h")).enqueue()
    for queued in (dropped, kept, by_call):
        assert await queued.cancel() is State.waiting
    assert await gone(dropped)
    assert await kept.state() is await by_call.state() is State.cancelled


async def test_b160_a_job_lost_by_its_workers_is_kept_as_its_function_says(
    client: Client, redis_url: str
) -> None:
    begun: list[str] = []

    @job("dropped", keep_failed=Keep(age=0))
    async def dropped(ctx: Context) -> None:
        begun.append(ctx.job_id)
        await asyncio.sleep(60)

    @job("kept")
    async def kept(ctx: Context) -> None:
        begun.append(ctx.job_id)
        await asyncio.sleep(60)

    async with running(redis_url, functions=[dropped, kept], max_deliveries=1) as worker:
        one = await dropped.options(client=client).enqueue()
        two = await kept.options(client=client).enqueue()
        by_call = await kept.options(client=client, keep_failed=Keep(age=0)).enqueue()
        await wait_until(lambda: len(begun) == 3, description="all run")
        assert worker._session is not None
        worker._session._leases.stop()  # from now on nobody renews what it holds

        async def failed() -> bool:
            return await two.state() is State.failed

        await wait_until(failed, description="the leases were taken back", timeout=10)
        assert await gone(one)
        assert await gone(by_call)


async def test_a33_traceback_limit(client: Client, work: Work) -> None:
    def deep(n: int) -> None:
        if n == 0:
            raise ValueError("bottom")
        deep(n - 1)

    @job("dives", attempts=2, backoff=SOON)
    async def dives(ctx: Context) -> None:
        deep(30)

    await work(dives)

    async def frames(**options: Any) -> list[int]:
        info = await end(await dives.options(client=client, **options).enqueue())
        return [entry["error"]["traceback"].count("File ") for entry in info.history]

    assert await frames(traceback_limit=3) == [3, 3], "of every attempt"
    assert await frames(traceback_limit=0) == [0, 0]
    with pytest.raises(InvalidOption, match="`traceback_limit` is a whole number from 0 to 100"):
        await client.enqueue("dives", {}, traceback_limit=101)


async def test_b136_a_result_has_a_cap(client: Client, work: Work) -> None:
    @job("report", max_result_bytes=1000)
    async def report(ctx: Context, size: int) -> str:
        return "x" * size

    await work(report)
    small = await end(await report.options(client=client).enqueue(500))
    big = await end(await report.options(client=client).enqueue(2000))
    more = await end(await report.options(client=client, max_result_bytes=9000).enqueue(2000))
    assert (len(small.result), big.result, len(more.result)) == (500, None, 2000)
    assert big.state is State.completed, "the work is done all the same"
    assert "over the limit of 1,000" in big.history[-1]["unstored"]


async def test_b130_a_payload_has_a_cap(redis_url: str) -> None:
    async with Client.connect(redis_url, max_body_bytes=1000) as client:
        await client.enqueue("anything", {"text": "x" * 500})
        with pytest.raises(PayloadTooLarge, match="over the limit of 1,000"):
            await client.enqueue("anything", {"text": "x" * 2000})
        assert (await client.queue().counts())[State.waiting] == 1


async def test_b145_every_way_to_end_is_told_apart(client: Client, work: Work) -> None:
    @job("ends", attempts=1)
    async def ends(ctx: Context, how: str) -> None:
        errors: dict[str, Exception] = {
            "failed": ValueError("no"),
            "cancelled": Cancel("no"),
            "skipped": Skip("no"),
        }
        if how in errors:
            raise errors[how]
        if how == "timed out":
            await asyncio.sleep(60)

    expected = {
        "completed": (State.completed, "completed"),
        "skipped": (State.completed, "skipped"),
        "failed": (State.failed, "failed"),
        "cancelled": (State.cancelled, "cancelled"),
        "timed out": (State.failed, "failed"),
    }
    stale = await ends.options(client=client, expires="1ms").enqueue("completed")
    await asyncio.sleep(0.01)  # the job's own time runs out; no condition to wait for
    await work(ends)
    for how, (state, outcome) in expected.items():
        info = await end(await ends.options(client=client, timeout=0.1).enqueue(how))
        assert (info.state, info.history[-1]["outcome"]) == (state, outcome)
        if how == "timed out":
            assert info.error is not None
            assert info.error["type"] == "JobTimedOut"
    info = await end(stale)
    assert (info.state, info.history[-1]["outcome"]) == (State.expired, "expired")
