"""How jobs flow: order, delays, concurrency, rates, parking, bursts, restarts."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from jobs import Client, Keep, Queue, Request, State, fixed, func, job
from jobs.context import Context
from jobs.errors import JobExpired, JobNotFound
from jobs.keys import queue_keys
from jobs.store.record import ENQUEUED_BYTES, split_body
from tests.helpers.acting import act
from tests.helpers.keyspace import untyped
from tests.helpers.waiting import wait_until
from tests.helpers.worker import make_worker, running, stage_of


async def test_priority_decides_and_then_the_order_of_enqueue(
    client: Client, redis_url: str
) -> None:
    plan = [(5, "e1"), (1, "a1"), (5, "e2"), (1, "a2"), (None, "c1"), (1000, "z1"), (4, "d1")]
    for priority, job_id in plan:
        options: Any = {"id": job_id} | ({"priority": priority} if priority else {})
        await act.options(client=client, **options).enqueue()
    async with running(redis_url, max_jobs=1) as worker:
        await client.job("z1").result(timeout=10)
    assert stage_of(worker).order == ["a1", "a2", "c1", "d1", "e1", "e2", "z1"]


async def test_a_delayed_job_is_due_exactly_and_started_soon_after(
    client: Client, redis_url: str
) -> None:
    """By the server's clock, from the recorded times; never early."""
    async with running(redis_url):
        run_at = datetime.now(UTC) + timedelta(milliseconds=400)
        jobs = [await act.options(client=client, delay=0.3).enqueue() for _ in range(5)]
        jobs.append(await act.options(client=client, run_at=run_at).enqueue())
        assert await jobs[-1].state() is State.delayed
        for delayed in jobs:
            await delayed.result(timeout=10)
        for number, delayed in enumerate(jobs):
            info = await delayed.details()
            assert info.finished_at is not None
            due = run_at if number == 5 else info.enqueued_at + timedelta(milliseconds=300)
            late = (info.finished_at - due) / timedelta(milliseconds=1)
            assert -2 <= late < 100, f"{late} ms"


async def test_each_queue_has_its_own_concurrency(client: Client, redis_url: str) -> None:
    """One worker, three queues; the ledger of starts and ends says how many ran at once."""
    at_once: dict[str, int] = {"one": 0, "two": 0, "five": 0}
    most = dict(at_once)

    @job("count", attempts=1)
    async def count(ctx: Context) -> None:
        at_once[ctx.queue] += 1
        most[ctx.queue] = max(most[ctx.queue], at_once[ctx.queue])
        await asyncio.sleep(0.01)
        at_once[ctx.queue] -= 1

    queues = [
        Queue("one", concurrency=1),
        Queue("two", concurrency=2),
        Queue("five", concurrency=5),
    ]
    async with running(redis_url, [count], queues=queues):
        requests = [Request("count", options={"queue": q.name}) for q in queues for _ in range(15)]
        for counted in await client.enqueue_many(requests):
            await counted.result(timeout=10)
    assert most == {"one": 1, "two": 2, "five": 5}


async def test_a_rate_holds_over_two_workers(client: Client, redis_url: str) -> None:
    """Not more than 10 starts in any 300 ms, measured where the jobs start."""
    queue = Queue("slow", rate="10/300ms", concurrency=20)
    starts: list[float] = []

    @job("tick", queue=queue)
    async def tick(ctx: Context) -> None:
        starts.append(time.monotonic())

    async with running(redis_url, [tick]), running(redis_url, [tick]):
        requests = [tick.request() for _ in range(30)]
        for limited in await client.enqueue_many(requests):
            await limited.result(timeout=10)
    starts.sort()
    assert len(starts) == 30
    assert starts[-1] - starts[0] >= 0.55, "three periods begin, so two have passed"
    margin = 0.05  # between the server's claim and the start of the function
    assert all(
        late - early > 0.3 - margin for early, late in zip(starts, starts[10:], strict=False)
    )


