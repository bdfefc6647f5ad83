"""Timeouts: soft and hard, extended and explained; the ladder of limits; stopping in time."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs import (
    Client,
    Context,
    JobOptions,
    Queue,
    SoftTimeout,
    State,
    Timeout,
    fixed,
    job,
)
from jobs.errors import InvalidOption, JobCancelled, JobExpired
from tests.features.conftest import Work
from tests.helpers.endings import end
from tests.helpers.waiting import wait_until

SOON = fixed("1ms")
LONG = 60


# -- hard ----------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["function", "queue", "call"])
async def test_a30_timeout_on_function_queue_or_call(
    client: Client, work: Work, layer: str
) -> None:
    place = Queue("q", defaults=JobOptions(timeout="60ms") if layer == "queue" else None)

    @job(
        "slow", queue="q", attempts=2, backoff=SOON, timeout="60ms" if layer == "function" else None
    )
    async def slow(ctx: Context) -> int:
        if ctx.attempt == 1:
            await asyncio.sleep(LONG)
        return ctx.attempt

    await work(slow, queues=[place])
    asked: Any = {"timeout": "60ms"} if layer == "call" else {}
    called = slow.options(client=client, **asked)
    info = await end(await called.enqueue())
    assert (info.result, info.failures) == (2, 1), "a timeout is a failure that is repeated"
    error = info.history[0]["error"]
    assert error["type"] == "JobTimedOut"
    assert error["message"] == "the attempt ran longer than its timeout of 0.06 s"


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


async def test_on_timeout_the_chain_of_awaits_is_kept(client: Client, work: Work) -> None:
    async def inner() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait_for_ever())

    async def delegate() -> None:
        await asyncio.create_task(inner())

    @job("chained", attempts=1, timeout="60ms")
    async def chained(ctx: Context) -> None:
        await delegate()

    await work(chained)
    info = await end(await chained.options(client=client).enqueue())
    assert info.error is not None
    steps = info.error["awaiting"]
    names = [step.rpartition(" ")[2].rpartition(".")[2] for step in steps]
    assert names == ["chained", "delegate", "inner", "__aexit__"], "the engine's own are left out"
    assert all(":" in step.partition(" ")[0] for step in steps)
    assert steps[0].startswith(__file__)


# -- soft ----------------------------------------------------------------------------------


async def test_a67_a_soft_timeout_lets_a_job_end_cleanly(client: Client, work: Work) -> None:
    """Seed 003: 25 s of 30 s, here in hundredths."""
    done: list[str] = []

    @job("upload", attempts=1, timeout=Timeout(soft="100ms", hard=LONG))
    async def upload(ctx: Context) -> str:
        assert not ctx.soft_timeout.is_set()
        try:
            await asyncio.sleep(LONG)
        except SoftTimeout:
            await asyncio.sleep(0.01)  # it may await again: the task is not cancelled
            done.append("closed")
            return f"half, {ctx.soft_timeout.is_set()}, {ctx.cancelled}"
        return "whole"

    await work(upload)
    info = await end(await upload.options(client=client).enqueue())
    assert (info.result, done) == ("half, True, False", ["closed"])


async def test_a67_a_soft_timeout_let_out_is_a_failure(client: Client, work: Work) -> None:
    cleaned: list[str] = []

    @job("lets_out", attempts=2, backoff=SOON, timeout=Timeout(soft="60ms", hard=LONG))
    async def lets_out(ctx: Context) -> int:
        if ctx.attempt == 2:
            return 2
        try:
            async with asyncio.timeout(LONG), asyncio.TaskGroup() as group:
                group.create_task(wait_for_ever())
                group.create_task(asyncio.sleep(LONG))
        except Exception:  # noqa: BLE001 -- the point: it is not taken for an error of the work
            cleaned.append("swallowed")
        finally:
            await asyncio.sleep(0)
            cleaned.append("finally")
        return 1

    await work(lets_out)
    info = await end(await lets_out.options(client=client).enqueue())
    assert (info.result, cleaned) == (2, ["finally"])
    error = info.history[0]["error"]
    assert error["type"] == "JobTimedOut"
    assert error["message"] == "the attempt ran longer than its soft timeout of 0.06 s"
    assert "test_timeouts.py" in error["traceback"]
    assert any("lets_out" in step for step in error["awaiting"])


async def test_a67_who_does_not_listen_meets_the_hard_end(client: Client, work: Work) -> None:
    heard: list[str] = []

    @job("deaf", attempts=1, timeout=Timeout(soft="60ms", hard="150ms"))
    async def deaf(ctx: Context) -> None:
        try:
            await asyncio.sleep(LONG)
        except SoftTimeout:
            heard.append("soft")
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError as error:
            heard.append(type(error).__name__)
            raise

    await work(deaf)
    info = await end(await deaf.options(client=client).enqueue())
    assert heard == ["soft", "CancelledError"], "each once"
    assert info.error is not None
    assert info.error["message"] == "the attempt ran longer than its timeout of 0.15 s"


async def test_a67_only_a_signal_on_wish_and_for_threads(client: Client, work: Work) -> None:
    @job("looks", timeout=Timeout(soft="50ms", hard=LONG, raises=False))
    async def looks(ctx: Context) -> str:
        await ctx.soft_timeout.wait()
        return "saw it"

    @job("thread", timeout=Timeout(soft="50ms", hard=LONG))
    def thread(ctx: Context) -> str:
        deadline = time.monotonic() + 5
        while not ctx.soft_timeout.is_set() and time.monotonic() < deadline:
            time.sleep(0.005)
        return f"saw it in {threading.current_thread().name.partition('_')[0]}"

    await work(looks, thread)
    assert (await end(await looks.options(client=client).enqueue())).result == "saw it"
    in_thread = await end(await thread.options(client=client).enqueue())
    assert in_thread.result == "saw it in jobs-function"


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"soft": 30, "hard": 30}, r"`soft` \(30 s\) is below `hard` \(30 s\)"),
        ({"soft": 0, "hard": 30}, "longer than zero"),
        ({"soft": -1, "hard": 30}, "a duration of zero or more"),
        ({"soft": 1, "hard": "soon"}, "`hard` is seconds"),
        ({"hard": 1, "raises": 1}, "True or False"),
    ],
)
def test_a67_limits_that_cannot_be_are_refused(limits: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidOption, match=sentence):
        Timeout(**limits)


async def test_a67_a_soft_timeout_travels_with_a_call(client: Client, work: Work) -> None:
    @job("called")
    async def called(ctx: Context) -> str:
        try:
            await asyncio.sleep(LONG)
        except SoftTimeout:
            return "in time"
        return "never"

    await work(called)
    options = called.options(client=client, timeout=Timeout(soft="50ms", hard=LONG))
    assert (await end(await options.enqueue())).result == "in time"


# -- extended ------------------------------------------------------------------------------


async def test_b43_a_job_extends_its_own_timeout(client: Client, work: Work) -> None:
    @job("long", attempts=1, timeout="200ms")
    async def long(ctx: Context, by: str) -> float | None:
        left = ctx.extend(by)
        await asyncio.sleep(0.4)
        return left

    @job("endless", timeout=0)
    async def endless(ctx: Context) -> float | None:
        return ctx.extend("1h")

    await work(long, endless)
    enough = await end(await long.options(client=client).enqueue("10s"))
    assert enough.state is State.completed
    assert 10.0 < enough.result <= 10.2
    little = await end(await long.options(client=client).enqueue("50ms"))
    assert little.error is not None
    assert little.error["message"].endswith("timeout of 0.2 s, extended by 50 ms")
    assert (await end(await endless.options(client=client).enqueue())).result is None
    assert Context().extend(5) is None, "nothing limits a context made by hand"
    with pytest.raises(InvalidOption):
        Context().extend("soon")


# -- the ladder ----------------------------------------------------------------------------


async def test_b42_separate_limits_for_waiting_running_and_all(client: Client, work: Work) -> None:
    """Schedule-to-start is `expires` or `start_by`, start-to-close `timeout`, and what bounds
    the whole is `retry_for`.
    """

    @job("ladder", expires="10s", timeout="50ms", retry_for="120ms", backoff=fixed("10ms"))
    async def ladder(ctx: Context) -> None:
        await asyncio.sleep(LONG)

    late = await ladder.options(client=client, expires="1ms").enqueue()
    await asyncio.sleep(0.01)  # the job's own time runs out; no condition to wait for
    await work(ladder)
    assert (await end(late)).state is State.expired
    info = await end(await ladder.options(client=client).enqueue())
    assert info.state is State.failed
    assert info.failures >= 2
    assert {entry["error"]["type"] for entry in info.history} == {"JobTimedOut"}


async def test_b146_a_job_not_started_in_time_expires_with_its_arguments(
    client: Client, work: Work
) -> None:
    @job("stale")
    async def stale(ctx: Context, text: str) -> str:
        return text

    past = datetime.now(UTC) - timedelta(seconds=1)
    future = datetime.now(UTC) + timedelta(minutes=5)
    by_ttl = await stale.options(client=client, expires="1ms").enqueue("ttl")
    by_moment = await stale.options(client=client, start_by=past).enqueue("moment")
    in_time = await stale.options(client=client, start_by=future, expires="1h").enqueue("fresh")
    await asyncio.sleep(0.01)  # the job's own time runs out; no condition to wait for
    await work(stale)
    for queued, why in ((by_ttl, "not started within 0.001 s"), (by_moment, "not started by 20")):
        with pytest.raises(JobExpired, match=why):
            await queued.result(timeout=20)
        info = await queued.details()
        assert (info.state, info.failures) == (State.expired, 0)
        assert info.args
    assert (await end(in_time)).result == "fresh"


@pytest.mark.parametrize(
    "options",
    [
        {"delay": 60, "expires": 30},
        {"run_at": datetime.now(UTC) + timedelta(hours=2), "expires": "1h"},
        {"delay": 60, "start_by": datetime.now(UTC) + timedelta(seconds=30)},
        {"delay": 1, "run_at": datetime.now(UTC)},
        {"expires": 0},
        {"retry_for": 0},
        {"start_by": datetime(2030, 1, 1)},  # noqa: DTZ001 -- naive on purpose
        {"max_starts": 0},
    ],
    ids=" ".join,
)
async def test_b42_contradictions_are_refused(client: Client, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        await client.enqueue("anything", {}, **options)
    assert (await client.queue().counts())[State.waiting] == 0


async def test_b42_the_expiry_of_a_function_is_seen_by_a_call(client: Client) -> None:
    @job("brief", expires=30)
    async def brief(ctx: Context) -> None: ...

    with pytest.raises(InvalidOption, match="give the call a longer `expires`"):
        await brief.options(client=client, delay=60).enqueue()
    job_ = await brief.options(client=client, delay=60, expires=90).enqueue()
    assert await job_.state() is State.delayed


async def test_b14_nothing_expires_unless_it_was_asked_to(client: Client, work: Work) -> None:
    @job("patient")
    async def patient(ctx: Context) -> str:
        return "ran"

    queued = await patient.options(client=client).enqueue()
    later = await patient.options(client=client, delay="400d").enqueue()
    keys = [key async for key in client.scan_iter("jobs:*")]
    assert keys
    assert {await client.pttl(key) for key in keys} == {-1}, "no key of a waiting job has a TTL"
    assert "expires" not in (await queued.details()).options
    await work(patient)
    assert (await end(queued)).result == "ran"
    assert await later.state() is State.delayed


# -- stopping ------------------------------------------------------------------------------


async def test_a66_a_graceful_stop_gives_the_attempt_back(client: Client, work: Work) -> None:
    begun = asyncio.Event()

    @job("working", attempts=1)
    async def working(ctx: Context, seconds: float) -> str:
        begun.set()
        await asyncio.sleep(seconds)
        return "finished"

    first = await work(working, job_completion_wait=5)
    short = await working.options(client=client).enqueue(0.1)
    await begun.wait()
    await first.close()
    assert (await short.details()).result == "finished", "it gets its time"

    begun.clear()
    second = await work(working, job_completion_wait=0)
    long = await working.options(client=client).enqueue(LONG)
    await begun.wait()
    await second.close()
    info = await long.details()
    assert (info.state, info.failures, info.interruptions) == (State.waiting, 0, 1)


async def test_a68_a_job_notices_that_it_is_to_stop(client: Client, work: Work) -> None:
    noticed: list[str] = []
    begun = threading.Event()

    @job("polls")
    def polls(ctx: Context) -> None:
        begun.set()
        deadline = time.monotonic() + 5
        while not ctx.cancelled and time.monotonic() < deadline:
            time.sleep(0.005)
        noticed.append(f"thread {ctx.cancelled}")

    @job("awaits")
    async def awaits(ctx: Context) -> None:
        begun.set()
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            noticed.append(f"coroutine {ctx.cancelled}")
            raise

    await work(polls, awaits)
    for function in (polls, awaits):
        begun.clear()
        queued = await function.options(client=client).enqueue()
        await wait_until(begun.is_set, description="it runs")
        await queued.cancel("not needed any more")
        with pytest.raises(JobCancelled, match="not needed any more"):
            await queued.result(timeout=20)
    await wait_until(lambda: len(noticed) == 2, description="both noticed")
    assert noticed == ["thread True", "coroutine True"]
