"""Doing things once: A124, A126, A128; A125, a key with a window, is with unique keys."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import Client, Context, fixed, job
from jobs.errors import DuplicateJob, InvalidOption
from jobs.keys import once_key
from jobs.store import once as store
from tests.features.conftest import Work
from tests.helpers.waiting import wait_until


async def test_a124_the_same_id_is_one_run(client: Client, work: Work) -> None:
    runs: list[str] = []

    @job
    async def charge(ctx: Context, order: int) -> int:
        runs.append(ctx.job_id)
        return order

    made = await asyncio.gather(*(charge.options(id="order-7").enqueue(7) for _ in range(50)))
    assert sum(not one.duplicate for one in made) == 1
    with pytest.raises(DuplicateJob):
        await charge.options(id="order-7", on_conflict="raise").enqueue(7)
    await work(charge)
    assert {await one.result(timeout=20) for one in made} == {7}
    assert runs == ["order-7"]


async def test_a126_a_done_marker_over_the_attempts_of_a_job(client: Client, work: Work) -> None:
    sent: list[int] = []

    @job(attempts=3, backoff=fixed("1ms"))
    async def notify(ctx: Context) -> list[int]:
        async with ctx.once("send", ttl="24h") as first:
            if first:
                sent.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ConnectionError
        return sent

    await work(notify)
    queued = await notify.options(id="n1").enqueue()
    assert await queued.result(timeout=20) == [1]
    other = await notify.options(id="n2").enqueue()
    assert await other.result(timeout=20) == [1, 1]  # another job, another marker
    (key, *_) = [key async for key in client.scan_iter("jobs:once:*")]
    assert 86_000_000 < await client.pttl(key) <= 86_400_000


async def test_a126_the_marker_is_freed_when_the_block_raises(client: Client, work: Work) -> None:
    tried: list[int] = []

    @job(attempts=2, backoff=fixed("1ms"))
    async def notify(ctx: Context) -> bool:
        async with ctx.once("send") as first:
            tried.append(ctx.attempt)
            if ctx.attempt == 1:
                raise ConnectionError
        return first

    await work(notify)
    assert await (await notify.enqueue()).result(timeout=20) is True
    assert tried == [1, 2]


async def test_a126_what_a_dead_attempt_began_its_successor_takes_over(client: Client) -> None:
    """By token: the newer attempt does it again, and the older one has lost its right."""
    marker = once_key("job-1:send")
    assert await store.begin(client, marker, "job-1", 4, 60_000)
    assert not await store.begin(client, marker, "job-2", 9, 60_000)  # somebody else's
    assert await store.begin(client, marker, "job-1", 5, 60_000)
    assert not await store.begin(client, marker, "job-1", 4, 60_000)
    assert not await store.end(client, marker, "job-1", 4, 0)  # it frees nothing either
    assert await client.get(marker) == b"5 job-1"
    assert await store.end(client, marker, "job-1", 5, 60_000)
    assert not await store.begin(client, marker, "job-1", 6, 60_000)
    assert await client.get(marker) == b"done"


async def test_a126_the_same_for_any_code(client: Client) -> None:
    done: list[int] = []

    async def send(number: int) -> bool:
        async with client.once("newsletter:2026-12", ttl="1h") as first:
            if first:
                await asyncio.sleep(0.02)
                done.append(number)
        return first

    answers = await asyncio.gather(*map(send, range(20)))
    assert sum(answers) == len(done) == 1
    assert not await send(21)
    async with client.once("newsletter:2027-01") as other:
        assert other
    with pytest.raises(RuntimeError):
        async with client.once("fails"):
            raise RuntimeError
    async with client.once("fails") as again:
        assert again


async def test_a126_a_marker_ends_by_itself(client: Client) -> None:
    async with client.once("short", ttl="20ms") as first:
        assert first

    async def free() -> bool:
        async with client.once("short", ttl="20ms") as again:
            return again

    await wait_until(free, description="the marker is over")


async def test_a126_wrong_markers_are_refused(client: Client) -> None:
    with pytest.raises(InvalidOption, match="has a name"):
        async with client.once(""):
            pass
    with pytest.raises(InvalidOption, match="at most 1024 bytes"):
        async with client.once("x" * 1025):
            pass
    with pytest.raises(InvalidOption, match="at least a millisecond"):
        async with client.once("a", ttl=0):
            pass
    assert [key async for key in client.scan_iter("*")] == []


@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_a126_no_two_names_share_a_marker(one: str, other: str) -> None:
    assert (once_key(one) == once_key(other)) == (one == other)
    assert "{" not in once_key(one)


async def test_a128_the_idempotency_key_is_stable_over_retries(client: Client, work: Work) -> None:
    """And another for every job, also for one that is given the same id later."""
    seen: dict[str, list[str]] = {}

    class Provider:
        """A payment provider that knows what it has booked."""

        def __init__(self) -> None:
            self.booked: dict[str, int] = {}

        def charge(self, key: str) -> dict[str, Any]:
            already = key in self.booked
            payment = self.booked.setdefault(key, len(self.booked) + 1)
            return {"alreadyProcessed": already, "paymentId": payment}

    provider = Provider()

    @job(attempts=3, backoff=fixed("1ms"))
    async def pay(ctx: Context) -> dict[str, Any]:
        seen.setdefault(ctx.job_id, []).append(ctx.idempotency_key)
        reply = provider.charge(ctx.idempotency_key)
        if ctx.attempt < 3:
            raise ConnectionError("the answer was lost")
        return reply

    await work(pay)
    first = await pay.options(id="invoice-1").enqueue()
    assert await first.result(timeout=20) == {"alreadyProcessed": True, "paymentId": 1}
    second = await pay.options(id="invoice-2").enqueue()
    assert await second.result(timeout=20) == {"alreadyProcessed": True, "paymentId": 2}
    assert [len(set(keys)) for keys in seen.values()] == [1, 1]
    assert [len(keys) for keys in seen.values()] == [3, 3]
