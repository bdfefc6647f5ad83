"""Code around every enqueue and every run, and listeners: B138, and that they harm no job."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from jobs import (
    CallNext,
    Client,
    Context,
    EnqueueCall,
    Fail,
    Job,
    JobFailed,
    JobsError,
    Retry,
    RunCall,
    Skip,
    Worker,
    fixed,
    job,
)
from jobs.errors import ConfigurationError, InvalidPayload
from tests.features.conftest import Work
from tests.helpers import cpu
from tests.helpers.waiting import wait_until


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
    assert await queued.result(timeout=5) == 43
    assert story == [
        ("outer in", "double", [21], "d1"),
        "inner in",
        ("inner out", 42),
        ("outer out", 43),
    ]


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
        assert await (await double.enqueue(1)).result(timeout=5) == 4
        by_name = await client.enqueue_job("double", 2)
        assert by_name is not None
        assert await by_name.result(timeout=5) == 6
        many = await client.enqueue_many([double.request(n) for n in (3, 4)])
        assert [await one.result(timeout=5) for one in many] == [8, 10]
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
        assert took < 1.5
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
    assert await (await client.enqueue("parent")).result(timeout=5) == "marked"


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
    assert await (await double.enqueue(4)).result(timeout=5) == 8
    with pytest.raises(JobFailed, match="ValueError: as it was"):
        await (await broken.enqueue("as it was")).result(timeout=5)
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
    assert await (await noted.enqueue(fails=False)).result(timeout=5) == "written"
    with pytest.raises(JobFailed, match="OSError: disk"):
        await (await noted.enqueue(fails=True)).result(timeout=5)
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
        await queued.result(timeout=5)
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
    assert await skipped.result(timeout=5) is None
    assert (await skipped.details()).history[-1]["reason"] == "switched off"
    with pytest.raises(JobFailed, match="for good"):
        await (await client.enqueue("fragile", {"text": "x"})).result(timeout=5)
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
    assert await (await count.enqueue()).result(timeout=5) == 1
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
    assert await (await in_thread.enqueue(1)).result(timeout=5) == 2
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
        await (await endless.options(timeout="20ms").enqueue()).result(timeout=5)
    assert cleaned == ["endless"]


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


async def test_listeners_hear_of_each_end(client: Client, work: Work) -> None:
    """on_completed, on_failed at each failed attempt, on_exhausted at the last one."""
    heard: list[Any] = []

    def listener(name: str) -> Any:
        async def listen(ctx: Context, what: Any) -> None:
            heard.append((name, ctx.function, ctx.attempt, what if name == "c" else str(what)))

        return listen

    @job("fragile", attempts=3, backoff=fixed("1ms"))
    async def fragile(ctx: Context) -> None:
        raise OSError(f"disk {ctx.attempt}")

    names = {"on_completed": "c", "on_failed": "f", "on_exhausted": "e"}
    await work(double, fragile, **{name: listener(short) for name, short in names.items()})
    await (await double.enqueue(2)).result(timeout=5)
    with pytest.raises(JobFailed):
        await (await fragile.enqueue()).result(timeout=5)
    await wait_until(lambda: len(heard) == 5, description="five ends are told")
    assert heard == [
        ("c", "double", 1, 4),
        ("f", "fragile", 1, "disk 1"),
        ("f", "fragile", 2, "disk 2"),
        ("f", "fragile", 3, "disk 3"),
        ("e", "fragile", 3, "disk 3"),
    ]


async def test_a_listener_that_fails_is_only_logged(
    client: Client, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    async def listen(ctx: Context, result: Any) -> None:
        raise RuntimeError("no dashboard")

    await work(double, on_completed=listen)
    for number in range(3):
        assert await (await double.enqueue(number)).result(timeout=5) == 2 * number
    await wait_until(
        lambda: sum("the listener" in r.getMessage() for r in caplog.records) == 3,
        description="three failures are logged",
    )
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR and "listener" not in r.msg]