# -- park ----------------------------------------------------------------------------------


async def test_an_unknown_function_is_parked_and_run_by_who_knows_it(
    client: Client, redis_url: str
) -> None:
    @job("newer")
    async def newer(ctx: Context, number: int) -> int:
        return number + 1

    keys = queue_keys("default")
    waiting = await newer.options(client=client).enqueue(41)
    raw = await untyped(client).hget(keys.body, waiting.id)
    async with running(redis_url, [act]):
        await until_state(waiting, State.parked)
        assert await untyped(client).hget(keys.body, waiting.id) == raw
        assert "newer" in (await waiting.details()).history[-1]["reason"]
        async with running(redis_url, [act, newer]):
            assert await waiting.result(timeout=10) == 42
    assert (await waiting.details()).failures == 0


@pytest.mark.parametrize("damage", ["changed", "cut", "newer"])
async def test_an_unreadable_body_is_parked_with_its_bytes(
    client: Client, redis_url: str, damage: str
) -> None:
    """S28; a body of a newer release looks the same to an old worker."""
    keys = queue_keys("default")
    waiting = await act.options(client=client).enqueue("ok", "payload")
    stored: Any = await untyped(client).hget(keys.body, waiting.id)
    good = bytes(stored)
    bad = {
        "changed": good[:-3] + b"???",
        "cut": good[:12],
        "newer": good[:8] + b"\x63" + good[9:],
    }[damage]
    await untyped(client).hset(keys.body, waiting.id, bad)
    async with running(redis_url) as worker:
        await until_state(waiting, State.parked)
        assert await untyped(client).hget(keys.body, waiting.id) == bad
        assert stage_of(worker).starts == []
        assert await (await act.options(client=client).enqueue("ok", 1)).result(timeout=10) == 1
        await untyped(client).hset(keys.body, waiting.id, good)
        assert await waiting.result(timeout=10) == "payload", "mended, it runs"


async def until_state(waiting: Any, state: State) -> None:
    async def reached() -> bool:
        return bool(await waiting.state() is state)

    await wait_until(reached, description=f"the job is {state}")


async def test_an_expired_job_keeps_its_arguments(client: Client, redis_url: str) -> None:
    late = await act.options(client=client, expires=0.01).enqueue("ok", "kept")
    keys = queue_keys("default")
    stored: Any = await untyped(client).hget(keys.body, late.id)
    enqueued, envelope = split_body(stored)
    aged = (enqueued - 5_000).to_bytes(ENQUEUED_BYTES) + envelope
    await untyped(client).hset(keys.body, late.id, aged)
    async with running(redis_url) as worker:
        with pytest.raises(JobExpired, match=r"not started within 0.01 s"):
            await late.result(timeout=10)
        info = await late.details()
        assert (info.state, info.args) == (State.expired, ["ok", "kept"])
        assert stage_of(worker).starts == []


# -- bursts and restarts -------------------------------------------------------------------


async def test_a_burst_ends_when_nothing_is_left(client: Client, redis_url: str) -> None:
    """It waits for its own retries that come soon, and for no job that is due in an hour."""
    await act.options(client=client, backoff=fixed(0.05)).enqueue("first:error", "x")
    later = await act.options(client=client, delay="1h").enqueue()
    worker = make_worker(redis_url, burst=True)
    async with asyncio.timeout(10):
        await worker.async_run()
        await worker.close()
    assert (worker.jobs_complete, worker.jobs_retried) == (1, 1)
    assert await later.state() is State.delayed


async def test_a_burst_runs_what_its_jobs_enqueue(client: Client, redis_url: str) -> None:
    ran: list[str] = []

    @job("chain")
    async def chain(ctx: Context, left: int) -> None:
        ran.append(ctx.queue)
        if left:
            name = "one" if ctx.queue == "two" else "two"
            await chain.options(queue=name).enqueue(left - 1)

    await chain.options(client=client, queue="one").enqueue(5)
    queues = [Queue("one"), Queue("two")]
    worker = make_worker(redis_url, [chain], queues=queues, burst=True)
    async with asyncio.timeout(10):
        await worker.async_run()
        await worker.close()
    assert ran == ["one", "two"] * 3


