"""Chapter 11: a job out of attempts is kept with its body and history, and can come back."""

from __future__ import annotations

import pytest

from jobs import Client, Context, JobFailed, State, fixed, job
from tests.fundamentals.conftest import Work


async def test_from_failure_to_dead_letter_and_back(client: Client, work: Work) -> None:
    broken = True

    @job("charge", queue="billing", attempts=2, backoff=fixed("1ms"))
    async def charge(ctx: Context, cents: int) -> str:
        if broken:
            raise ConnectionError("the bank is away")
        return f"charged {cents}, attempt {ctx.attempt}"

    await work(charge)
    queued = await charge.options(client=client, id="order:7").enqueue(995)
    with pytest.raises(JobFailed, match="the bank is away"):
        await queued.result(timeout=20)

    billing = client.queue("billing")
    (dead,) = await billing.jobs(State.failed)
    assert (dead.id, dead.args, len(dead.history)) == ("order:7", [995], 2)

    broken = False
    assert await billing.retry(["order:7", "unknown"]) == [State.failed, None]
    assert await queued.result(timeout=20) == "charged 995, attempt 1"
    outcomes = [entry["outcome"] for entry in (await queued.details()).history]
    assert outcomes == ["retried", "failed", "completed"]
    assert await billing.jobs(State.failed) == []


async def test_dead_letters_come_newest_first_and_in_pages(client: Client, work: Work) -> None:
    @job("always", attempts=1)
    async def always(ctx: Context, n: int) -> None:
        raise RuntimeError(n)

    await work(always, max_jobs=1)
    handles = await client.enqueue_many([always.request(n) for n in range(3)])
    for handle in handles:
        with pytest.raises(JobFailed):
            await handle.result(timeout=20)
    queue = client.queue()
    newest_first = {info.args[0] for info in await queue.jobs(State.failed, count=2)}
    rest = [info.args[0] for info in await queue.jobs(State.failed, start=2)]
    assert newest_first | set(rest) == {0, 1, 2}
    assert len(rest) == 1


async def test_only_ended_jobs_are_retried(client: Client) -> None:
    await client.enqueue("anything", id="w")
    await client.enqueue("anything", id="d", delay="1h")
    assert await client.queue().retry(["w", "d"]) == [State.waiting, State.delayed]
    assert await client.job("d").state() is State.delayed
