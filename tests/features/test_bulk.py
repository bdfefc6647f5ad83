"""One action on everything that matches: the rows on bulk actions and their guard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from jobs import Client, Context, Fail, Filter, JobFailed, Request, State, job
from jobs.errors import InvalidFilter, InvalidOption, UnsafeAll
from jobs.operations.actions import BulkResult, Progress
from jobs.operations.bulk import Bulk
from tests.features.conftest import Work
from tests.helpers.waiting import wait_until


@job("bulk.collect", queue="billing", attempts=1)
async def charge(ctx: Context, customer: str) -> None:
    if ctx.get("bank") != "open":
        raise Fail(f"the bank refuses {customer}")


async def dead(client: Client, work: Work, number: int) -> list[str]:
    """So many failed jobs."""
    worker = await work(charge)
    names = [f"c{n}" for n in range(number)]
    requests = [charge.options(id=name).request(name) for name in names]
    handles = await client.enqueue_many(requests)
    for handle in handles:
        with pytest.raises(JobFailed):
            await handle.result(timeout=20)
    await worker.close()
    return names


async def test_b149_retry_by_filter_with_progress(client: Client, work: Work) -> None:
    names = await dead(client, work, 230)
    told: list[Progress] = []
    result = await client.bulk("state:failed queue:billing").retry(on_progress=told.append)
    assert (result.total, result.done, result.failed, result.partial) == (230, 230, 0, False)
    assert told == [Progress(100, 0, 230), Progress(200, 0, 230), Progress(230, 0, 230)]
    assert set(result.ids) == set(names)
    counts = await client.queue("billing").counts()
    assert (counts[State.waiting], counts[State.failed]) == (230, 0)


async def test_b149_retry_takes_failed_jobs_unless_told_otherwise(
    client: Client, work: Work
) -> None:
    """A completed job that matches is not run again by accident."""
    await dead(client, work, 1)
    worker = await work(charge, ctx={"bank": "open"})
    await charge.options(client=client, id="fine").enqueue("fine")
    await client.job("fine", "billing").result(timeout=20)
    await worker.close()
    assert (await client.bulk("job:bulk.collect").retry(dry_run=True)).ids == ["c0"]
    wide = await client.bulk("job:bulk.collect state:failed,completed").retry(dry_run=True)
    assert sorted(wide.ids) == ["c0", "fine"]


async def test_b149_cancel_by_filter(client: Client) -> None:
    await client.enqueue_many([Request("f", options={"id": f"j{n}"}) for n in range(25)])
    await client.enqueue("f", id="late", delay="1h")
    await client.enqueue("g", id="other")
    result = await client.bulk("job:f").cancel("superseded")
    assert (result.total, result.done) == (26, 26)
    counts = await client.queue().counts()
    assert (counts[State.cancelled], counts[State.waiting], counts[State.delayed]) == (26, 1, 0)
    late = await client.job("late").details()
    assert late.history[-1]["reason"] == "superseded"


async def test_b149_the_last_hundred_that_failed_before_a_moment(
    client: Client, work: Work
) -> None:
    await dead(client, work, 30)
    page = await client.search("state:failed", limit=30)
    moment = page.jobs[9].finished_at
    before = [info.id for info in page.jobs if info.finished_at and info.finished_at < moment]  # type: ignore[operator]  # an ended job
    chosen = Filter(states=[State.failed], until=moment)
    result = await client.bulk(chosen, limit=5).retry()
    assert result.done == min(5, len(before))
    waiting = {info.id for info in await client.queue("billing").jobs(State.waiting)}
    assert waiting == set(before[:5])


async def test_b149_a_dry_run_does_nothing(client: Client) -> None:
    await client.enqueue_many([Request("f", options={"id": f"j{n:02}"}) for n in range(12)])
    result = await client.bulk("job:f").cancel(dry_run=True)
    assert (result.total, result.done, result.dry_run, result.partial) == (12, 0, True, False)
    assert result.ids == [f"j{n:02}" for n in range(12)]
    assert (await client.queue().counts())[State.waiting] == 12


async def test_b149_what_moved_meanwhile_is_left_alone_and_counted(client: Client) -> None:
    await client.enqueue_many([Request("f", options={"id": f"j{n:03}"}) for n in range(150)])

    def end_others(progress: Progress) -> None:
        if progress.done == 100:
            moving.append(asyncio.ensure_future(client.queue().cancel("j120", "somebody else")))

    moving: list[asyncio.Future[State | None]] = []
    bulk = client.bulk("job:f")
    result = await _slowly(bulk, end_others)
    assert (result.total, result.done, result.failed, result.partial) == (150, 149, 1, True)
    assert "j120" not in result.ids
    assert (await client.job("j120").details()).history[-1]["reason"] == "somebody else"


async def _slowly(bulk: Bulk, told: Callable[[Progress], object]) -> BulkResult:
    """Cancel with a pause after each portion, in which others act."""
    real = bulk._act_on

    async def act_on(*args: object) -> list[str]:
        await asyncio.sleep(0.05)
        return await real(*args)  # type: ignore[arg-type]

    bulk._act_on = act_on  # type: ignore[method-assign,assignment]
    return await bulk.cancel(on_progress=told)


async def test_b149_a_job_that_somebody_else_brought_to_its_end_is_not_run_again(
    client: Client, work: Work
) -> None:
    await dead(client, work, 2)
    first, last = (await client.bulk("state:failed").retry(dry_run=True)).ids
    await work(charge, ctx={"bank": "open"})
    others: list[asyncio.Future[object]] = []

    def retry_too(progress: Progress) -> None:
        if progress == Progress(1, 0, 2):
            others.append(asyncio.ensure_future(client.queue("billing").retry([last])))

    result = await client.bulk("state:failed").retry(rate="1/s", on_progress=retry_too)
    assert (result.ids, result.failed, result.partial) == ([first], 1, True)
    await client.job(last, "billing").result(timeout=20)
    info = await client.job(last, "billing").details()
    assert [entry["outcome"] for entry in info.history] == ["failed", "completed"]


async def test_b149_relative_times_are_those_of_the_start(client: Client, work: Work) -> None:
    """A job that fails again while it is retried is not retried twice."""
    await dead(client, work, 5)
    worker = await work(charge)
    result = await client.bulk("state:failed since:1h").retry(rate="20/s")
    assert (result.total, result.done) == (5, 5)
    await wait_until(lambda: _failed(client, 5), description="all failed again")
    await worker.close()
    for info in await client.queue("billing").jobs(State.failed):
        assert len(info.history) == 2


async def _failed(client: Client, number: int) -> bool:
    return (await client.queue("billing").counts())[State.failed] == number


async def test_b149_remove_promote_and_priority_by_filter(client: Client) -> None:
    await client.enqueue_many([Request("f", options={"id": f"w{n:03}"}) for n in range(120)])
    for n in range(3):
        await client.enqueue("g", {"n": n}, id=f"d{n}", delay="1h")
    assert (await client.bulk("args.n:2").promote()).ids == ["d2"]
    changed = await client.bulk("id:w00,d").change_priority(1)
    assert (changed.done, changed.partial) == (13, False)
    first = await client.queue().jobs(State.waiting, count=12)
    assert {info.id for info in first} == {*(f"w{n:03}" for n in range(10)), "d2", "w010"}
    removed = await client.bulk("job:f").remove()
    assert (removed.total, removed.done) == (120, 120)
    counts = await client.queue().counts()
    assert (counts[State.waiting], counts[State.delayed]) == (1, 2)
    with pytest.raises(InvalidOption, match="priority"):
        await client.bulk("job:g").change_priority(0)


async def test_b149_at_a_rate(client: Client, work: Work) -> None:
    await dead(client, work, 12)
    began = time.monotonic()
    told: list[Progress] = []
    await client.bulk("state:failed").retry(rate="20/s", on_progress=told.append)
    took = time.monotonic() - began
    assert 0.35 < took < 5, "12 jobs at 20/s, in portions of 4, take 0.4 s"
    assert [progress.done for progress in told] == [4, 8, 12]


@pytest.mark.parametrize("action", [lambda b: b.retry(), lambda b: b.cancel()])
async def test_b150_everything_must_be_said(
    client: Client, action: Callable[[Bulk], Awaitable[BulkResult]]
) -> None:
    await client.enqueue("f", id="a")
    for query in (None, "", Filter(), Filter(by="finished")):
        with pytest.raises(UnsafeAll, match="everything=True"):
            await action(client.bulk(query))
    assert (await client.queue().counts())[State.waiting] == 1
    result = await action(client.bulk(everything=True))
    assert result.total == (1 if result.action == "cancel" else 0)


async def test_b150_states_that_do_not_fit_are_refused(client: Client) -> None:
    await client.enqueue("f", id="a")
    with pytest.raises(InvalidFilter, match="cannot retry a job that is waiting"):
        await client.bulk("state:waiting,failed").retry()
    with pytest.raises(InvalidFilter, match="cannot cancel a job that is completed"):
        await client.bulk("state:completed").cancel()
    with pytest.raises(InvalidOption):
        client.bulk("state:failed", limit=0)
    with pytest.raises(InvalidOption, match="rate"):
        await client.bulk("state:failed").retry(rate="fast")
    assert (await client.queue().counts())[State.waiting] == 1
