"""A policy for each exception, errors that say when, the budget of time, the last failure."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from jobs import (
    Client,
    Context,
    Fail,
    Job,
    JobInfo,
    JobOptions,
    Queue,
    Retry,
    RetryPolicy,
    State,
    custom,
    exponential,
    fixed,
    job,
)
from jobs.errors import InvalidOption
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


RULES: dict[type[BaseException], Any] = {
    OSError: "fail",
    ConnectionError: "retry",
    LookupError: "ignore",
    TimeoutError: "5m",
    ArithmeticError: exponential(100),
    Busy: RetryPolicy(2, SOON),
    Refused: lambda error: "fail" if error.status < 500 else fixed(900),
}
ERRORS: dict[str, BaseException] = {
    "disk": OSError("disk"),
    "reset": ConnectionResetError("reset"),
    "gone": KeyError("gone"),
    "late": TimeoutError("late"),
    "zero": ZeroDivisionError("zero"),
    "busy": Busy("busy"),
    "client": Refused(404),
    "server": Refused(503),
    "other": ValueError("other"),
}


async def test_b31_a_policy_for_each_exception(client: Client, work: Work) -> None:
    @job("rules", attempts=3, backoff=SOON, retry_on=RULES)
    async def rules(ctx: Context, name: str) -> None:
        raise ERRORS[name]

    await work(rules)

    async def of(name: str) -> JobInfo:
        return await end(await rules.options(client=client).enqueue(name))

    assert (await of("disk")).failures == 1, "final"
    assert (await of("reset")).failures == 3, "the nearer type, whatever the order"
    assert (await of("busy")).failures == 2, "its own number of attempts"
    assert (await of("client")).failures == 1, "a function decides"
    assert (await of("other")).failures == 3, "no rule: as the job says"
    ignored = await of("gone")
    assert (ignored.state, ignored.history[-1]["outcome"]) == (State.completed, "skipped")
    assert ignored.history[-1]["reason"] == "KeyError: 'gone'"
    for name, wait_s in (("late", 300), ("zero", 100), ("server", 900)):
        queued = await rules.options(client=client).enqueue(name)
        assert wait_s - 1 < await delayed(queued) < wait_s + 3, name


async def test_b31_rules_of_a_queue_join_those_of_its_functions(client: Client, work: Work) -> None:
    place = Queue("strict", defaults=JobOptions(retry_on={OSError: "fail", LookupError: "fail"}))

    @job("both", queue="strict", attempts=2, backoff=SOON, retry_on={LookupError: "retry"})
    async def both(ctx: Context, name: str) -> None:
        raise ERRORS[name]

    await work(both, queues=[place])
    assert (await end(await both.options(client=client).enqueue("disk"))).failures == 1
    assert (await end(await both.options(client=client).enqueue("gone"))).failures == 2


async def test_b31_a_rule_that_fails_costs_no_job_its_retry(client: Client, work: Work) -> None:
    def broken(error: BaseException) -> str:
        raise RuntimeError("the rule")

    @job("kept", attempts=2, backoff=SOON, retry_on={Busy: broken})
    async def kept(ctx: Context) -> int:
        if ctx.attempt == 1:
            raise Busy
        return ctx.attempt

    await work(kept)
    assert (await end(await kept.options(client=client).enqueue())).result == 2


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ({"ValueError": "fail"}, "names exception types, not 'ValueError'"),
        ({ValueError: "ignored"}, "did you mean 'ignore'"),
        ({ValueError: None}, 'rule for ValueError is "retry"'),
        ({ValueError: -5}, "a duration of zero or more"),
        ([ValueError], "`retry_on` is a dict"),
    ],
)
def test_b31_rules_that_cannot_be_are_refused(rules: Any, sentence: str) -> None:
    with pytest.raises(InvalidOption, match=sentence):
        JobOptions(retry_on=rules)


def test_b31_contradictory_rules_are_refused() -> None:
    with pytest.raises(InvalidOption, match="ValueError is final by `no_retry`"):
        JobOptions(retry_on={ValueError: "retry"}, no_retry=(ValueError,))


async def test_b31_code_cannot_be_sent_with_a_call(client: Client) -> None:
    for name in ("retry_on", "no_retry", "on_exhausted"):
        with pytest.raises(InvalidOption, match=f"`{name}` is code"):
            await client.enqueue("anything", {}, **{name: None})
    with pytest.raises(InvalidOption, match="is code and cannot be sent"):
        await client.enqueue("anything", {}, backoff=custom(lambda n: n))


# -- the error says when -------------------------------------------------------------------


async def test_b32_retry_says_when(client: Client, work: Work) -> None:
    @job("asked", attempts=2, backoff=SOON)
    async def asked(ctx: Context) -> None:
        raise Retry(defer=timedelta(minutes=10))

    await work(asked)
    assert 599 < await delayed(await asked.options(client=client).enqueue()) < 602


SAYS: dict[str, Refused] = {
    "seconds": Refused(retry_after=100),
    "text": Refused(retry_after="100"),
    "duration": Refused(retry_after=timedelta(seconds=100)),
    "header": Refused(Retry_After="100"),
    "small letters": Refused(503, retry__after="100"),
    "too long": Refused(retry_after=10**9),
    "nonsense": Refused(Retry_After="soon"),
    "short": Refused(retry_after=1),
}


async def test_b32_retry_after_of_an_error_is_the_least_wait(client: Client, work: Work) -> None:
    @job("polite", attempts=2, backoff=fixed(20))
    async def polite(ctx: Context, name: str) -> None:
        if name == "date":
            at = datetime.now(UTC) + timedelta(seconds=100)
            raise Refused(Retry_After=format_datetime(at, usegmt=True))
        if name == "moment":
            raise Refused(retry_after=datetime.now(UTC) + timedelta(seconds=100))
        raise SAYS[name]

    await work(polite)
    expected = dict.fromkeys([*SAYS, "date", "moment"], 100)
    expected |= {"too long": 86_400, "nonsense": 20, "short": 20}
    for name, wait_s in expected.items():
        queued = await polite.options(client=client).enqueue(name)
        assert wait_s - 2 < await delayed(queued) < wait_s + 3, name


# -- the budget of time and the last failure -----------------------------------------------


async def test_b37_retry_for_stops_after_a_time_not_a_number(client: Client, work: Work) -> None:
    @job("webhook", backoff=fixed("40ms"), retry_for="150ms")
    async def webhook(ctx: Context) -> None:
        raise Busy

    await work(webhook)
    info = await end(await webhook.options(client=client).enqueue())
    assert info.state is State.failed
    assert 2 <= info.failures <= 4, "as many as fit, more than the framework's three are allowed"
    assert "`retry_for`" in info.history[-1]["reason"]
    assert info.error is not None
    assert info.error["type"] == "Busy", "the error is that of the work"

    delayed_call = await webhook.options(client=client, delay="300ms").enqueue()
    assert (await end(delayed_call)).failures >= 2, "the budget begins when the job is due"
    one = await webhook.options(client=client, attempts=1, retry_for="2d").enqueue()
    assert (await end(one)).failures == 1, "attempts hold too where the layer gives both"


async def test_b37_no_retry_is_longer_than_expires_or_start_by(client: Client, work: Work) -> None:
    @job("news", attempts=3, backoff=fixed(60))
    async def news(ctx: Context) -> None:
        raise Busy

    await work(news)
    soon = datetime.now(UTC) + timedelta(seconds=30)
    for options in ({"expires": 30}, {"start_by": soon}):
        info = await end(await news.options(client=client, **options).enqueue())
        assert (info.state, info.failures) == (State.failed, 1), "it could only have expired"
        assert next(iter(options)) in info.history[-1]["reason"]


async def test_a45_last_attempt_and_b38_on_exhausted(client: Client, work: Work) -> None:
    told: list[tuple[str, int, bool, str]] = []

    async def give_up(ctx: Context, error: BaseException) -> None:
        told.append((ctx.job_id, ctx.attempt, ctx.is_last_attempt, str(error)))

    def give_up_plainly(ctx: Context, error: BaseException) -> None:
        told.append((ctx.job_id, ctx.attempt, False, threading.current_thread().name))

    @job("doomed", attempts=2, backoff=SOON, on_exhausted=give_up)
    async def doomed(ctx: Context, how: str) -> str:
        if how == "fail":
            raise Fail("permanent")
        if how == "last" and ctx.is_last_attempt:
            return "handled"
        raise Busy(how)

    place = Queue("q", defaults=JobOptions(on_exhausted=give_up_plainly, attempts=1))

    @job("plain", queue="q")
    async def plain(ctx: Context) -> None:
        raise Busy

    await work(doomed, plain, queues=[place])
    first = await end(await doomed.options(client=client, id="a").enqueue("boom"))
    await end(await doomed.options(client=client, id="b").enqueue("fail"))
    handled = await end(await doomed.options(client=client, id="c").enqueue("last"))
    await end(await plain.options(client=client, id="d").enqueue())
    assert first.state is State.failed
    assert handled.result == "handled"
    assert told[:2] == [("a", 2, True, "boom"), ("b", 1, False, "permanent")]
    assert [entry[0] for entry in told] == ["a", "b", "d"], "once each, at the last failure only"
    assert told[2][3].startswith("jobs-function"), "a plain function runs in a thread"


async def test_b38_a_hook_that_fails_harms_nothing(
    client: Client, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(ctx: Context, error: BaseException) -> None:
        raise SystemExit(3)

    @job("unlucky", attempts=1, on_exhausted=broken)
    async def unlucky(ctx: Context) -> None:
        raise Busy("boom")

    worker = await work(unlucky)
    info = await end(await unlucky.options(client=client).enqueue())
    assert (info.state, info.error and info.error["message"]) == (State.failed, "boom")
    assert "`on_exhausted` of job" in caplog.text
    assert worker.jobs_failed == 1
