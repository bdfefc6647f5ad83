"""Looking at queues, and control of whole ones (A12, A90-A97, A99, B9, B150, B154-B163)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs import Client, Context, Retry, State, fixed, job
from jobs.errors import (
    InvalidOption,
    JobCancelled,
    JobNotFound,
    WrongState,
)
from jobs.keys import queue_keys
from jobs.store.audit import audit
from tests.features.conftest import Work
from tests.features.posting import HOUR, Post, fail_some, post, state_of
from tests.helpers.keyspace import untyped
from tests.helpers.waiting import wait_until

__all__ = ["post"]


# -- looking -------------------------------------------------------------------------------


async def test_a12_one_queue_with_dotted_names(client: Client, work: Work) -> None:
    ran: list[str] = []

    def mail(name: str) -> Any:
        @job(f"email.{name}", queue="jobs")
        async def send(ctx: Context) -> None:
            ran.append(ctx.function)

        return send

    functions = [mail(name) for name in ("sendInvite", "sendPasswordReset", "sendReminder")]
    await work(*functions)
    for function in functions:
        await (await client.enqueue(function.name)).result(timeout=20)
    assert ran == ["email.sendInvite", "email.sendPasswordReset", "email.sendReminder"]
    assert (await client.queue("jobs").counts())[State.completed] == 3


async def test_a90_get_a_job_by_its_id(client: Client) -> None:
    await client.enqueue("anything", {"n": 1}, id="one")
    info = await client.queue().job("one")
    assert (info.id, info.function, info.kwargs) == ("one", "anything", {"n": 1})
    assert await client.job("one").details() == info
    with pytest.raises(JobNotFound, match="holds no job 'two'"):
        await client.queue().job("two")


async def test_a92_counts_of_every_state_in_one_call(client: Client, work: Work) -> None:
    gate = asyncio.Event()

    @job("act", attempts=1)
    async def act(ctx: Context, how: str) -> None:
        if how == "fail":
            raise ValueError(how)
        if how == "run":
            await gate.wait()

    handles = [await client.enqueue("act", {"how": how}) for how in ("ok", "fail", "run")]
    await work(act)
    await wait_until(handles[1].state, description="the jobs are claimed")
    await wait_until(
        lambda: counted(client, State.completed, State.failed, State.active),
        description="each is in its state",
    )
    delayed = await client.enqueue("act", {"how": "ok"}, delay=HOUR)
    other = await client.enqueue("act", {"how": "ok"}, delay=HOUR)
    await other.cancel()
    counts = await client.queue().counts()
    ones = {State.completed, State.failed, State.active, State.delayed, State.cancelled}
    assert counts == {state: int(state in ones) for state in State}
    gate.set()
    await handles[2].result(timeout=20)
    assert await delayed.state() is State.delayed


async def counted(client: Client, *states: State) -> bool:
    """Whether there is a job in each of these states."""
    counts = await client.queue().counts()
    return all(counts[state] for state in states)


async def test_a99_state_of_a_job(client: Client, work: Work) -> None:
    gate, began = asyncio.Event(), asyncio.Event()

    @job("gated")
    async def gated(ctx: Context) -> None:
        began.set()
        await gate.wait()

    queued = await client.enqueue("gated", delay=HOUR)
    assert await queued.state() is State.delayed
    await queued.promote()
    assert await queued.state() is State.waiting
    await work(gated)
    await began.wait()
    assert await queued.state() is State.active
    gate.set()
    await queued.result(timeout=20)
    assert await queued.state() is State.completed
    with pytest.raises(JobNotFound):
        await client.job("nobody").state()


async def test_b9_no_state_is_seen_half_done(client: Client, work: Work) -> None:
    """While jobs run, fail, wait and end, every look at the whole queue is a sound one."""

    @job("busy", attempts=2, backoff=fixed("1ms"))
    async def busy(ctx: Context, n: int) -> None:
        await asyncio.sleep(0.02)
        if n % 3 == 0 and ctx.attempt < 2:
            raise Retry(defer=0.001)
        if n % 50 == 0:
            raise ValueError(n)

    handles = await client.enqueue_many([busy.request(n) for n in range(300)])
    await work(busy, max_jobs=10)
    found: list[str] = []
    looks = 0
    while (await client.queue().counts())[State.completed] < 294:
        found += await audit(client, queue_keys("default"))
        looks += 1
    assert found == []
    assert looks > 3
    assert await handles[1].result(timeout=20) is None


# -- the queue -----------------------------------------------------------------------------


async def test_a93_pause_and_resume_a_queue(client: Client, work: Work) -> None:
    began, gate = asyncio.Event(), asyncio.Event()

    @job("slow")
    async def slow(ctx: Context, wait: bool = False) -> str:
        began.set()
        if wait:
            await gate.wait()
        return "done"

    queue = client.queue()
    await work(slow)
    running = await client.enqueue("slow", {"wait": True})
    await began.wait()
    assert await queue.pause("the provider is down")
    paused = await queue.paused()
    assert paused is not None
    assert paused.reason == "the provider is down"
    assert abs(datetime.now(UTC) - paused.since) < timedelta(minutes=1)
    held = await client.enqueue("slow")
    gate.set()
    assert await running.result(timeout=20) == "done", "running jobs finish"
    await asyncio.sleep(0.1)  # nothing can be waited for: it must not start
    assert await held.state() is State.waiting
    assert not await queue.pause("still down"), "it was paused already"
    await queue.resume()
    assert await held.result(timeout=20) == "done"
    assert await queue.paused() is None
    with pytest.raises(WrongState, match="queue 'default' is not paused"):
        await queue.resume()


async def test_a93_a_burst_at_a_paused_queue_ends(client: Client, redis_url: str) -> None:
    from jobs import RedisSettings, Worker

    @job("held")
    async def held(ctx: Context) -> None: ...

    @job("other")
    async def other(ctx: Context) -> None: ...

    for pause in ((), ("held",)):
        await client.queue().pause(functions=pause)
        waiting = await client.enqueue("held")
        await client.enqueue("held", delay=0.01)
        worker = Worker(
            [held, other],
            redis_settings=RedisSettings.from_dsn(redis_url),
            burst=True,
            handle_signals=False,
        )
        async with asyncio.timeout(10):
            await worker.async_run()
        await worker.close()
        assert await waiting.state() is State.waiting
        await client.queue().resume(functions=pause)
        await client.queue().drain(delayed=True)


async def test_a94_clean_by_state_age_and_limit(client: Client, work: Work, post: Post) -> None:
    await fail_some(client, work, post, "a", "b", "c", "d")
    queue = client.queue("post")
    assert await queue.clean(state="failed", older_than=HOUR) == 0
    assert await queue.clean(state="failed", limit=1, dry_run=True) == 1
    assert await queue.clean(state=State.failed, limit=1) == 1
    assert await state_of(client, "a", "post") is None, "the oldest"
    assert await queue.clean(state="failed") == 3
    await client.enqueue("letter", {"to": "Ada"}, queue="post")
    await client.enqueue("letter", {"to": "Ada"}, queue="post", delay=HOUR)
    assert await queue.clean(state="waiting") == 1
    assert await queue.clean(state="delayed", older_than="1d") == 0
    assert await queue.clean(state="delayed") == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"state": "active"}, "`clean` takes jobs that are .*, not active"),
        ({"state": "broken"}, "there is no state 'broken'"),
        ({"state": "failed", "limit": 0}, "at least 1 job"),
        ({"state": "failed", "older_than": -1}, "zero or more"),
    ],
)
async def test_a94_what_is_not_cleaned(
    options: dict[str, Any], sentence: str, client: Client
) -> None:
    with pytest.raises(InvalidOption, match=sentence):
        await client.queue().clean(**options)


async def test_a97_drain_a_queue(client: Client, work: Work) -> None:
    await client.enqueue_many([job("f")(_nothing).request() for _ in range(130)])
    await client.enqueue("f", key="tenant")
    later = await client.enqueue("f", delay=HOUR)
    queue = client.queue()
    assert await queue.drain() == 131
    assert await later.state() is State.delayed
    assert await queue.drain(delayed=True) == 1
    assert sum((await queue.counts()).values()) == 0
    assert await queue.drain() == 0


async def _nothing(ctx: Context) -> None: ...


async def test_a97_who_waits_for_a_drained_job_hears_of_it(client: Client) -> None:
    queued = await client.enqueue("anything")
    waiting = asyncio.create_task(queued.result(timeout=10))
    await wait_until(
        lambda: untyped(client).exists(queue_keys("default").waiters), description="it is awaited"
    )
    await client.queue().drain()
    with pytest.raises(JobCancelled) as caught:
        await waiting
    assert caught.value.message == "removed"


async def test_b150_a_queue_is_removed_only_under_its_name(client: Client) -> None:
    await client.enqueue("anything", queue="email")
    queue = client.queue("email")
    with pytest.raises(InvalidOption, match="`confirm` is its name 'email', not 'emial'"):
        await queue.obliterate(confirm="emial")
    assert (await queue.counts())[State.waiting] == 1


async def test_b154_obliterate_a_queue(client: Client, work: Work) -> None:
    began = asyncio.Event()
    stopped = asyncio.Event()

    @job("endless", queue="old")
    async def endless(ctx: Context) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    running = await client.enqueue("endless", queue="old")
    await work(endless, lease=0.6)
    await began.wait()
    await client.enqueue("endless", queue="old", delay=HOUR)
    queue = client.queue("old")
    before = await queue.counts()
    with pytest.raises(WrongState, match="jobs of queue 'old' run"):
        await queue.obliterate(confirm="old")
    assert await queue.counts() == before
    assert await queue.paused() is None, "nothing half done"
    waiting = asyncio.create_task(running.result(timeout=10))
    await wait_until(
        lambda: untyped(client).exists(queue_keys("old").waiters), description="it is awaited"
    )
    assert await queue.obliterate(confirm="old", force=True) == 2
    with pytest.raises(JobCancelled, match="removed"):
        await waiting
    await asyncio.wait_for(stopped.wait(), 10)
    assert sum((await queue.counts()).values()) == 0
    await wait_until(lambda: listed(client, "old"), description="its worker names it again")
    again = await client.enqueue("endless", queue="old")
    await wait_until(lambda: is_active(again), description="a worker serves the new queue")


async def listed(client: Client, queue: str) -> bool:
    """Whether the queue is on the list of queues."""
    return queue in await client.queues()


async def is_active(handle: Any) -> bool:
    """Whether the job runs."""
    return await handle.state() is State.active


async def test_b154_nothing_is_left(client: Client, work: Work, post: Post) -> None:
    await fail_some(client, work, post, "a")
    await client.enqueue("letter", {"to": "Ada"}, queue="post", delay=HOUR)
    queue = client.queue("post")
    await wait_until(lambda: no_workers(client), description="the worker left")
    assert await queue.obliterate(confirm="post") == 2
    assert not await untyped(client).exists(*queue_keys("post").all())
    assert not await listed(client, "post")
    await client.enqueue("letter", {"to": "Ada"}, queue="post")
    assert await listed(client, "post"), "also for the client that removed it"


async def no_workers(client: Client) -> bool:
    """Whether the queue has no worker."""
    return not await client.queue("post").workers()


async def test_b155_pause_one_function(client: Client, work: Work) -> None:
    @job("bad")
    async def bad(ctx: Context) -> str:
        return "bad"

    @job("good")
    async def good(ctx: Context) -> str:
        return "good"

    await work(bad, good, max_jobs=2)
    queue = client.queue()
    assert await queue.pause("it spams", functions=["bad"])
    held = [await client.enqueue("bad") for _ in range(5)]
    assert await (await client.enqueue("good")).result(timeout=20) == "good"
    assert [await one.state() for one in held] == [State.waiting] * 5
    assert (await queue.paused_functions())["bad"].reason == "it spams"
    assert await queue.paused() is None
    with pytest.raises(WrongState, match="'good' is not paused; nothing was resumed"):
        await queue.resume(functions=["bad", "good"])
    with pytest.raises(WrongState, match="not paused"):
        await queue.resume()
    await queue.resume(functions=["bad"])
    assert [await one.result(timeout=20) for one in held] == ["bad"] * 5
    with pytest.raises(InvalidOption, match="list of names"):
        await queue.pause(functions="bad")


async def test_b156_pause_everything(client: Client, work: Work) -> None:
    for name in ("one", "two"):
        await client.enqueue("f", queue=name)
    await client.queue("two").pause("before")
    assert await client.pause_all("maintenance") == ["one"]
    assert await client.resume_all() == ["one", "two"]
    with pytest.raises(WrongState, match="no queue is paused"):
        await client.resume_all()


async def test_b163_orphans_are_removed(client: Client) -> None:
    keys = queue_keys("default")
    await client.enqueue("anything", id="whole")
    await client.enqueue("anything", id="stateless")
    await client.enqueue("anything", id="bodyless")
    await untyped(client).zrem(keys.ready, "stateless")
    await untyped(client).hdel(keys.body, "bodyless")
    assert await client.queue().remove_orphans() == 2
    assert await client.queue().remove_orphans() == 0
    assert [info.id for info in await client.queue().jobs(State.waiting)] == ["whole"]
