"""The pool of processes by itself: calls, results, errors, logs, sizes."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from jobs import Cancel, Context, Fail, Retry, Skip, Snooze
from jobs.engine import process_child
from jobs.engine.processes import ProcessPool, process_count, usable_cpus
from jobs.errors import (
    InvalidOption,
    JobsError,
    NotInProcess,
)
from tests.helpers import cpu
from tests.helpers.pool import do, make_pool, run


@pytest.fixture
async def pool() -> AsyncIterator[ProcessPool]:
    pool = make_pool(2)
    yield pool
    await pool.aclose()


# -- calls ---------------------------------------------------------------------------------


async def test_models_go_there_and_come_back(pool: ProcessPool) -> None:
    assert await run(pool, "thumbnail", cpu.Image(path="a")) == cpu.Size(width=2, height=1)


async def test_nothing_is_started_before_the_first_call(pool: ProcessPool) -> None:
    assert pool.pids == []
    pid = await do(pool, "pid")
    assert pool.pids == [pid]
    assert await do(pool, "pid") == pid != os.getpid()


async def test_the_context_has_the_facts(pool: ProcessPool) -> None:
    at = datetime(2026, 5, 6, tzinfo=UTC)
    ctx = Context({"db": object()}, job_id="a", queue="q", function="facts", attempt=2,
                  attempts=3, token=9, worker="w", enqueued_at=at)  # fmt: skip
    ctx["score"] = 77
    told = await run(pool, "facts", ctx=ctx)
    assert (told.pop("pid"), told.pop("main_thread")) == (pool.pids[0], "MainThread")
    assert told == {
        "job_id": "a", "queue": "q", "function": "facts", "attempt": 2, "attempts": 3,
        "token": 9, "worker": "w", "key": ctx.idempotency_key, "at": at.isoformat(), "score": 77,
    }  # fmt: skip


@pytest.mark.parametrize("how", ["redis", "client", "db"])
async def test_resources_of_the_worker_are_refused_with_a_sentence(
    pool: ProcessPool, how: str
) -> None:
    with pytest.raises(NotInProcess) as caught:
        await run(pool, "needy", how)
    key = "redis" if how == "client" else how
    assert str(caught.value).startswith(f"ctx[{key!r}] is not there: this function runs in a pro")
    assert isinstance(caught.value, KeyError)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("inside_out", ["kept", "inner"]),
        ("outside_in", "outer"),
        ("apart", "plain"),
        ("shelved", "shelf"),
    ],
)
async def test_a_function_is_found_where_it_was_declared(
    pool: ProcessPool, name: str, expected: Any
) -> None:
    assert await run(pool, name) == expected


async def test_large_values_pass(pool: ProcessPool) -> None:
    assert await do(pool, "length", "y" * 5_000_000) == 5_000_000
    assert len(await do(pool, "big", 5_000_000)) == 5_000_000


async def test_calls_share_the_processes_and_wait_their_turn(pool: ProcessPool) -> None:
    pids = await asyncio.gather(*(do(pool, "pid") for _ in range(50)))
    assert set(pids) <= set(pool.pids)
    begun = time.monotonic()
    await asyncio.gather(*(do(pool, "sleep", 0.2) for _ in range(4)))
    assert time.monotonic() - begun >= 0.4
    assert len(pool.pids) == 2


async def test_both_processes_work_at_the_same_time(pool: ProcessPool) -> None:
    first, second = await asyncio.gather(do(pool, "pid"), do(pool, "sleep", 0.3))
    assert (first in pool.pids, second) == (True, "woke")
    assert len(pool.pids) == 2


async def test_the_loop_is_not_blocked(pool: ProcessPool) -> None:
    await do(pool, "ok")
    burning = asyncio.create_task(do(pool, "burn", 300))
    turns = 0
    while not burning.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert turns > 10


async def test_calls_of_a_few_milliseconds_keep_the_processes_busy(pool: ProcessPool) -> None:
    """The hand-over costs a fraction of a millisecond; the limit is for a busy machine."""
    await asyncio.gather(*(do(pool, "sleep", 0.05) for _ in range(2)))
    begun = time.monotonic()
    await asyncio.gather(*(do(pool, "sleep", 0.005) for _ in range(200)))
    assert 200 * 0.005 / 2 / (time.monotonic() - begun) > 0.4


# -- ends that are errors ------------------------------------------------------------------


async def test_an_error_comes_with_type_text_and_its_own_traceback(pool: ProcessPool) -> None:
    with pytest.raises(ValueError, match=r"^no$") as caught:
        await do(pool, "chain", "no")
    trace = str(caught.value.__cause__)
    assert 'helpers/cpu.py", line' in trace
    assert "raise ValueError(value) from error" in trace
    assert "KeyError: 'below'" in trace
    assert "process_child" not in trace


@pytest.mark.parametrize(("how", "name"), [("wordy", "Wordy"), ("local", "Local")])
async def test_an_error_that_pickle_cannot_build_keeps_class_name_text_and_attributes(
    pool: ProcessPool, how: str, name: str
) -> None:
    with pytest.raises(cpu.Wordy) as caught:
        await do(pool, how, 7)
    error = caught.value
    assert (type(error).__name__, str(error)) == (name, "number 7 is busy")
    assert (error.number, error.wait, hasattr(error, "lock")) == (7, 0.5, False)


async def test_words_of_the_author_pass(pool: ProcessPool) -> None:
    with pytest.raises(Fail, match=r"^for good$"):
        await do(pool, "fail", "for good")
    with pytest.raises(Retry) as retry:
        await do(pool, "retry", 5)
    assert (retry.value.defer_score, retry.value.__cause__) == (5000, None)
    with pytest.raises(Retry) as retry:
        await do(pool, "retry_from", 5)
    assert repr(retry.value.__cause__) == "ValueError('the real reason')"
    with pytest.raises(Snooze, match=r"^not yet$") as snooze:
        await do(pool, "snooze", "5m")
    assert snooze.value.delay == "5m"
    with pytest.raises(Skip) as skip:
        await do(pool, "skip", "none")
    assert skip.value.reason == "none"
    with pytest.raises(Cancel) as cancel:
        await do(pool, "cancel", "stop")
    assert cancel.value.reason == "stop"
    returned = await do(pool, "return_skip", "later")
    assert isinstance(returned, Skip)
    assert returned.reason == "later"


async def test_no_ordinary_errors_end_the_call_not_the_process(pool: ProcessPool) -> None:
    with pytest.raises(SystemExit) as caught:
        await do(pool, "exit", 3)
    assert caught.value.code == 3
    with pytest.raises(KeyboardInterrupt):
        await do(pool, "base")
    assert await do(pool, "ok", 1) == 1
    assert len(pool.pids) == 1


@pytest.mark.parametrize(
    ("how", "kind"), [("unsendable", "generator"), ("unreadable", "no number")]
)
async def test_a_result_that_cannot_pass_is_a_sentence(
    pool: ProcessPool, how: str, kind: str
) -> None:
    with pytest.raises(Fail) as caught:
        await do(pool, how)
    assert str(caught.value).startswith("the result of 'compute' cannot pass between processes (")
    assert kind in str(caught.value)


async def test_a_payload_that_cannot_pass_is_a_sentence(pool: ProcessPool) -> None:
    with pytest.raises(Fail, match="the payload of 'compute' cannot pass between processes"):
        await do(pool, "ok", lambda: 1)
    assert await do(pool, "ok", 1) == 1


# -- logs ----------------------------------------------------------------------------------


async def test_log_records_reach_the_handlers_of_the_worker(
    pool: ProcessPool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu.quiet, "level", logging.ERROR)
    with caplog.at_level(logging.INFO, "tests.cpu"):
        await do(pool, "log", "tales")
    told, failed = [record for record in caplog.records if record.name == "tests.cpu"]
    assert (told.getMessage(), told.levelname) == ("told tales", "WARNING")
    assert told.process == pool.pids[0]
    assert str(told.__dict__["odd"]).startswith("<unlocked _thread.lock")
    assert failed.exc_info is not None
    assert repr(failed.exc_info[1]) == "ValueError('logged')"
    assert "in do_error" in caplog.text
    assert "nobody listens" not in caplog.text


# -- sizes ---------------------------------------------------------------------------------


def test_a_pool_has_a_process_for_each_usable_cpu() -> None:
    assert make_pool(None).size == usable_cpus() == process_count(None) >= 1
    assert make_pool(7).size == 7


@pytest.mark.parametrize("wrong", [0, -1, 1001, 2.0, "2", True])
def test_a_number_of_processes_that_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidOption, match="`max_processes` is a whole number from 1 to 1,000"):
        process_count(wrong)


def test_there_is_no_pool_in_a_process_of_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_child._Here, "inside", True)
    with pytest.raises(JobsError, match='put the start under `if __name__ == "__main__":`'):
        make_pool(1)
