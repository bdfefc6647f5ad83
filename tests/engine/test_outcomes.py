"""Every way in which an attempt can end, by a real worker."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from jobs import Client, JobFailed, State, fixed
from jobs.errors import JobCancelled
from jobs.handle import Job
from jobs.options import FRAMEWORK_DEFAULTS
from tests.helpers.acting import act, act_in_thread
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running, stage_of


async def done(job: Job[Any]) -> Any:
    return await job.result(timeout=10)


async def until(job: Job[Any], state: State) -> None:
    async def reached() -> bool:
        return await job.state() is state

    await wait_until(reached, description=f"{job} is {state}")


ONCE: dict[str, Any] = {"attempts": 1}


async def test_a_result_is_the_value_that_was_returned(client: Client, redis_url: str) -> None:
    async with running(redis_url):
        for value in (None, 0, "text", [1, {"a": None}], 2**70):
            job = await act.options(client=client).enqueue("ok", value)
            assert await done(job) == value
        info = await job.details()
        assert (info.state, info.attempt, info.failures) == (State.completed, 1, 0)
        assert [entry["outcome"] for entry in info.history] == ["completed"]


@pytest.mark.parametrize(
    ("how", "value", "kind", "message"),
    [
        ("error", "boom", "ValueError", "boom"),
        ("fail", "no such user", "Fail", "no such user"),
        ("exit", 3, "SystemExit", "3"),
        ("interrupt", None, "KeyboardInterrupt", ""),
        ("mute", None, "Mute", "the text of this Mute cannot be made"),
        ("surrogate", None, "FileNotFoundError", "caf\\udce9"),
        ("base", None, "NoOrdinaryError", ""),
    ],
)
async def test_an_error_is_told_to_who_waits(
    client: Client, redis_url: str, caplog: pytest.LogCaptureFixture, how: str, value: Any,
    kind: str, message: str,
) -> None:  # fmt: skip
    caplog.set_level(logging.CRITICAL, "jobs")  # xdist cannot send a report with lone surrogates
    async with running(redis_url) as worker:
        job = await act.options(client=client, **ONCE).enqueue(how, value)
        with pytest.raises(JobFailed) as caught:
            await done(job)
        assert (caught.value.kind, caught.value.message) == (kind, message)
        assert "acting.py" in (caught.value.traceback or "")
        assert await job.state() is State.failed
        assert await done(await act.options(client=client).enqueue("ok", 1)) == 1, "it works on"
        assert worker.jobs_failed == 1


async def test_a_permanent_error_uses_no_further_attempt(client: Client, redis_url: str) -> None:
    async with running(redis_url) as worker:
        job = await act.options(client=client, attempts=5, backoff=fixed(0)).enqueue("fail", "no")
        with pytest.raises(JobFailed):
            await done(job)
        assert stage_of(worker).attempts(job.id) == [1]


async def test_a_failure_is_repeated_until_it_works(client: Client, redis_url: str) -> None:
    async with running(redis_url) as worker:
        job = await act.options(client=client, backoff=fixed(0)).enqueue("first:error", "boom")
        await done(job)
        assert stage_of(worker).attempts(job.id) == [1, 2]
        info = await job.details()
        assert [entry["outcome"] for entry in info.history] == ["retried", "completed"]
        assert (info.failures, info.attempt) == (1, 2)
        assert info.error is not None
        assert info.error["message"] == "boom"
        assert (worker.jobs_retried, worker.jobs_complete) == (1, 1)


async def test_attempts_run_out(client: Client, redis_url: str) -> None:
    async with running(redis_url) as worker:
        options = act.options(client=client, attempts=3, backoff=fixed(0))
        job = await options.enqueue("error", "boom")
        with pytest.raises(JobFailed, match="ValueError: boom"):
            await done(job)
        assert stage_of(worker).attempts(job.id) == [1, 2, 3]
        info = await job.details()
        assert info.failures == 3
        assert info.args == ["error", "boom"], "a dead letter keeps its arguments"
        assert len(info.history) == 3


async def test_the_backoff_is_waited_in_later(client: Client, redis_url: str) -> None:
    async with running(redis_url):
        job = await act.options(client=client, backoff=fixed("1h")).enqueue("error", "x")
        await until(job, State.delayed)
        info = await job.details()
        assert info.due_at is not None
        wait_s = (info.due_at - info.enqueued_at).total_seconds()
        assert 3600 <= wait_s < 3610


@pytest.mark.parametrize(("how", "outcome"), [("retry", "retried"), ("snooze", "snoozed")])
async def test_a_wished_wait_is_waited(
    client: Client, redis_url: str, how: str, outcome: str
) -> None:
    """A retry uses an attempt, a snooze gives it back."""
    async with running(redis_url) as worker:
        job = await act.options(client=client).enqueue(f"first:{how}", 0.05)
        if how == "snooze":
            await wait_until(lambda: len(stage_of(worker).starts) >= 3, description="three naps")
            assert set(stage_of(worker).attempts(job.id)) == {1}
            await job.cancel()
            return
        await done(job)
        info = await job.details()
        assert [entry["outcome"] for entry in info.history] == [outcome, "completed"]
        assert (info.failures, stage_of(worker).attempts(job.id)) == (1, [1, 2])


@pytest.mark.parametrize("how", ["skip", "return_skip"])
async def test_a_skipped_job_is_completed(client: Client, redis_url: str, how: str) -> None:
    async with running(redis_url):
        job = await act.options(client=client).enqueue(how, "push disabled")
        assert await done(job) is None
        info = await job.details()
        assert info.state is State.completed
        entry = info.history[-1]
        assert (entry["outcome"], entry["reason"]) == ("skipped", "push disabled")


async def test_a_job_cancels_itself(client: Client, redis_url: str) -> None:
    async with running(redis_url):
        job = await act.options(client=client).enqueue("cancel", "superseded")
        with pytest.raises(JobCancelled) as caught:
            await done(job)
        assert caught.value.message == "superseded"


# -- timeouts ------------------------------------------------------------------------------


async def test_a_timeout_is_a_failure_that_is_repeated(client: Client, redis_url: str) -> None:
    async with running(redis_url) as worker:
        options = act.options(client=client, timeout=0.05, attempts=2, backoff=fixed(0))
        job = await options.enqueue("sleep", 30)
        with pytest.raises(JobFailed, match=r"JobTimedOut: .* its timeout of 0.05 s"):
            await done(job)
        stage = stage_of(worker)
        assert stage.attempts(job.id) == [1, 2]
        assert stage.cancelled == [job.id] * 2
        for (*_, start), (*_, end) in zip(stage.starts, stage.ends, strict=True):
            assert 0.05 <= end - start < 0.5


async def test_a_job_that_catches_its_cancellation_ends_by_what_it_returns(
    client: Client, redis_url: str
) -> None:
    async with running(redis_url):
        job = await act.options(client=client, timeout=0.05).enqueue("swallow")
        assert await done(job) == "swallowed"


# -- results -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "value", "problem"),
    [
        ("unwritable", None, "object"),
        ("big", FRAMEWORK_DEFAULTS.max_result_bytes, "over the limit of 1,048,576"),
    ],
)
async def test_a_result_that_cannot_be_stored_is_said_and_the_job_completed(
    client: Client, redis_url: str, caplog: pytest.LogCaptureFixture, how: str, value: Any,
    problem: str,
) -> None:  # fmt: skip
    """arq-A14."""
    async with running(redis_url):
        job = await act.options(client=client).enqueue(how, value)
        assert await done(job) is None
        info = await job.details()
        assert info.state is State.completed
        assert problem in info.history[-1]["unstored"]
    assert f"the result of job {job.id} is not stored" in caplog.text


async def test_a_plain_function_runs_in_a_thread(client: Client, redis_url: str) -> None:
    async with running(redis_url, queues=[]):
        options = act_in_thread.options(client=client, **ONCE)
        name = await done(await options.enqueue())
        assert name.startswith("jobs-function")
        slow = await options.enqueue("sleep", 0.3)
        assert await done(await act.options(client=client).enqueue("ok", 1)) == 1
        assert await slow.state() is State.active, "the loop was free meanwhile"
        with pytest.raises(JobFailed, match="ValueError: boom"):
            await done(await options.enqueue("error", "boom"))
        await done(slow)


async def test_hooks_that_fail_harm_nothing(
    client: Client, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """arq-B2."""
    called: list[str] = []

    async def broken(ctx: Any) -> None:
        called.append(ctx["job_id"])
        raise RuntimeError("hook")

    hooks = {"on_job_start": broken, "on_job_end": broken, "after_job_end": broken}
    async with running(redis_url, **hooks) as worker:
        jobs = [await act.options(client=client).enqueue("ok", n) for n in range(3)]
        assert [await done(job) for job in jobs] == [0, 1, 2]
        await wait_until(lambda: len(called) == 9, description="every hook was called")
        assert worker.jobs_complete == 3
    assert [r for r in caplog.records if r.levelno >= logging.ERROR], "and it is said"
