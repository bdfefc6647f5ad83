"""Code around every enqueue, which harms no job: B138."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobs import (
    CallNext,
    Client,
    Context,
    EnqueueCall,
    Job,
    JobsError,
    Worker,
    job,
)
from jobs.errors import ConfigurationError, InvalidPayload
from tests.features.conftest import Work


@job("double")
async def double(ctx: Context, number: int) -> int:
    return 2 * number


@job("broken", attempts=1)
async def broken(ctx: Context, text: str) -> None:
    raise ValueError(text)


async def test_b138_an_onion_round_every_enqueue(redis_url: str, work: Work) -> None:
    """It may change arguments and options before they are checked, and sees the job."""
    seen: list[str] = []

    async def tag(call: EnqueueCall, call_next: CallNext) -> Job[Any]:
        call.options["id"] = f"{call.function}-{call.args[0]}"
        call.args[0] += 1
        made: Job[Any] = await call_next()
        seen.append(made.id)
        return made

    async with Client.connect(redis_url, middleware=(tag,)) as client:
        await work(double)
        assert await (await double.enqueue(1)).result(timeout=20) == 4
        by_name = await client.enqueue_job("double", 2)
        assert by_name is not None
        assert await by_name.result(timeout=20) == 6
        many = await client.enqueue_many([double.request(n) for n in (3, 4)])
        assert [await one.result(timeout=20) for one in many] == [8, 10]
        assert await client.enqueue_stream(double.request(n) for n in range(10, 260)) == 250
    assert seen[:4] == ["double-1", "double-2", "double-3", "double-4"]
    assert len(seen) == 254


async def test_b138_jobs_of_one_call_still_travel_together(redis_url: str) -> None:
    """300 jobs with a middleware that waits take three calls, not 300, and no 300 waits."""

    async def slow(call: EnqueueCall, call_next: CallNext) -> Job[Any]:
        await asyncio.sleep(0.01)
        made: Job[Any] = await call_next()
        return made

    async with Client.connect(redis_url, middleware=(slow,)) as client:
        await client.enqueue_job("double", 0)
        before = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
        begun = asyncio.get_running_loop().time()
        made = await client.enqueue_many([double.request(n) for n in range(300)])
        took = asyncio.get_running_loop().time() - begun
        after = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
        assert [one.duplicate for one in made] == [False] * 300
        assert after - before == 3
        assert took < 3
        page = await client.queue().jobs((await made[0].state()), 1, 300)
        assert [info.args for info in page[:3]] == [[0], [1], [2]]


async def test_b138_one_wrong_job_among_many_enqueues_nothing(redis_url: str) -> None:
    seen: list[str] = []

    async def watch(call: EnqueueCall, call_next: CallNext) -> Job[Any]:
        try:
            made: Job[Any] = await call_next()
        except InvalidPayload as error:
            seen.append(error.errors[0][0])
            raise
        return made

    async with Client.connect(redis_url, middleware=(watch,)) as client:
        with pytest.raises(InvalidPayload):
            await client.enqueue_many([double.request(1), double.request("x")])  # type: ignore[arg-type]  # the mistake that is tested
        assert seen == ["number"]
        assert await client.queues() == []


async def test_b138_the_client_of_a_worker_has_its_own(client: Client, work: Work) -> None:
    """What jobs enqueue passes the worker's `enqueue_middleware`."""

    async def mark(call: EnqueueCall, call_next: CallNext) -> Any:
        call.options["id"] = "marked"
        return await call_next()

    @job
    async def parent(ctx: Context) -> str:
        made = await ctx.client.enqueue_job("double", 1)
        return made.job_id if made else "none"

    await work(parent, double, enqueue_middleware=(mark,))
    assert await (await client.enqueue("parent")).result(timeout=20) == "marked"


async def test_b138_a_failing_enqueue_middleware_harms_no_job(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing(call: EnqueueCall, call_next: CallNext) -> Any:
        raise RuntimeError("no tracer")

    async def careless(call: EnqueueCall, call_next: CallNext) -> Any:
        await call_next()  # and forgets to return the job

    async def lazy(call: EnqueueCall, call_next: CallNext) -> Any:
        return None

    middleware = (failing, careless, lazy)
    async with Client.connect(redis_url, middleware=middleware) as client:
        queued = await double.enqueue(1)
        many = await client.enqueue_many([double.request(n) for n in range(5)])
        assert len({queued.id, *(one.id for one in many)}) == 6
        assert sum((await client.queue().counts()).values()) == 6
    told = [record.getMessage() for record in caplog.records if record.name == "jobs.middleware"]
    assert len(told) == 18


async def test_b138_an_enqueue_middleware_may_refuse(redis_url: str) -> None:
    class NotAllowed(JobsError):
        pass

    async def guard(call: EnqueueCall, call_next: CallNext) -> Any:
        if call.args == [13]:
            raise NotAllowed("unlucky")
        return await call_next()

    async with Client.connect(redis_url, middleware=(guard,)) as client:
        with pytest.raises(NotAllowed):
            await double.enqueue(13)
        with pytest.raises(NotAllowed):
            await client.enqueue_many([double.request(n) for n in (12, 13, 14)])
        assert await client.queues() == []


def test_b138_what_is_no_middleware_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"`middleware` is a sequence of async functions"):
        Client.connect("redis://localhost", middleware=7)  # type: ignore[arg-type]  # the mistake that is tested
    with pytest.raises(ConfigurationError, match="enqueue_middleware"):
        Worker([double], enqueue_middleware=("timed",))  # type: ignore[arg-type]  # the mistake that is tested
