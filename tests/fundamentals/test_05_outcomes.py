"""Chapter 5: a function may end its job otherwise than by returning or failing."""

from __future__ import annotations

import pytest

from jobs import Cancel, Client, Context, Skip, Snooze, State, job
from jobs.errors import JobCancelled
from tests.fundamentals.conftest import Work


@pytest.mark.parametrize("raises", [True, False], ids=["raised", "returned"])
async def test_a_skipped_job_is_completed_with_a_reason(
    client: Client, work: Work, raises: bool
) -> None:
    @job("push")
    async def push(ctx: Context) -> str | Skip:
        reason = Skip("push notifications disabled")
        if raises:
            raise reason
        return reason

    await work(push)
    queued = await client.enqueue("push")
    assert await queued.result(timeout=20) is None
    info = await queued.details()
    assert info.state is State.completed
    assert info.history[-1]["outcome"] == "skipped"
    assert info.history[-1]["reason"] == "push notifications disabled"


async def test_a_snoozed_job_comes_again_without_using_an_attempt(
    client: Client, work: Work
) -> None:
    seen: list[int] = []

    @job("wait", attempts=1)
    async def wait(ctx: Context) -> str:
        seen.append(ctx.attempt)
        if len(seen) < 3:
            raise Snooze("5ms")
        return "at last"

    await work(wait)
    queued = await client.enqueue("wait")
    assert await queued.result(timeout=20) == "at last"
    assert seen == [1, 1, 1]
    outcomes = [entry["outcome"] for entry in (await queued.details()).history]
    assert outcomes == ["snoozed", "snoozed", "completed"]


async def test_a_job_may_cancel_itself(client: Client, work: Work) -> None:
    @job("publish")
    async def publish(ctx: Context) -> None:
        raise Cancel("superseded")

    await work(publish)
    queued = await client.enqueue("publish")
    with pytest.raises(JobCancelled, match="superseded"):
        await queued.result(timeout=20)
    assert await queued.state() is State.cancelled
