"""Control of single jobs (A95, A96, B41, B75, B151-B153, B157)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs import Client, Context, JobFailed, State, fixed, job
from jobs.client import Client as AnyClient
from jobs.codec import encode_body
from jobs.errors import (
    DuplicateJob,
    InvalidOption,
    InvalidPayload,
    JobCancelled,
    JobNotFound,
    UnreadableBody,
    WrongState,
)
from jobs.keys import queue_keys
from tests.features.conftest import Work
from tests.features.posting import HOUR, Letter, Post, fail_some, post, state_of
from tests.helpers.keyspace import untyped
from tests.helpers.waiting import wait_until

__all__ = ["post"]


async def test_a95_remove_a_job(client: Client, work: Work, post: Post) -> None:
    await fail_some(client, work, post, "dead")
    for job_id, delay in (("waits", 0), ("later", HOUR)):
        await client.enqueue("letter", {"to": "Ada"}, id=job_id, queue="post", delay=delay)
    for job_id in ("dead", "waits", "later"):
        assert await client.job(job_id, "post").remove()
        assert await state_of(client, job_id, "post") is None
    assert not await client.job("dead", "post").remove(), "only if it is found"
    assert await client.queue("post").remove(["a", "b"]) == [None, None]


async def test_a95_a_running_job_is_not_removed(client: Client, work: Work) -> None:
    began, gate = asyncio.Event(), asyncio.Event()

    @job("gated")
    async def gated(ctx: Context) -> str:
        began.set()
        await gate.wait()
        return "whole"

    await work(gated)
    queued = await client.enqueue("gated", id="runs")
    await began.wait()
    with pytest.raises(
        WrongState, match="job 'runs' of queue 'default' is active and was not removed"
    ):
        await queued.remove()
    gate.set()
    assert await queued.result(timeout=20) == "whole"


async def test_a96_retry_a_failed_job(client: Client, work: Work, post: Post) -> None:
    await fail_some(client, work, post, "a")
    handle = client.job("a", "post")
    await handle.retry()
    info = await handle.details()
    assert (info.state, info.failures, len(info.history)) == (State.waiting, 0, 2)
    with pytest.raises(WrongState, match="only jobs that have ended"):
        await handle.retry()
    with pytest.raises(JobNotFound):
        await client.job("b", "post").retry()


async def test_a96_retry_without_new_attempts(client: Client, work: Work, post: Post) -> None:
    await fail_some(client, work, post, "a")
    handle = client.job("a", "post")
    await handle.retry(reset_attempts=False)
    assert (await handle.details()).failures == 2
    await work(post.function)
    with pytest.raises(JobFailed):
        await handle.result(timeout=20)
    assert len((await handle.details()).history) == 3, "one more attempt, not two"


async def test_b41_retry_a_completed_job(client: Client, work: Work) -> None:
    runs: list[int] = []

    @job("count")
    async def count(ctx: Context) -> int:
        runs.append(ctx.attempt)
        return len(runs)

    await work(count)
    queued = await client.enqueue("count")
    assert await queued.result(timeout=20) == 1
    await queued.retry()
    assert await queued.result(timeout=20) == 2
    assert runs == [1, 1]


async def test_b75_change_priority_delay_and_payload(
    client: Client, work: Work, post: Post
) -> None:
    for name in ("Ada", "Bob", "Cyd"):
        await client.enqueue("letter", {"to": name}, id=name, queue="post")
    queue = client.queue("post")
    assert await queue.change("Cyd", priority=1) is State.waiting
    assert await queue.change("Bob", payload={"to": "Bert", "copies": 2}) is State.waiting
    assert await queue.change("Ada", delay=HOUR) is State.waiting
    moment = datetime.now(UTC) + timedelta(hours=2)
    assert await queue.change("Ada", run_at=moment, payload=Letter(to="Eve")) is State.delayed
    info = await queue.job("Ada")
    assert info.due_at is not None
    assert abs(info.due_at - moment) < timedelta(milliseconds=2)
    assert info.kwargs["to"] == "Eve"
    await work(post.function, max_jobs=1)
    await client.job("Bob", "post").result(timeout=20)
    assert [one.to for one in post.sent] == ["Cyd", "Bert"]
    await client.job("Ada", "post").change(delay=0)
    assert await client.job("Ada", "post").result(timeout=20) == "Eve"


async def test_b75_what_cannot_be_changed(client: Client, work: Work, post: Post) -> None:
    queue = client.queue("post")
    await client.enqueue("letter", {"to": "Ada"}, id="a", queue="post")
    before = await queue.job("a")
    for changes, sentence in (
        ({}, "nothing to change"),
        ({"priority": 0}, "from 1 to 1,000"),
        ({"delay": 1, "run_at": datetime.now(UTC)}, "not both"),
        ({"run_at": datetime(2030, 1, 1)}, "run_at"),  # noqa: DTZ001 -- naive on purpose
        ({"payload": [1]}, "a mapping of arguments"),
    ):
        with pytest.raises(InvalidOption, match=sentence):
            await queue.change("a", **changes)
    with pytest.raises(InvalidPayload, match="to: Field required"):
        await queue.change("a", payload={"too": "Ada"}, priority=1)
    assert await queue.job("a") == before, "nothing half done"
    with pytest.raises(JobNotFound):
        await queue.change("b", priority=1)
    await client.job("a", "post").cancel()
    with pytest.raises(WrongState, match="is cancelled: only jobs that wait"):
        await queue.change("a", priority=1)


async def test_b75_a_running_job_is_not_edited(client: Client, work: Work) -> None:
    began, gate = asyncio.Event(), asyncio.Event()

    @job("gated")
    async def gated(ctx: Context, n: int) -> int:
        began.set()
        await gate.wait()
        return n

    await work(gated)
    queued = await client.enqueue("gated", {"n": 1})
    await began.wait()
    for changes in ({"payload": {"n": 2}}, {"priority": 1}, {"delay": 5}):
        with pytest.raises(WrongState, match="is active"):
            await queued.change(**changes)
    gate.set()
    assert await queued.result(timeout=20) == 1


async def test_b75_a_parked_job_is_mended(client: Client) -> None:
    """One whose body nobody can read cannot be edited: nobody knows whose arguments they are."""
    keys = queue_keys("default")
    await client.enqueue("new_function", {"n": "one"}, id="p")
    await client.enqueue("new_function", {"n": "one"}, id="broken")
    body = await untyped(client).hget(keys.body, "broken")
    await untyped(client).hset(keys.body, "broken", body[:-1] + b"?")
    with pytest.raises(UnreadableBody):
        await client.queue().change("broken", payload={"n": 1})
    await client.queue().change("p", payload={"n": 1})
    stored = await untyped(client).hget(keys.body, "p")
    assert stored[6:] == encode_body("p", "new_function", [], {"n": 1})


async def test_b151_retry_with_an_edited_payload(client: Client, work: Work, post: Post) -> None:
    await fail_some(client, work, post, "a", "b")
    handle = client.job("a", "post")
    with pytest.raises(InvalidPayload):
        await handle.retry(payload={"copies": 1})
    assert await handle.state() is State.failed, "nothing half done"
    await handle.retry(payload=Letter(to="Ada", copies=3))
    await work(post.function)
    assert await handle.result(timeout=20) == "Ada"
    assert post.sent == [Letter(to="Ada", copies=3)]
    with pytest.raises(InvalidOption, match="for one job, not for 2"):
        await client.queue("post").retry(["a", "b"], payload={"to": "Ada"})


async def test_b151_a_copy_optionally_edited(client: Client, work: Work, post: Post) -> None:
    await client.enqueue(
        "letter", {"to": "Ada"}, id="a", queue="post", priority=7, key="t", attempts=9, unique="u"
    )
    first = client.job("a", "post")
    copy = await first.copy()
    other = await first.copy(payload={"to": "Bob"}, id="b", delay=HOUR)
    info, edited = await copy.details(), await other.details()
    assert (info.function, info.kwargs, info.priority) == ("letter", {"to": "Ada", "copies": 1}, 7)
    assert info.options == (await first.details()).options
    assert (edited.id, edited.kwargs["to"], edited.state) == ("b", "Bob", State.delayed)
    with pytest.raises(DuplicateJob):
        await first.copy(id="b")
    with pytest.raises(JobNotFound):
        await client.job("nobody", "post").copy()
    await work(post.function)
    assert [await first.result(timeout=20), await copy.result(timeout=20)] == ["Ada", "Ada"]


async def test_b152_promote_one_many_and_all(client: Client, work: Work) -> None:
    ids = [f"{n}" for n in range(130)]
    for job_id in ids:
        await client.enqueue("anything", id=job_id, delay=HOUR)
    await client.enqueue("anything", id="waits")
    queue = client.queue()
    await client.job("0").promote()
    assert await queue.promote(["1", "waits", "nobody"]) == [State.delayed, State.waiting, None]
    assert await queue.promote_all() == 128
    assert (await queue.counts())[State.waiting] == 131
    with pytest.raises(WrongState, match="only delayed jobs"):
        await client.job("0").promote()


async def test_b152_an_attempt_that_waits_is_promoted(client: Client, work: Work) -> None:
    @job("flaky", attempts=2, backoff=fixed(HOUR))
    async def flaky(ctx: Context) -> int:
        if ctx.attempt == 1:
            raise ValueError("once")
        return ctx.attempt

    await work(flaky)
    queued = await client.enqueue("flaky")
    await wait_until(lambda: is_delayed(queued), description="it waits for its second attempt")
    await queued.promote()
    assert await queued.result(timeout=20) == 2


async def is_delayed(handle: Any) -> bool:
    """Whether the job waits for a time."""
    return await handle.state() is State.delayed


async def test_b153_retry_the_last_that_failed_before_a_moment(
    client: Client, work: Work, post: Post
) -> None:
    await fail_some(client, work, post, "a", "b", "c")
    await asyncio.sleep(0.002)  # the moment lies behind the millisecond of the last end
    moment = datetime.now(UTC)
    await asyncio.sleep(0.002)
    await fail_some(client, work, post, "d")
    queue = client.queue("post")
    assert await queue.retry_jobs(2, before=moment) == 2
    waiting = {info.id for info in await queue.jobs(State.waiting)}
    assert waiting == {"b", "c"}
    assert await queue.retry_jobs(10, state="failed") == 2
    assert await queue.retry_jobs(10) == 0
    for wrong in ({"count": 0}, {"count": 1, "state": "waiting"},
                  {"count": 1, "before": datetime(2030, 1, 1)}):  # fmt: skip  # noqa: DTZ001
        with pytest.raises(InvalidOption):
            await queue.retry_jobs(**wrong)


async def test_b157_cancel_a_running_job_from_anywhere(
    client: Client, work: Work, redis_url: str
) -> None:
    began, cleaned = asyncio.Event(), asyncio.Event()

    @job("long")
    async def long(ctx: Context) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.set()

    await work(long)
    queued = await client.enqueue("long")
    await began.wait()
    async with AnyClient.connect(redis_url) as elsewhere:
        assert await elsewhere.job(queued.id).cancel("the customer left") is State.active
    with pytest.raises(JobCancelled) as caught:
        await queued.result(timeout=20)
    assert caught.value.message == "the customer left"
    assert cleaned.is_set()
    history = (await queued.details()).history
    assert history[-1]["reason"] == "the customer left"


async def test_b157_cancel_many_wherever_they_are(client: Client, work: Work) -> None:
    began = asyncio.Event()

    @job("long")
    async def long(ctx: Context) -> None:
        began.set()
        await asyncio.sleep(60)

    await work(long, max_jobs=1)
    running = await client.enqueue("long")
    await began.wait()
    waiting = await client.enqueue("long")
    delayed = await client.enqueue("long", delay=HOUR)
    ids = [running.id, waiting.id, delayed.id, "nobody"]
    found = await client.queue().cancel_many(ids, "cleaning up")
    assert found == [State.active, State.waiting, State.delayed, None]
    for one in (running, waiting, delayed):
        with pytest.raises(JobCancelled) as caught:
            await one.result(timeout=20)
        assert caught.value.message == "cleaning up"
