"""Options of jobs and how they are layered: framework < queue < function < call."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel

from jobs import (
    Client,
    Context,
    Job,
    JobFailed,
    State,
    exponential,
    fixed,
    job,
)
from jobs.errors import DuplicateJob, InvalidOption, InvalidPayload
from tests.features.conftest import Work
from tests.helpers.endings import end
from tests.helpers.waiting import wait_until

SOON = fixed("1ms")


class Mail(BaseModel):
    to: str
    copies: int = 1


# -- when and in which order ---------------------------------------------------------------


async def test_a25_delay_and_run_at(client: Client, work: Work) -> None:
    @job("later")
    async def later(ctx: Context) -> None: ...

    at = datetime.now(UTC) + timedelta(hours=1)
    for options, seconds in (
        ({"delay": timedelta(minutes=5)}, 300),
        ({"delay": 3600}, 3600),
        ({"delay": "5m"}, 300),
        ({"delay": 0.2}, 0.2),
        ({"run_at": at}, 3600),
    ):
        queued = await client.enqueue("later", {}, **options)
        info = await queued.details()
        assert info.state is State.delayed
        assert info.due_at is not None
        assert (info.due_at - info.enqueued_at).total_seconds() == pytest.approx(seconds, abs=0.5)
    soon = await client.enqueue("later", {}, delay="50ms")
    await work(later)
    info = await end(soon)
    assert info.history[0]["at"] - info.enqueued_at.timestamp() * 1000 >= 50


async def test_a26_priority_1_first_and_in_order_inside_a_level(client: Client, work: Work) -> None:
    order: list[str] = []

    @job("mail")
    async def mail(ctx: Context, template: str) -> None:
        order.append(template)

    @job("urgent", priority=1)
    async def urgent(ctx: Context) -> None:
        order.append("urgent")

    handles = [await mail.options(client=client, priority=10).enqueue(f"{n}") for n in range(3)]
    handles.append(await mail.options(client=client).enqueue("unset"))
    handles.append(await urgent.options(client=client).enqueue())
    handles.append(await mail.options(client=client, priority=2).enqueue("second"))
    await work(mail, urgent, max_jobs=1)
    await asyncio.gather(*(handle.result(timeout=20) for handle in handles))
    assert order == ["urgent", "second", "unset", "0", "1", "2"]
    for wrong in (0, 1001, 1.5, "high"):
        with pytest.raises(InvalidOption, match="`priority` is a whole number from 1 to 1,000"):
            await client.enqueue("urgent", {}, priority=wrong)


async def test_a27_attempts_are_total_runs(client: Client, work: Work) -> None:
    @job("always", backoff=SOON)
    async def always(ctx: Context) -> None:
        raise ValueError("again")

    await work(always)
    assert (await end(await always.options(client=client).enqueue())).failures == 3
    assert (await end(await always.options(client=client, attempts=5).enqueue())).failures == 5
    for wrong in (0, -1, 10_001, 2.5):
        with pytest.raises(InvalidOption, match="`attempts` is a whole number from 1 to 10,000"):
            await client.enqueue("always", {}, attempts=wrong)


async def test_a28_backoff_type_and_delay(client: Client, work: Work) -> None:
    @job("falls", attempts=5)
    async def falls(ctx: Context) -> None:
        raise ValueError("again")

    await work(falls)
    for backoff, wait_s in ((fixed(5), 5), (exponential(60), 60), (exponential(3), 3)):
        queued = await falls.options(client=client, backoff=backoff).enqueue()

        async def waits(queued: Job[None] = queued) -> bool:
            return await queued.state() is State.delayed

        await wait_until(waits, description="it waits for its second attempt")
        info = await queued.details()
        assert info.due_at is not None
        waited = (info.due_at - info.enqueued_at).total_seconds()
        assert wait_s - 0.5 < waited < wait_s + 2
        await queued.cancel()
    with pytest.raises(InvalidOption, match="`backoff` is fixed"):
        await client.enqueue("falls", {}, backoff="exponential")


# -- who it is -----------------------------------------------------------------------------


async def test_a29_an_id_by_the_caller(client: Client, work: Work) -> None:
    @job("invite")
    async def invite(ctx: Context) -> str:
        return ctx.job_id

    ids = ["unique-job-id", "invite-email:42", "password-reset:u1:1700000000000", "ä {:} 🚀"]
    for job_id in ids:
        first = await client.enqueue("invite", {}, id=job_id)
        again = await client.enqueue("invite", {}, id=job_id)
        assert (first.duplicate, again.duplicate, again.id) == (False, True, job_id)
        other = await client.enqueue("invite", {}, id=job_id, queue="other")
        assert not other.duplicate, "an id belongs to its queue"
        with pytest.raises(DuplicateJob):
            await client.enqueue("invite", {}, id=job_id, on_conflict="raise")
    await work(invite)
    assert await client.job(ids[-1]).result(timeout=20) == ids[-1]
    for wrong in ("", "x" * 257, 5):
        with pytest.raises(InvalidOption):
            await client.enqueue("invite", {}, id=wrong)


async def test_a38_a_handle_with_the_id_and_an_awaitable_result(client: Client, work: Work) -> None:
    @job("add")
    async def add(ctx: Context, a: int, b: int) -> int:
        return a + b

    queued = await add.options(client=client).enqueue(2, b=3)
    assert (queued.queue, await queued.state()) == ("default", State.waiting)
    await work(add)
    assert await queued.result(timeout=20) == 5
    assert (await client.job(queued.id).details()).result == 5


async def test_a39_payloads_are_validated_twice(client: Client, work: Work) -> None:
    unseen = await client.enqueue("mail", {"to": "ada", "copies": "many"})
    sent: list[int] = []

    @job("mail")
    async def mail(ctx: Context, payload: Mail) -> None:
        sent.append(payload.copies)

    with pytest.raises(InvalidPayload, match="copies"):
        await client.enqueue("mail", {"to": "ada", "copies": "many"})
    await work(mail)
    with pytest.raises(JobFailed, match="copies: Input should be a valid integer"):
        await unseen.result(timeout=20)
    await (await mail.enqueue(Mail(to="ada", copies=2), client=client)).result(timeout=20)
    assert sent == [2]


async def test_a37_many_at_once_all_or_nothing(client: Client, work: Work) -> None:
    @job("resize")
    async def resize(ctx: Context, size: int) -> int:
        return size

    handles = await client.enqueue_many([resize.request(size) for size in (64, 128, 256, 512)])
    before = await client.queue().counts()
    with pytest.raises(InvalidPayload):
        await client.enqueue_many([resize.request(1), resize.request("big")])  # type: ignore[arg-type]  # the point
    assert await client.queue().counts() == before, "one wrong job among many enqueues none"
    await work(resize)
    assert [await handle.result(timeout=20) for handle in handles] == [64, 128, 256, 512]
