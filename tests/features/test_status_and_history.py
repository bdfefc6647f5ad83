"""What is kept of a job and asked for from outside: its status, and the history of its attempts."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

import pytest
from pydantic import BaseModel

from jobs import Client, Context, JobFailed, Snooze, State, fixed, job
from jobs.errors import JobNotFound
from jobs.logs import JsonFormatter
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running


class Order(BaseModel):
    """A payload."""

    number: int
    good: bool = True


async def test_a85_a_job_is_polled(client: Client, redis_url: str) -> None:
    gate = asyncio.Event()

    @job("poll")
    async def poll(ctx: Context, order: Order) -> int:
        await ctx.progress(30)
        await gate.wait()
        return order.number

    with pytest.raises(JobNotFound):
        await client.queue().job("7")
    async with running(redis_url, [poll]):
        queued = await client.enqueue("poll", Order(number=7), id="7")

        async def progress() -> Any:
            return await queued.progress()

        await wait_until(progress, description="it tells its progress")
        info = await client.queue().job("7")
        found = (info.id, info.function, info.progress, info.state, info.kwargs)
        assert found == ("7", "poll", 30, State.active, {"number": 7, "good": True})
        gate.set()
        await queued.result(timeout=20)


async def test_a89_status_body_fields(client: Client, redis_url: str) -> None:
    @job("report", attempts=2, backoff=fixed(0.01))
    async def report(ctx: Context, order: Order) -> dict[str, int]:
        ctx.progress(60)
        if not order.good:
            raise ValueError("no such account")
        return {"rows": 3}

    async with running(redis_url, [report]):
        waiting = await client.enqueue("report", Order(number=1), id="w", delay=60)
        good = await client.enqueue("report", Order(number=1), id="g")
        bad = await client.enqueue("report", Order(number=1, good=False), id="b")
        await good.result(timeout=20)
        with pytest.raises(JobFailed):
            await bad.result(timeout=20)
    data = {"number": 1, "good": True}
    expected = {
        waiting: ("w", "delayed", 0, data, None, 0, None),
        good: ("g", "completed", 60, data, {"rows": 3}, 1, None),
        bad: ("b", "failed", 60, data | {"good": False}, None, 2, "no such account"),
    }
    names = ("id", "state", "progress", "data", "returnvalue", "attemptsMade", "failedReason")
    for queued, values in expected.items():
        body = (await queued.details()).status_body
        assert body == dict(zip(names, values, strict=True)) | {"name": "report"}


async def test_b39_error_history_per_attempt(client: Client, redis_url: str) -> None:
    """Message, traceback, time and worker of every failed attempt, whatever came between."""

    @job("flaky", attempts=3, backoff=fixed(0.01))
    async def flaky(ctx: Context) -> str:
        if ctx.attempt == 2 and not snoozed:
            snoozed.append(1)
            raise Snooze(0.01)
        if ctx.attempt < 3:
            raise ValueError(f"attempt {ctx.attempt}")
        return "at last"

    snoozed: list[int] = []
    async with running(redis_url, [flaky]) as worker:
        queued = await client.enqueue("flaky")
        await queued.result(timeout=20)
    history = (await queued.details()).history
    assert [(entry["attempt"], entry["outcome"]) for entry in history] == [
        (1, "retried"), (2, "snoozed"), (2, "retried"), (3, "completed"),
    ]  # fmt: skip
    for entry in (history[0], history[2]):
        assert entry["error"]["type"] == "ValueError"
        assert entry["error"]["message"] == f"attempt {entry['attempt']}"
        assert "raise ValueError" in entry["error"]["traceback"]
        assert entry["worker"] == worker.id
    assert [entry["at"] for entry in history] == sorted(entry["at"] for entry in history)


async def test_b179_one_json_line_for_each_transition(client: Client, redis_url: str) -> None:
    """With the same keys in each, whatever the transition."""

    @job("flaky", attempts=2, backoff=fixed(0.01))
    async def flaky(ctx: Context, good: bool) -> None:
        if ctx.attempt == 1 or not good:
            raise ValueError("boom")

    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("jobs.worker")
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        async with running(redis_url, [flaky]):
            good = await client.enqueue("flaky", {"good": True}, id="good")
            bad = await client.enqueue("flaky", {"good": False}, id="bad")
            await good.result(timeout=20)
            with pytest.raises(JobFailed):
                await bad.result(timeout=20)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    mine = [line for line in lines if line.get("job_id") == "bad"]
    keys = {
        "time",
        "level",
        "logger",
        "message",
        "job_id",
        "function",
        "queue",
        "attempt",
        "worker",
    }
    assert all(line.keys() >= keys for line in mine)
    assert [(line["attempt"], line["level"]) for line in mine] == [
        (1, "INFO"), (1, "WARNING"), (2, "INFO"), (2, "ERROR"),
    ]  # fmt: skip
    words = ("started", "failed, again in", "started", "failed for good")
    assert all(word in line["message"] for word, line in zip(words, mine, strict=True))
    assert sum(line.get("job_id") == "good" for line in lines) == 4
