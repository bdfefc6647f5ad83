"""Code around every run, which harms no job: B138."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobs import (
    CallNext,
    Client,
    Context,
    Fail,
    JobFailed,
    Retry,
    RunCall,
    Skip,
    job,
)
from jobs.errors import JobCancelled
from tests.features.conftest import Work
from tests.helpers import cpu


@job("double")
async def double(ctx: Context, number: int) -> int:
    return 2 * number


@job("broken", attempts=1)
async def broken(ctx: Context, text: str) -> None:
    raise ValueError(text)


async def test_b138_an_onion_round_every_run(client: Client, work: Work) -> None:
    """The first is the outermost; each sees function, arguments, context, and the result."""
    story: list[Any] = []

    async def outer(call: RunCall, call_next: CallNext) -> Any:
        story.append(("outer in", call.function, call.args, call.ctx.job_id))
        result = await call_next()
        story.append(("outer out", result))
        return result

    async def inner(call: RunCall, call_next: CallNext) -> Any:
        story.append("inner in")
        result = await call_next()
        story.append(("inner out", result))
        return result + 1

    await work(double, middleware=(outer, inner))
    queued = await double.options(id="d1").enqueue(21)
    assert await queued.result(timeout=20) == 43
    assert story == [
        ("outer in", "double", [21], "d1"),
        "inner in",
        ("inner out", 42),
        ("outer out", 43),
    ]


async def test_b138_a_middleware_that_fails_before_the_run_harms_no_job(
    client: Client, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[str] = []

    async def forgetful(call: RunCall, call_next: CallNext) -> Any:
        raise KeyError("tenant")

    async def counting(call: RunCall, call_next: CallNext) -> Any:
        runs.append(call.ctx.job_id)
        return await call_next()

    await work(double, broken, middleware=(forgetful, counting))
    assert await (await double.enqueue(4)).result(timeout=20) == 8
    with pytest.raises(JobFailed, match="ValueError: as it was"):
        await (await broken.enqueue("as it was")).result(timeout=20)
    assert len(runs) == 2
    told = [record for record in caplog.records if record.name == "jobs.middleware"]
    assert len(told) == 2
    assert "forgetful failed; the job goes on without it" in told[0].getMessage()
    assert told[0].exc_info is not None


async def test_b138_a_middleware_that_fails_after_the_run_changes_nothing(
    client: Client, work: Work
) -> None:
    """Neither the result nor the error of the function is lost, and it runs once."""
    runs: list[Any] = []

    @job("noted", attempts=1)
    async def noted(ctx: Context, fails: bool) -> str:
        runs.append(fails)
        if fails:
            raise OSError("disk")
        return "written"

    async def clumsy(call: RunCall, call_next: CallNext) -> Any:
        try:
            return await call_next()
        finally:
            raise ZeroDivisionError

    await work(noted, middleware=(clumsy,))
    assert await (await noted.enqueue(fails=False)).result(timeout=20) == "written"
    with pytest.raises(JobFailed, match="OSError: disk"):
        await (await noted.enqueue(fails=True)).result(timeout=20)
    assert runs == [False, True]


async def test_b138_the_error_of_the_function_passes_untouched(client: Client, work: Work) -> None:
    seen: list[BaseException] = []

    async def watch(call: RunCall, call_next: CallNext) -> Any:
        try:
            return await call_next()
        except ValueError as error:
            seen.append(error)
            raise

    await work(broken, middleware=(watch, watch))
    queued = await broken.enqueue("as it was")
    with pytest.raises(JobFailed, match="ValueError: as it was"):
        await queued.result(timeout=20)
    assert len(seen) == 2
    assert seen[0] is seen[1]
    history = (await queued.details()).history
    assert history[-1]["error"]["type"] == "ValueError"
    assert "raise ValueError(text)" in history[-1]["error"]["traceback"]


async def test_b138_an_outcome_raised_round_a_run_counts(client: Client, work: Work) -> None:
    """Skip, Fail, Retry and their kin are meant: also from an error that they translate."""
    tries: list[int] = []

    async def gate(call: RunCall, call_next: CallNext) -> Any:
        if call.kwargs.get("text") == "skip":
            raise Skip("switched off")
        try:
            return await call_next()
        except ValueError as error:
            tries.append(call.ctx.attempt)
            if call.ctx.attempt == 1:
                raise Retry(defer=0) from error
            raise Fail("for good") from error

    @job("fragile", attempts=5)
    async def fragile(ctx: Context, *, text: str) -> None:
        raise ValueError(text)

    await work(fragile, middleware=(gate,))
    skipped = await client.enqueue("fragile", {"text": "skip"})
    assert await skipped.result(timeout=20) is None
    assert (await skipped.details()).history[-1]["reason"] == "switched off"
    with pytest.raises(JobFailed, match="for good"):
        await (await client.enqueue("fragile", {"text": "x"})).result(timeout=20)
    assert tries == [1, 2]


async def test_b138_call_next_goes_inwards_once(client: Client, work: Work) -> None:
    runs: list[int] = []

    @job
    async def count(ctx: Context) -> int:
        runs.append(1)
        return len(runs)

    async def twice(call: RunCall, call_next: CallNext) -> Any:
        await call_next()
        return await call_next()

    await work(count, middleware=(twice,))
    assert await (await count.enqueue()).result(timeout=20) == 1
    assert runs == [1]


async def test_b138_round_threads_and_processes_too(client: Client, work: Work) -> None:
    seen: list[str] = []

    async def watch(call: RunCall, call_next: CallNext) -> Any:
        seen.append(call.function)
        return await call_next()

    @job("in_thread")
    def in_thread(ctx: Context, n: int) -> int:
        return n + 1

    await work(in_thread, cpu.facts, middleware=(watch,))
    assert await (await in_thread.enqueue(1)).result(timeout=20) == 2
    await (await client.enqueue("facts")).result(timeout=20)
    assert seen == ["in_thread", "facts"]


async def test_b138_a_timeout_and_a_cancellation_pass_the_onion(client: Client, work: Work) -> None:
    """A middleware sees the cancellation, cleans up, and the reason stays what it was."""
    cleaned: list[str] = []

    async def watch(call: RunCall, call_next: CallNext) -> Any:
        try:
            return await call_next()
        except asyncio.CancelledError:
            cleaned.append(call.function)
            raise

    @job("endless", attempts=1)
    async def endless(ctx: Context) -> None:
        await asyncio.Event().wait()

    await work(endless, middleware=(watch,))
    with pytest.raises(JobFailed, match="JobTimedOut"):
        await (await endless.options(timeout="20ms").enqueue()).result(timeout=20)
    assert cleaned == ["endless"]


async def test_b138_a_cancelled_job_is_cancelled_whatever_a_middleware_raises(
    client: Client, work: Work
) -> None:
    begun = asyncio.Event()

    async def clumsy(call: RunCall, call_next: CallNext) -> Any:
        try:
            return await call_next()
        finally:
            raise ZeroDivisionError

    @job("endless")
    async def endless(ctx: Context) -> None:
        begun.set()
        await asyncio.Event().wait()

    await work(endless, middleware=(clumsy,))
    queued = await endless.enqueue()
    await begun.wait()
    await client.cancel_job("default", queued.id, "no more")
    with pytest.raises(JobCancelled, match="no more"):
        await queued.result(timeout=20)


async def test_b138_a_middleware_may_give_up_on_a_function(client: Client, work: Work) -> None:
    async def impatient(call: RunCall, call_next: CallNext) -> Any:
        async with asyncio.timeout(0.02):
            return await call_next()

    @job("endless", attempts=1)
    async def endless(ctx: Context) -> None:
        await asyncio.Event().wait()

    await work(endless, middleware=(impatient,))
    with pytest.raises(JobFailed, match="TimeoutError"):
        await (await endless.enqueue()).result(timeout=20)
