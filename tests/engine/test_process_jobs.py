"""Jobs with `executor="process"` by a real worker: outcomes, timeouts, cancels, deaths, stops."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from jobs import Client, JobFailed, Queue, State
from jobs.errors import InvalidOption, JobCancelled
from jobs.handle import Job
from jobs.keys import queue_keys
from tests.engine.test_leases import retoken
from tests.helpers import cpu
from tests.helpers.cpu import compute, facts, needy, thumbnail
from tests.helpers.pool import alive, written
from tests.helpers.waiting import wait_until
from tests.helpers.worker import make_worker, running

FUNCTIONS = (compute, facts, needy, thumbnail)
ONCE: dict[str, Any] = {"attempts": 1}
FIRST_S = 20.0
"""Until the first job is done: a process imports the tests' modules, on a busy machine."""


async def done(job: Job[Any]) -> Any:
    return await job.result(timeout=FIRST_S)


async def enqueue(client: Client, how: str, value: Any = None, **options: Any) -> Job[Any]:
    return await compute.options(client=client, **options).enqueue(how, value)


async def failure(job: Job[Any]) -> tuple[str, str]:
    with pytest.raises(JobFailed) as caught:
        await done(job)
    return caught.value.kind, caught.value.message


# -- outcomes ------------------------------------------------------------------------------


async def test_a_typed_job_runs_in_another_process(client: Client, redis_url: str) -> None:
    async with running(redis_url, FUNCTIONS) as worker:
        job = await thumbnail.options(client=client).enqueue(cpu.Image(path="a", width=8))
        assert await done(job) == cpu.Size(width=4, height=1)
        told = await done(await facts.options(client=client, id="me", attempts=4).enqueue())
        assert told["pid"] != os.getpid()
        assert (told["job_id"], told["attempt"], told["attempts"]) == ("me", 1, 4)
        assert told["worker"] == worker.id
        assert told["key"].startswith("default:me:")


@pytest.mark.parametrize(
    ("how", "value", "kind", "message"),
    [
        ("error", "boom", "ValueError", "boom"),
        ("fail", "no such user", "Fail", "no such user"),
        ("exit", 3, "SystemExit", "3"),
        ("local", 7, "Local", "number 7 is busy"),
    ],
)
async def test_an_error_is_told_to_who_waits(
    client: Client, redis_url: str, how: str, value: Any, kind: str, message: str
) -> None:
    async with running(redis_url, FUNCTIONS):
        job = await enqueue(client, how, value, **ONCE)
        assert await failure(job) == (kind, message)
        (entry,) = (await job.details()).history
        assert "helpers/cpu.py" in entry["error"]["traceback"]


async def test_words_of_the_author_decide(client: Client, redis_url: str) -> None:
    async with running(redis_url, FUNCTIONS):
        skipped = await enqueue(client, "skip", "nothing to do")
        cancelled = await enqueue(client, "cancel", "obsolete")
        retried = await enqueue(client, "first:retry", 0.05)
        snoozed = await enqueue(client, "first:snooze", 0.05, **ONCE)
        failed = await enqueue(client, "fail", "for good", attempts=5)
        last = await enqueue(client, "retry_from", 0, **ONCE)
        assert await done(skipped) is None
        with pytest.raises(JobCancelled, match="obsolete"):
            await done(cancelled)
        assert await done(retried) == 0.05
        assert await failure(failed) == ("Fail", "for good")
        assert await failure(last) == ("ValueError", "the real reason")
        assert [e["outcome"] for e in (await failed.details()).history] == ["failed"]
        assert [e["outcome"] for e in (await skipped.details()).history] == ["skipped"]

        async def comes_again() -> bool:
            return len((await snoozed.details()).history) >= 2

        await wait_until(comes_again, description="a snooze uses no attempt")
        assert await snoozed.cancel() is not None
        await wait_until(lambda: ended(snoozed), description="it is cancelled")


async def ended(job: Job[Any]) -> bool:
    return await job.state() in {State.cancelled, State.completed, State.failed}


async def test_no_retry_holds_for_errors_that_pickle_cannot_build(
    client: Client, redis_url: str
) -> None:
    async with running(redis_url, FUNCTIONS):
        job = await enqueue(client, "wordy", 7, attempts=5)
        assert await failure(job) == ("Wordy", "number 7 is busy")
        assert len((await job.details()).history) == 1


async def test_what_cannot_pass_fails_with_a_sentence(client: Client, redis_url: str) -> None:
    async with running(redis_url, FUNCTIONS):
        kind, message = await failure(await enqueue(client, "unsendable", attempts=5))
        assert (kind, message[:47]) == ("Fail", "the result of 'compute' cannot pass between pro")
        kind, message = await failure(await needy.options(client=client).enqueue("redis"))
        assert (kind, message[:26]) == ("NotInProcess", "ctx['redis'] is not there:")


# -- deaths --------------------------------------------------------------------------------


async def test_a_killed_process_is_an_ordinary_failed_attempt(
    client: Client, redis_url: str
) -> None:
    async with running(redis_url, FUNCTIONS):
        other = await enqueue(client, "sleep", 1)
        job = await enqueue(client, "first:signal", signal.SIGKILL)
        assert await done(job) == signal.SIGKILL
        info = await job.details()
        assert (info.attempt, info.failures, info.losses) == (2, 1, 0)
        assert info.history[0]["error"]["type"] == "ProcessDied"
        assert info.history[0]["error"]["message"] == (
            "the process that ran this job died with signal 9 (SIGKILL): out of memory?"
        )
        assert await done(other) == "woke"
        assert (await other.details()).attempt == 1


