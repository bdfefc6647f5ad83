"""Retries: how often, when, after which error, and what happens when they are used up."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from jobs import (
    Cancel,
    Client,
    Context,
    Fail,
    Job,
    JobOptions,
    Queue,
    RetryPolicy,
    Skip,
    Snooze,
    State,
    custom,
    exponential,
    fixed,
    func,
    job,
)
from jobs.errors import InvalidOption, InvalidPayload
from tests.features.conftest import Work
from tests.helpers.endings import end
from tests.helpers.waiting import wait_until

SOON = fixed("1ms")


class Busy(Exception):
    """A transient error."""


class Reply:
    """What an HTTP client puts on its error."""

    def __init__(self, **headers: str) -> None:
        self.headers = {
            name.replace("__", "-").replace("_", "-"): value for name, value in headers.items()
        }


class Refused(Exception):
    """An error of an HTTP client: a status, and perhaps the wish of the server."""

    def __init__(self, status: int = 503, *, retry_after: Any = None, **headers: str) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.response = Reply(**headers)
        if retry_after is not None:
            self.retry_after = retry_after


async def delayed(queued: Job[Any]) -> float:
    """The seconds that a job waits for its next attempt, once it does."""

    async def waits() -> bool:
        return await queued.state() is State.delayed

    await wait_until(waits, description="the job waits for its next attempt")
    info = await queued.details()
    assert info.due_at is not None
    return (info.due_at - info.enqueued_at).total_seconds()


# -- backoff -------------------------------------------------------------------------------


async def test_a40_exponential_base_times_two(client: Client, work: Work) -> None:
    assert RetryPolicy(6, exponential(1)).waits_ms() == [1000, 2000, 4000, 8000, 16000]

    @job("grow", attempts=4, backoff=exponential("20ms"))
    async def grow(ctx: Context) -> None:
        raise Busy

    await work(grow)
    info = await end(await grow.options(client=client).enqueue())
    starts = [entry["at"] - entry["ran"] for entry in info.history]
    waits = [later - before for before, later in pairwise(starts)]
    assert len(waits) == 3
    assert all(wait >= least for wait, least in zip(waits, (19, 39, 79), strict=True)), waits


async def test_a41_fixed_waits_the_same(client: Client, work: Work) -> None:
    assert RetryPolicy(4, fixed(5)).waits_ms() == [5000, 5000, 5000]

    @job("steady", attempts=3, backoff=fixed(60))
    async def steady(ctx: Context) -> None:
        raise Busy

    await work(steady)
    assert 59 < await delayed(await steady.options(client=client).enqueue()) < 62


async def test_a42_custom_strategy_with_cap_and_jitter(client: Client, work: Work) -> None:
    """Seed 003: min(1000 * 2 ** attempt, 30 min) plus up to a second; the first wait is 2 s."""
    seen: list[tuple[int, str]] = []

    def strategy(failures: int, error: BaseException | None) -> timedelta:
        seen.append((failures, type(error).__name__))
        capped_s = min(2**failures, 1800)
        return timedelta(seconds=capped_s + 0.5)

    waits = RetryPolicy(13, custom(lambda n: strategy(n, None))).waits_ms()
    assert waits[0] == 2500
    assert waits[-1] == 1_800_500
    seen.clear()

    @job("clever", attempts=13, backoff=custom(strategy))
    async def clever(ctx: Context) -> None:
        raise Busy

    await work(clever)
    assert 2.4 < await delayed(await clever.options(client=client).enqueue()) < 4.5
    assert seen == [(1, "Busy")]


async def test_a43_a_backoff_for_the_whole_queue(client: Client, work: Work) -> None:
    place = Queue("slow", defaults=JobOptions(backoff=exponential("1m", max="30m")))

    @job("patient", queue="slow")
    async def patient(ctx: Context) -> None:
        raise Busy

    @job("hasty", queue="slow", backoff=fixed(300))
    async def hasty(ctx: Context) -> None:
        raise Busy

    await work(patient, hasty, queues=[place])
    assert 59 < await delayed(await patient.options(client=client).enqueue()) < 62
    assert 299 < await delayed(await hasty.options(client=client).enqueue()) < 302


async def test_a44_named_policies(client: Client, work: Work) -> None:
    assert RetryPolicy.standard.waits_ms() == [2000, 4000]
    assert RetryPolicy.aggressive.waits_ms()[:3] == [5000, 10_000, 20_000]
    assert (RetryPolicy.aggressive.attempts, RetryPolicy.none.attempts) == (10, 1)

    @job("named", retry="aggressive")
    async def named(ctx: Context) -> int:
        return ctx.attempts

    @job("once", retry=RetryPolicy.none)
    async def once(ctx: Context) -> int:
        return ctx.attempts

    await work(named, once)
    assert await (await named.options(client=client).enqueue()).result(timeout=20) == 10
    assert await (await once.options(client=client).enqueue()).result(timeout=20) == 1
    called = await once.options(client=client, retry="standard").enqueue()
    assert await called.result(timeout=20) == 3
    with pytest.raises(InvalidOption, match="did you mean 'standard'"):
        once.options(retry="standart")
    with pytest.raises(InvalidOption, match="`retry` is attempts and backoff in one"):
        once.options(retry="standard", attempts=2)


async def test_b35_jitter_spreads_and_b36_a_cap_bounds(client: Client, work: Work) -> None:
    backoff = exponential(100, max=200, jitter=0.5)
    assert backoff.delay_ms(9, random=lambda: 0.0) == 100_000
    assert backoff.delay_ms(9, random=lambda: 1.0) == 200_000

    @job("herd", attempts=2, backoff=backoff)
    async def herd(ctx: Context) -> None:
        raise Busy

    await work(herd)
    handles = await client.enqueue_many([herd.request() for _ in range(20)])
    waits = [await delayed(handle) for handle in handles]
    assert all(50 <= wait <= 105 for wait in waits)
    assert len({round(wait, 1) for wait in waits}) > 3, "they do not come back together"


# -- which errors --------------------------------------------------------------------------


async def test_b29_any_exception_is_retried(client: Client, work: Work) -> None:
    @job("flaky", attempts=3, backoff=SOON)
    async def flaky(ctx: Context) -> int:
        if not ctx.is_last_attempt:
            raise KeyError("u1")
        return ctx.attempt

    async def plain(ctx: Context) -> None:
        raise KeyError("u1")

    await work(flaky, func(plain, name="arqs"))
    assert (await end(await flaky.options(client=client).enqueue())).result == 3
    info = await end(await client.enqueue("arqs"))
    assert (info.state, len(info.history)) == (State.failed, 1), "arq's rule for its functions"


async def test_b30_a_permanent_failure_uses_no_further_attempt(client: Client, work: Work) -> None:
    @job("charge", attempts=5, backoff=SOON, retry_on={Fail: "retry"})
    async def charge(ctx: Context) -> None:
        raise Fail("no such card")

    await work(charge)
    info = await end(await charge.options(client=client).enqueue())
    assert (info.state, len(info.history)) == (State.failed, 1)


async def test_a46_transient_and_permanent_errors(client: Client, work: Work) -> None:
    @job("find", attempts=3, backoff=SOON, no_retry=(LookupError,))
    async def find(ctx: Context, how: str) -> None:
        raise KeyError(how) if how == "gone" else Busy(how)

    await work(find)
    gone = await end(await find.options(client=client).enqueue("gone"))
    busy = await end(await find.options(client=client).enqueue("busy"))
    assert (len(gone.history), len(busy.history)) == (1, 3)
    assert gone.state is State.failed, "kept for inspection"
    assert gone.kwargs or gone.args, "with its arguments"
    with pytest.raises(InvalidPayload):
        await find.options(client=client).enqueue(3)  # type: ignore[arg-type]  # the point


# -- neither success nor failure -----------------------------------------------------------


async def test_b33_snooze_uses_no_attempt(client: Client, work: Work) -> None:
    polls = iter(range(10))

    @job("poll", attempts=1)
    async def poll(ctx: Context) -> int:
        if (seen := next(polls)) < 3:
            raise Snooze("1ms", "not ready")
        return ctx.attempt + seen

    await work(poll)
    info = await end(await poll.options(client=client).enqueue())
    assert (info.result, info.failures, info.snoozes, info.interruptions) == (4, 0, 3, 3)


async def test_a47_skip_and_b34_cancel_are_no_failures(client: Client, work: Work) -> None:
    @job("handled")
    async def handled(ctx: Context, how: str) -> Any:
        if how == "raise":
            raise Skip("switched off")
        if how == "cancel":
            raise Cancel("superseded")
        return Skip("switched off")

    await work(handled)
    for how in ("raise", "return"):
        info = await end(await handled.options(client=client).enqueue(how))
        assert (info.state, info.failures) == (State.completed, 0)
        last = info.history[-1]
        assert (last["outcome"], last["reason"]) == ("skipped", "switched off")
    info = await end(await handled.options(client=client).enqueue("cancel"))
    assert (info.state, info.history[-1]["reason"]) == (State.cancelled, "superseded")


# -- afterwards ---------------------------------------------------------------------------


async def test_b39_the_history_has_every_attempt(client: Client, work: Work) -> None:
    @job("often", attempts=3, backoff=SOON)
    async def often(ctx: Context) -> None:
        raise Busy(f"try {ctx.attempt}")

    worker = await work(often)
    info = await end(await often.options(client=client).enqueue())
    assert [entry["error"]["message"] for entry in info.history] == ["try 1", "try 2", "try 3"]
    for number, entry in enumerate(info.history, 1):
        assert entry["attempt"] == number
        assert entry["worker"] == worker.id
        assert entry["at"] > 0
        assert "raise Busy" in entry["error"]["traceback"]


async def test_b41_a_completed_job_runs_again(client: Client, work: Work) -> None:
    runs: list[int] = []

    @job("again")
    async def again(ctx: Context) -> int:
        runs.append(ctx.attempt)
        return len(runs)

    await work(again)
    queued = await again.options(client=client).enqueue()
    assert await queued.result(timeout=20) == 1
    assert await client.queue().retry([queued.id]) == [State.completed]

    async def twice() -> bool:
        return len(runs) == 2 and await queued.state() is State.completed

    await wait_until(twice, description="the job ran again")
    assert (await queued.details()).result == 2


async def test_a48_attempts_1_for_what_must_not_repeat(client: Client, work: Work) -> None:
    @job("cleanup", attempts=1)
    async def cleanup(ctx: Context) -> None:
        raise Busy

    await work(cleanup)
    assert (await end(await cleanup.options(client=client).enqueue())).failures == 1


async def test_b7_starts_are_capped_also_when_attempts_are_given_back(
    client: Client, work: Work
) -> None:
    told: list[str] = []

    async def give_up(ctx: Context, error: BaseException) -> None:
        told.append(str(error))

    @job("forever", attempts=1, max_starts=4, on_exhausted=give_up)
    async def forever(ctx: Context) -> None:
        raise Snooze("1ms")

    await work(forever)
    info = await end(await forever.options(client=client).enqueue())
    assert (info.state, info.snoozes, info.failures) == (State.failed, 4, 1)
    assert told == ["started 4 times, which is its `max_starts`"]
    less = await end(await forever.options(client=client, max_starts=1).enqueue())
    assert less.snoozes == 1
