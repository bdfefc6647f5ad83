"""What a job tells while it runs: progress, log lines, the history of its attempts."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from jobs import Client, Context, Queue, fixed, job
from jobs.errors import InvalidOption, JobCancelled, JobNotFound
from tests.helpers import cpu
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running

app_log = logging.getLogger("shop")


class Step(BaseModel):
    """A progress with more than a number."""

    step: int
    total_steps: int
    current_operation: str = ""
    percent: int = 0


async def texts(client: Client, job_id: str, attempt: int | None = None) -> list[str]:
    return [line.text for line in await client.queue().logs(job_id, attempt)]


# -- progress ------------------------------------------------------------------------------


async def test_a83_numeric_progress(client: Client, redis_url: str) -> None:
    """The percentages of an image job; who reads sees each that stays for a while, and the last."""
    gate = asyncio.Event()

    @job("resize")
    async def resize(ctx: Context) -> None:
        for percent in (10, 50, 70, 90):
            await ctx.progress(percent)
            await gate.wait()
            gate.clear()
        ctx.progress(100)

    seen: list[Any] = []
    async with running(redis_url, [resize]), client.events("default", names="progress") as events:
        queued = await client.enqueue("resize")
        async for event in events:
            seen.append(event.data["progress"])
            assert await queued.progress() == seen[-1], "a poll sees the same"
            gate.set()
            if seen[-1] == 100:
                break
        await queued.result(timeout=20)
    assert seen == [10, 50, 70, 90, 100]


async def test_a83_progress_is_coalesced(client: Client, redis_url: str) -> None:
    """A file of ten thousand parts: a few writes, and the last value is there at the end."""

    @job("parse")
    async def parse(ctx: Context) -> None:
        for n in range(10_001):
            ctx.progress(n)
            if n % 100 == 0:
                await asyncio.sleep(0.005)

    async with running(redis_url, [parse]), client.events("default") as events:
        queued = await client.enqueue("parse")
        await queued.result(timeout=20)
        written = []
        async for event in events:
            if event.name == "progress":
                written.append(event.data["progress"])
            if event.name == "completed":
                break
    assert written == sorted(written)
    assert written[-1] == await queued.progress() == 10_000
    ran_s = (await queued.details()).history[-1]["ran"] / 1000
    assert len(written) <= 3 + ran_s * 4, "at most four times a second"


async def test_a84_object_progress(client: Client, redis_url: str) -> None:
    @job("import")
    async def take_in(ctx: Context) -> None:
        step = Step(step=2, total_steps=3, current_operation="parsing", percent=66)
        await ctx.progress(step)

    async with running(redis_url, [take_in]):
        queued = await client.enqueue("import")
        await queued.result(timeout=20)
    told = {"step": 2, "total_steps": 3, "current_operation": "parsing", "percent": 66}
    assert (await queued.details()).progress == await queued.progress() == told
    typed = await queued.progress(Step)
    assert typed == Step(step=2, total_steps=3, current_operation="parsing", percent=66)
    with pytest.raises(ValidationError):
        await queued.progress(int)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x" * 65_535, "at most 65,536 bytes, this one has 65,537"),
        (object(), "other JSON data, not object"),
    ],
)
async def test_a84_a_progress_that_cannot_be_kept_is_refused(value: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        Context().progress(value)
    await Context().progress("x" * 65_534)


async def test_a_plain_function_tells_too(client: Client, redis_url: str) -> None:
    """In a thread, without awaiting."""

    @job("plain", capture_logs=True)
    def plain(ctx: Context) -> None:
        ctx.progress(50)
        ctx.log("half of it")
        app_log.warning("in a thread")

    async with running(redis_url, [plain]):
        queued = await client.enqueue("plain")
        await queued.result(timeout=20)
    assert await queued.progress() == 50
    assert await texts(client, queued.id) == ["half of it", "in a thread"]


async def test_a_function_in_a_process_tells_too(client: Client, redis_url: str) -> None:
    async with running(redis_url, [cpu.telling]):
        queued = await cpu.telling.options(client=client).enqueue(3)
        pid = await queued.result(timeout=20)
    assert await queued.progress() == {"step": 3, "pid": pid}
    assert await texts(client, queued.id) == ["step 1", "step 2", "step 3", "all 3 done"]


async def test_what_was_told_is_there_when_the_end_is(client: Client, redis_url: str) -> None:
    """The end of an attempt never overtakes what it told, over many short jobs at once."""

    @job("short")
    async def short(ctx: Context, n: int) -> None:
        ctx.progress(n)
        ctx.log(f"line {n}")

    async with running(redis_url, [short], max_jobs=100):
        queued = await client.enqueue_many([short.request(n) for n in range(300)])
        for n, one in enumerate(queued):
            await one.result(timeout=20)
            assert await one.progress() == n
            assert await texts(client, one.id) == [f"line {n}"]


async def test_a_lost_lease_ends_what_is_heard(client: Client, redis_url: str) -> None:
    """What an attempt tells after its end, from a task that it left behind, is refused."""
    left: list[asyncio.Task[None]] = []

    @job("leaves")
    async def leaves(ctx: Context) -> None:
        async def late() -> None:
            await wait_until(gate.is_set, description="the job has ended")
            ctx.progress("too late")
            ctx.log("too late")

        await ctx.progress("in time")
        left.append(asyncio.create_task(late()))

    gate = asyncio.Event()
    async with running(redis_url, [leaves]) as worker:
        queued = await client.enqueue("leaves")
        await queued.result(timeout=20)
        gate.set()
        await left[0]
        notes = next(iter(worker._session.producers.values())).station.notes  # type: ignore[union-attr]
        await wait_until(lambda: not notes.has_notes, description="it was refused")
    assert await queued.progress() == "in time"
    assert await texts(client, queued.id) == []


async def test_a_job_that_tells_nothing_costs_nothing(client: Client, redis_url: str) -> None:
    @job("quiet")
    async def quiet(ctx: Context) -> None: ...

    async with running(redis_url, [quiet]) as worker:
        for _ in range(3):
            await (await client.enqueue("quiet")).result(timeout=20)
        notes = next(iter(worker._session.producers.values())).station.notes  # type: ignore[union-attr]
        assert notes._task is None
        assert not any("jobs-notes" in task.get_name() for task in asyncio.all_tasks())


# -- logs ----------------------------------------------------------------------------------


async def test_a86_a98_job_log_lines(client: Client, redis_url: str) -> None:
    @job("resize", attempts=2, backoff=fixed(0.01))
    async def resize(ctx: Context) -> None:
        await ctx.log("Completed resize (1/3)")
        ctx.log("thumbnail is blurred", "warning")
        if ctx.attempt == 1:
            raise OSError("the disk is full")

    async with running(redis_url, [resize]):
        queued = await client.enqueue("resize")
        await queued.result(timeout=20)
    log = await queued.logs()
    assert [(line.attempt, line.level, line.text) for line in log] == [
        (1, "INFO", "Completed resize (1/3)"),
        (1, "WARNING", "thumbnail is blurred"),
        (2, "INFO", "Completed resize (1/3)"),
        (2, "WARNING", "thumbnail is blurred"),
    ]
    assert (log.dropped, len(log)) == (0, 4)
    assert log.lines == sorted(log.lines, key=lambda line: line.at)
    assert len(await queued.logs(attempt=2)) == 2
    with pytest.raises(JobNotFound):
        await client.job("nobody").logs()
    with pytest.raises(InvalidOption, match="did you mean 'WARNING'"):
        Context().log("x", "warnig")


async def test_a86_a_log_is_capped_and_says_what_it_dropped(client: Client, redis_url: str) -> None:
    @job("chatty")
    async def chatty(ctx: Context) -> None:
        for n in range(5_000):
            ctx.log(n)
            if n % 1000 == 0:
                await asyncio.sleep(0.01)

    @job("verbose")
    async def verbose(ctx: Context) -> None:
        for n in range(100):
            ctx.log(f"{n:04}" + "x" * 5_000)

    async with running(redis_url, [chatty, verbose]):
        many, long = await client.enqueue("chatty"), await client.enqueue("verbose")
        await many.result(timeout=20)
        await long.result(timeout=20)
    log = await many.logs()
    assert log.dropped + len(log) == 5_000
    assert len(log) <= 1_000
    assert [line.text for line in log] == [str(n) for n in range(5_000 - len(log), 5_000)]
    log = await long.logs()
    assert log.dropped + len(log) == 100
    assert sum(len(line.text) for line in log) <= 64 * 1024
    assert log.lines[-1].text.startswith("0099xxx")
    assert len(log.lines[-1].text) == 4_000
    assert log.lines[-1].text.endswith("…")


async def test_b177_logging_records_are_captured_on_wish(client: Client, redis_url: str) -> None:
    @job("wishes", capture_logs="INFO")
    async def wishes(ctx: Context) -> None:
        app_log.debug("too low")
        app_log.info("paid %d", 7)
        await asyncio.create_task(elsewhere())
        try:
            raise ValueError("boom")
        except ValueError:
            app_log.exception("it failed")

    async def elsewhere() -> None:
        app_log.warning("in a task of the job")

    @job("other")
    async def other(ctx: Context) -> None:
        app_log.warning("nobody asked for this one")

    app_log.setLevel(logging.DEBUG)
    async with running(redis_url, [wishes, other]):
        asked, silent = await client.enqueue("wishes"), await client.enqueue("other")
        await asked.result(timeout=20)
        await silent.result(timeout=20)
        app_log.warning("outside of any job")
    log = (await asked.logs()).lines
    assert [line.text.partition("\n")[0] for line in log] == [
        "paid 7", "in a task of the job", "it failed",
    ]  # fmt: skip
    assert "ValueError: boom" in log[-1].text
    assert {(line.logger, line.level) for line in log} == {
        ("shop", "INFO"), ("shop", "WARNING"), ("shop", "ERROR"),
    }  # fmt: skip
    assert await texts(client, silent.id) == []
    handlers = [type(handler).__name__ for handler in logging.getLogger().handlers]
    assert "CaptureHandler" not in handlers, "it goes with the worker"


async def test_b177_a_worker_captures_for_all_but_those_that_refuse(
    client: Client, redis_url: str
) -> None:
    @job("usual")
    async def usual(ctx: Context) -> None:
        app_log.warning("kept")

    @job("refuses", capture_logs=False)
    async def refuses(ctx: Context) -> None:
        app_log.error("not kept")

    async with running(redis_url, [usual, refuses], capture_logs=True):
        kept, not_kept = await client.enqueue("usual"), await client.enqueue("refuses")
        await kept.result(timeout=20)
        await not_kept.result(timeout=20)
    assert await texts(client, kept.id) == ["kept"]
    assert await texts(client, not_kept.id) == []
    with pytest.raises(InvalidOption, match="`capture_logs` is True, False or a level"):
        job(capture_logs="loud")


async def test_capture_between_hooks(client: Client, redis_url: str) -> None:
    """A job that is cancelled in a hook, before its function, leaves nothing half begun."""
    begun = asyncio.Event()

    async def on_job_start(ctx: dict[str, Any]) -> None:
        begun.set()
        await asyncio.sleep(60 if ctx["job_id"] == "stuck" else 0)

    queue = Queue("shop")

    @queue.job("captured", capture_logs=True)
    async def captured(ctx: Context) -> None:
        app_log.warning("kept")

    async with running(redis_url, [captured], on_job_start=on_job_start):
        stuck = await client.enqueue("captured", id="stuck", queue="shop")
        await begun.wait()
        await stuck.cancel("enough")
        with pytest.raises(JobCancelled):
            await stuck.result(timeout=20)
        other = await client.enqueue("captured", id="other", queue="shop")
        await other.result(timeout=20)
    assert [line.text for line in await other.logs()] == ["kept"]
