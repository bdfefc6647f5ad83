"""Chapter 4: `attempts` counts all runs; the backoff is the wait between them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from pydantic import BaseModel

from jobs import (
    Backoff,
    Client,
    Context,
    Fail,
    JobFailed,
    Retry,
    RetryPolicy,
    State,
    custom,
    exponential,
    fixed,
    func,
    job,
)
from tests.fundamentals.conftest import Work
from tests.helpers.waiting import wait_until


class Busy(Exception):
    pass


async def outcome(client: Client, name: str, **payload: object) -> tuple[State, int]:
    """Enqueue, wait for the end; the state and how many attempts there were."""
    queued = await client.enqueue(name, payload)
    with suppress(JobFailed):
        await queued.result(timeout=20)
    info = await queued.details()
    return info.state, len(info.history)


async def test_an_ordinary_exception_is_retried_until_attempts_are_used(
    client: Client, work: Work
) -> None:
    @job("flaky", attempts=3, backoff=fixed("1ms"))
    async def flaky(ctx: Context, succeed_on: int) -> int:
        if ctx.attempt < succeed_on:
            raise Busy
        return ctx.attempt

    await work(flaky)
    assert await outcome(client, "flaky", succeed_on=1) == (State.completed, 1)
    assert await outcome(client, "flaky", succeed_on=3) == (State.completed, 3)
    assert await outcome(client, "flaky", succeed_on=4) == (State.failed, 3)


@pytest.mark.parametrize(
    ("backoff", "attempts", "waits_s"),
    [
        (exponential(1), 5, [1, 2, 4, 8]),
        (exponential(3), 5, [3, 6, 12, 24]),
        (exponential(2), 3, [2, 4]),
        (exponential(5, max=3600), 12, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]),
        (fixed(5), 3, [5, 5]),
        (custom(lambda failures: failures * 10), 4, [10, 20, 30]),
    ],
    ids=str,
)
def test_there_is_one_wait_fewer_than_attempts(
    backoff: Backoff, attempts: int, waits_s: list[int]
) -> None:
    assert RetryPolicy(attempts, backoff).waits_ms() == [wait * 1000 for wait in waits_s]


def test_the_named_policies() -> None:
    assert RetryPolicy.standard.waits_ms() == [2000, 4000]
    assert RetryPolicy.aggressive.attempts == 10
    assert RetryPolicy.none.waits_ms() == []


async def test_a_job_that_waits_for_its_next_attempt_is_delayed(client: Client, work: Work) -> None:
    @job("once", attempts=2, backoff=fixed(300))
    async def once(ctx: Context) -> None:
        raise Busy("try later")

    await work(once)
    queued = await client.enqueue("once")

    async def delayed() -> bool:
        return await queued.state() is State.delayed

    await wait_until(delayed, description="the job waits for its second attempt")
    info = await queued.details()
    assert info.due_at is not None
    assert info.error is not None
    assert (info.error["type"], info.error["message"]) == ("Busy", "try later")
    assert 299 < (info.due_at - info.enqueued_at).total_seconds() < 302


async def test_retry_decides_its_own_wait_and_uses_an_attempt(client: Client, work: Work) -> None:
    @job("poll", attempts=2, backoff=fixed(300))
    async def poll(ctx: Context) -> int:
        if not ctx.is_last_attempt:
            raise Retry(defer=0.001)
        return ctx.attempt

    await work(poll)
    assert await outcome(client, "poll") == (State.completed, 2)


async def test_fail_is_final(client: Client, work: Work) -> None:
    @job("charge", attempts=5)
    async def charge(ctx: Context) -> None:
        raise Fail("no such card")

    await work(charge)
    assert await outcome(client, "charge") == (State.failed, 1)


async def test_no_retry_names_exceptions_that_are_final(client: Client, work: Work) -> None:
    @job("find", attempts=5, no_retry=(LookupError,))
    async def find(ctx: Context) -> None:
        raise KeyError("u1")  # a LookupError

    await work(find)
    assert await outcome(client, "find") == (State.failed, 1)


async def test_a_payload_that_no_longer_validates_is_final(client: Client, work: Work) -> None:
    """Enqueued by a process that does not know the function, refused by the one that does."""
    queued = await client.enqueue("strict", {"count": "many"})

    class Strict(BaseModel):
        count: int

    @job("strict", attempts=5)
    async def strict(ctx: Context, payload: Strict) -> None: ...

    await work(strict)
    with pytest.raises(JobFailed, match="count: Input should be a valid integer"):
        await queued.result(timeout=20)
    assert len((await queued.details()).history) == 1


async def test_a_plain_arq_function_keeps_arqs_rule_unless_it_is_given_a_backoff(
    client: Client, work: Work
) -> None:
    async def plain(ctx: Context) -> None:
        raise Busy

    await work(
        func(plain, name="arqs"), func(plain, name="ours", max_tries=2, backoff=fixed("1ms"))
    )
    assert await outcome(client, "arqs") == (State.failed, 1)
    assert await outcome(client, "ours") == (State.failed, 2)


async def test_every_attempt_is_kept_with_its_error(client: Client, work: Work) -> None:
    @job("count", attempts=3, backoff=fixed("1ms"))
    async def count(ctx: Context) -> None:
        raise Busy(f"number {ctx.attempt}")

    await work(count)
    queued = await client.enqueue("count")
    with pytest.raises(JobFailed, match="Busy: number 3"):
        await queued.result(timeout=20)
    history = (await queued.details()).history
    assert [entry["outcome"] for entry in history] == ["retried", "retried", "failed"]
    assert [entry["error"]["message"] for entry in history] == ["number 1", "number 2", "number 3"]
    assert "test_04_retries" in history[0]["error"]["traceback"]
