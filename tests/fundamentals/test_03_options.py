"""Chapter 3: options are layered, framework < queue < function < call."""

from __future__ import annotations

import asyncio

import pytest

from jobs import Client, Context, JobOptions, Keep, Queue, State, fixed, job
from jobs.errors import InvalidOption, JobExpired, JobNotFound
from tests.fundamentals.conftest import Work
from tests.helpers.waiting import wait_until


async def attempts_of(
    client: Client, work: Work, queue: Queue, attempts: int | None = None
) -> list[int]:
    """The attempts that hold for a plain and for a called-with-options job."""

    @job("tell", queue=queue, attempts=attempts)
    async def tell(ctx: Context) -> int:
        return ctx.attempts

    await work(tell)
    plain = await tell.options(client=client).enqueue()
    called = await tell.options(client=client, attempts=9).enqueue()
    return [await plain.result(timeout=20), await called.result(timeout=20)]


async def test_the_framework_gives_three_attempts(client: Client, work: Work) -> None:
    assert await attempts_of(client, work, Queue("q")) == [3, 9]


async def test_a_queue_is_above_the_framework(client: Client, work: Work) -> None:
    queue = Queue("q", defaults=JobOptions(attempts=4))
    assert await attempts_of(client, work, queue) == [4, 9]


async def test_a_function_is_above_its_queue_and_a_call_above_both(
    client: Client, work: Work
) -> None:
    queue = Queue("q", defaults=JobOptions(attempts=4))
    assert await attempts_of(client, work, queue, attempts=5) == [5, 9]


async def test_priority_1_runs_first_and_unset_is_3(client: Client, work: Work) -> None:
    order: list[str] = []

    @job
    async def note(ctx: Context, text: str) -> None:
        order.append(text)

    handles = [
        await note.options(client=client, priority=10).enqueue("ten"),
        await note.options(client=client).enqueue("unset"),
        await note.options(client=client, priority=1).enqueue("one"),
        await note.options(client=client, priority=3).enqueue("three"),
    ]
    await work(note, max_jobs=1)
    await asyncio.gather(*(handle.result(timeout=20) for handle in handles))
    assert order == ["one", "unset", "three", "ten"]


async def test_first_in_first_out_within_a_priority(client: Client, work: Work) -> None:
    order: list[int] = []

    @job
    async def note(ctx: Context, n: int) -> None:
        order.append(n)

    handles = await client.enqueue_many([note.request(n) for n in range(120)])
    await work(note, max_jobs=1)
    await handles[-1].result(timeout=10)
    assert order == list(range(120))


async def test_a_timeout_ends_an_attempt(client: Client, work: Work) -> None:
    @job("slow", timeout="50ms", attempts=2, backoff=fixed("1ms"))
    async def slow(ctx: Context) -> str:
        if ctx.attempt == 1:
            await asyncio.sleep(60)
        return f"attempt {ctx.attempt}"

    await work(slow)
    queued = await slow.options(client=client).enqueue()
    assert await queued.result(timeout=20) == "attempt 2"
    first = (await queued.details()).history[0]
    assert first["error"]["type"] == "JobTimedOut"


async def test_expires_refuses_a_late_start_and_keeps_the_arguments(
    client: Client, work: Work
) -> None:
    @job("stale", expires="1ms")
    async def stale(ctx: Context, text: str) -> None: ...

    queued = await stale.options(client=client).enqueue("news")
    await asyncio.sleep(0.01)  # the job's own time runs out; no condition to wait for
    await work(stale)
    with pytest.raises(JobExpired):
        await queued.result(timeout=20)
    info = await queued.details()
    assert (info.state, info.args) == (State.expired, ["news"])


async def test_keep_completed_by_count(client: Client, work: Work) -> None:
    @job("brief", keep_completed=Keep(count=2))
    async def brief(ctx: Context, n: int) -> None: ...

    await work(brief, max_jobs=1)
    handles = await client.enqueue_many([brief.request(n) for n in range(5)])
    await handles[-1].result(timeout=20)

    async def two() -> bool:
        return (await client.queue().counts())[State.completed] == 2

    await wait_until(two, description="two of five results are kept")
    with pytest.raises(JobNotFound):
        await handles[0].details()


async def test_keep_nothing_still_answers_who_waits(client: Client, work: Work) -> None:
    @job("gone", keep_completed=Keep(age=0))
    async def gone(ctx: Context) -> str:
        return "seen"

    queued = await gone.options(client=client).enqueue()
    waiting = asyncio.create_task(queued.result(timeout=20))
    await work(gone)
    assert await waiting == "seen"


@pytest.mark.parametrize(
    "options", [{"attempts": 0}, {"priority": 0}, {"timeout": "soon"}, {"backoff": 3, "x": 1}]
)
async def test_a_value_that_cannot_be_is_refused_where_it_is_written(
    client: Client, options: dict[str, object]
) -> None:
    with pytest.raises(InvalidOption):
        await client.enqueue("anything", {}, **options)