async def test_a_burst_starts_no_more_jobs_than_asked(client: Client, redis_url: str) -> None:
    await client.enqueue_many([act.request() for _ in range(7)])
    worker = make_worker(redis_url, burst=True, max_burst_jobs=3)
    async with asyncio.timeout(10):
        await worker.async_run()
        await worker.close()
    assert worker.jobs_complete == 3
    assert (await client.queue().counts())[State.waiting] == 4


async def test_a_worker_can_run_again_in_the_same_process(client: Client, redis_url: str) -> None:
    worker = make_worker(redis_url, burst=True)
    for number in range(3):
        waiting = await act.options(client=client).enqueue("ok", number)
        async with asyncio.timeout(10):
            await worker.async_run()
        assert await waiting.result(timeout=20) == number
    await worker.close()
    assert worker.jobs_complete == 3


async def test_a_worker_runs_again_although_it_could_not_take_leave(
    client: Client, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server was away at its goodbye, so it still remembers this worker's last request."""

    async def away(*_: object) -> int:
        raise ConnectionError("away")

    worker = make_worker(redis_url, burst=True, max_jobs=1)
    await client.enqueue_many([act.request() for _ in range(5)])
    with monkeypatch.context() as patch:
        patch.setattr("jobs.store.workers.leave", away)
        await worker.async_run()
    waiting = await act.options(client=client).enqueue("ok", 1)
    async with asyncio.timeout(10):
        await worker.async_run()
    await worker.close()
    assert await waiting.state() is State.completed


async def test_what_is_not_kept_is_gone(client: Client, redis_url: str) -> None:
    async with running(redis_url):
        options = act.options(client=client, keep_completed=Keep(count=0))
        gone = await options.enqueue("gate")
        await until_state(gone, State.active)
        waiting = asyncio.create_task(gone.result(timeout=10))
        await wait_until(
            lambda: untyped(client).hlen(queue_keys("default").waiters), description="waits"
        )
        async with running(redis_url):
            pass
        assert not waiting.done()
        await client.queue().cancel(gone.id)
        with pytest.raises(Exception, match="cancelled"):
            await waiting
        with pytest.raises(JobNotFound):
            await gone.details()


async def test_a_thousand_jobs_are_each_run_once(client: Client, redis_url: str) -> None:
    """Through two workers, with the server forgetting its scripts all the time (S19)."""
    async with running(redis_url, max_jobs=50) as one, running(redis_url, max_jobs=50) as two:
        jobs = await client.enqueue_many([act.request("ok", n) for n in range(1_000)])

        async def drained() -> bool:
            await client.script_flush()
            return (await client.queue().counts())[State.completed] == 1_000

        await wait_until(drained, description="all are completed", timeout=20, poll=0.05)
        order = stage_of(one).order + stage_of(two).order
        assert sorted(order) == sorted(each.id for each in jobs)
        assert all(stage_of(worker).order for worker in (one, two)), "both had a share"
    for worker in (one, two):
        times = [at for *_, at in stage_of(worker).starts]
        assert all(a <= b for a, b in pairwise(times))


async def test_a_burst_runs_what_a_nap_has_claimed_at_its_end(
    client: Client, redis_url: str
) -> None:
    """The last running job enqueues one and ends: the wait for a wake-up may have it already, so
    that nothing waits, and its answer may be on its way.
    """

    async def last(ctx: Any, number: int) -> None:
        await act.options(client=client, id=f"new-{number}").enqueue("ok", number)

    for number in range(60):
        await client.enqueue("last", {"number": number})
        worker = make_worker(redis_url, [func(last, name="last"), act], burst=True)
        await worker.async_run()
        await worker.close()
        assert await client.job(f"new-{number}").state() is State.completed