async def test_a_job_that_always_kills_its_process_is_a_dead_letter(
    client: Client, redis_url: str
) -> None:
    async with running(redis_url, FUNCTIONS) as worker:
        job = await enqueue(client, "os_exit", 7, attempts=3)
        assert await failure(job) == (
            "ProcessDied",
            "the process that ran this job ended with exit code 7: os._exit?",
        )
        assert (worker.jobs_failed, worker.jobs_retried) == (1, 2)


# -- stops ---------------------------------------------------------------------------------


async def test_a_timeout_kills_the_function(client: Client, redis_url: str, tmp_path: Path) -> None:
    async with running(redis_url, FUNCTIONS):
        await done(await enqueue(client, "ok"))
        other = await enqueue(client, "sleep", 1.5)
        job = await enqueue(client, "stubborn", str(tmp_path / "mark"), timeout=0.5, **ONCE)
        pid = await written(tmp_path / "mark")
        kind, message = await failure(job)
        assert (kind, "its timeout of 0.5 s" in message) == ("JobTimedOut", True)
        assert not alive(pid)
        assert await done(other) == "woke"


async def test_waiting_for_a_process_is_no_part_of_the_time(client: Client, redis_url: str) -> None:
    """Nor is its start: the modules of an application may take long to import."""
    async with running(redis_url, FUNCTIONS, max_processes=1):
        jobs = [await enqueue(client, "sleep", 0.4, timeout=0.8, **ONCE) for _ in range(4)]
        assert await asyncio.gather(*map(done, jobs)) == ["woke"] * 4


async def test_a_cancel_kills_the_function(client: Client, redis_url: str, tmp_path: Path) -> None:
    async with running(redis_url, FUNCTIONS):
        job = await enqueue(client, "hold", str(tmp_path / "mark"))
        pid = await written(tmp_path / "mark")
        assert await job.cancel("enough") is State.active
        with pytest.raises(JobCancelled, match="enough"):
            await done(job)
        assert not alive(pid)
        assert (tmp_path / "mark.cleaned").exists()


async def test_a_job_is_cancelled_while_it_waits_for_a_process(
    client: Client, redis_url: str
) -> None:
    async with running(redis_url, FUNCTIONS, max_processes=1):
        first = await enqueue(client, "sleep", 1)
        second = await enqueue(client, "ok", 1)

        async def both_active() -> bool:
            return {await first.state(), await second.state()} == {State.active}

        await wait_until(both_active, description="both are claimed", timeout=FIRST_S)
        await second.cancel("changed my mind")
        with pytest.raises(JobCancelled, match="changed my mind"):
            await done(second)
        assert await done(first) == "woke"


async def test_a_lost_lease_kills_the_function(
    client: Client, redis_url: str, tmp_path: Path
) -> None:
    async with running(redis_url, FUNCTIONS) as worker:
        job = await enqueue(client, "hold", str(tmp_path / "mark"))
        pid = await written(tmp_path / "mark")
        await retoken(client, job.id)
        await wait_until(lambda: not alive(pid), description="the function is gone", timeout=10)
        assert worker.jobs_complete == worker.jobs_failed == worker.jobs_retried == 0
    assert await job.state() is State.active  # it is the other worker's now


async def test_a_stopping_worker_releases_what_runs_longer_than_the_grace(
    client: Client, redis_url: str, tmp_path: Path
) -> None:
    async with running(redis_url, FUNCTIONS, job_completion_wait=1):
        await done(await enqueue(client, "ok"))
        short = await enqueue(client, "sleep", 0.5)
        long = await enqueue(client, "hold", str(tmp_path / "mark"), **ONCE)
        pid = await written(tmp_path / "mark")
        begun = time.monotonic()
    assert time.monotonic() - begun < 4
    assert not alive(pid)
    assert await short.state() is State.completed
    info = await long.details()
    assert (info.state, info.interruptions, info.failures) == (State.waiting, 1, 0)
    await long.cancel()


async def test_a_stubborn_function_does_not_hold_up_the_stop(
    client: Client, redis_url: str, tmp_path: Path
) -> None:
    async with running(redis_url, FUNCTIONS):
        job = await enqueue(client, "stubborn", str(tmp_path / "mark"))
        pid = await written(tmp_path / "mark")
        begun = time.monotonic()
    assert time.monotonic() - begun < 4
    assert not alive(pid)
    assert (await job.details()).interruptions == 1
    await job.cancel()


# -- the pool of a worker ------------------------------------------------------------------


async def test_a_worker_has_as_many_processes_as_it_may(client: Client, redis_url: str) -> None:
    async with running(redis_url, FUNCTIONS, max_processes=1):
        pids = [await enqueue(client, "pid") for _ in range(5)]
        assert len(set(await asyncio.gather(*map(done, pids)))) == 1


async def test_functions_of_all_queues_share_the_processes(client: Client, redis_url: str) -> None:
    queues = [Queue("default"), Queue("images", concurrency=2)]
    async with running(redis_url, FUNCTIONS, queues=queues, max_processes=1):
        there = await done(await enqueue(client, "pid", queue="images"))
        assert await done(await enqueue(client, "pid")) == there


@pytest.mark.parametrize("wrong", [0, 1.5, "2"])
async def test_a_worker_refuses_a_number_of_processes_that_cannot_be(
    redis_url: str, wrong: Any
) -> None:
    with pytest.raises(InvalidOption, match="`max_processes` is a whole number"):
        make_worker(redis_url, FUNCTIONS, max_processes=wrong)


async def test_a_burst_ends_its_processes(client: Client, redis_url: str) -> None:
    job = await enqueue(client, "pid")
    worker = make_worker(redis_url, FUNCTIONS, burst=True)
    await worker.async_run()
    assert not alive(await done(job))
    await worker.close()
    assert await client.zcard(queue_keys("default").leases) == 0
