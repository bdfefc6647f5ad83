"""`logs`, `events tail`, `events keep`: what jobs and queues tell."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Callable
from typing import Any

import pytest

from jobs import Client, Context, RedisSettings, Worker, fixed, job
from tests.cli.conftest import Cli, Program
from tests.helpers.waiting import wait_until_sync

Work = Callable[[], None]


@job("resize", attempts=2, backoff=fixed(0.01), capture_logs=True)
async def resize(ctx: Context, lines: int = 2, password: str = "") -> dict[str, str]:
    """Write lines; the first attempt fails."""
    for n in range(lines):
        ctx.log(f"{ctx.attempt}.{n}\x1b[2J\nsecond line")
    logging.getLogger("shop").warning("captured")
    ctx.progress({"percent": 50 * ctx.attempt})
    if ctx.attempt == 1:
        raise ValueError("the disk is full")
    return {"password": "hunter2", "rows": "3"}


async def run_jobs(url: str, **jobs: dict[str, Any]) -> None:
    """Run jobs of `resize`, by id."""
    async with Client.connect(url) as client:
        for job_id, payload in jobs.items():
            await client.enqueue("resize", payload, id=job_id)
    settings = RedisSettings.from_dsn(url)
    worker = Worker([resize], redis_settings=settings, burst=True, handle_signals=False)
    try:
        await worker.async_run()
    finally:
        await worker.close()


@pytest.fixture
def ran(cli: Cli, redis_url: str) -> None:
    """A job that has written lines in two attempts, and one with more than are kept."""
    cli("events", "keep", "default")
    asyncio.run(run_jobs(redis_url, a={}, many={"lines": 1_500}))


@pytest.mark.usefixtures("ran")
def test_the_log_of_a_job(cli: Cli) -> None:
    done = cli("logs", "a")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert len(lines) == 2 * (2 * 2 + 1)
    assert lines[0].endswith("INFO    [1] 1.0�[2J"), "nothing of it can rewrite the terminal"
    assert lines[1] == "    second line"
    assert lines[4].endswith("WARNING [1] shop: captured")
    assert lines[-1].endswith("WARNING [2] shop: captured")
    assert [line for line in lines if "[1]" in line] == [
        line for line in cli("logs", "a", "--attempt", "1").out.splitlines() if "[" in line
    ]


@pytest.mark.usefixtures("ran")
def test_the_log_of_a_job_as_json(cli: Cli) -> None:
    log = cli("logs", "a", "--json", "--attempt", "2").json
    assert (log["id"], log["queue"], log["dropped"]) == ("a", "default", 0)
    assert [(line["attempt"], line["level"]) for line in log["lines"]] == [
        (2, "INFO"), (2, "INFO"), (2, "WARNING"),
    ]  # fmt: skip
    assert log["lines"][-1]["logger"] == "shop"
    log = cli("logs", "many", "--json").json
    assert len(log["lines"]) + log["dropped"] == 3_002
    assert cli("logs", "many").err == f"{log['dropped']:,} older lines were dropped\n"


@pytest.mark.usefixtures("ran")
def test_the_progress_of_a_job(cli: Cli) -> None:
    assert 'progress   {"percent":100}\n' in cli("show", "a").out.replace(" {", " {").replace(
        '": ', '":'
    )
    assert cli("show", "a", "--json").json["job"]["progress"] == {"percent": 100}


def test_a_job_without_lines(cli: Cli) -> None:
    cli("enqueue", "add", "1", "--id", "quiet")
    done = cli("logs", "quiet")
    assert (done.code, done.out, done.err) == (0, "", "the job has written no lines\n")
    assert cli("logs", "nobody").code == 4


@pytest.mark.usefixtures("ran")
def test_following_an_ended_job_ends(cli: Cli) -> None:
    assert cli("logs", "a", "-f").out == cli("logs", "a").out
    documents = [json.loads(line) for line in cli("logs", "a", "-f", "--json").out.splitlines()]
    assert [document["line"]["attempt"] for document in documents] == [1, 1, 1, 2, 2, 2]


def test_a_log_is_followed_until_the_end_of_the_job(program: Program, redis_url: str) -> None:
    async def enqueue() -> None:
        async with Client.connect(redis_url) as client:
            await client.enqueue("resize", {}, id="a", delay=0.01)

    asyncio.run(enqueue())
    process = program.start("logs", "a", "-f", "--json")

    wait_until_sync(lambda: heard(redis_url), description="it listens", timeout=15)
    asyncio.run(run_jobs(redis_url, b={"lines": 0}))
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert [json.loads(line)["line"]["attempt"] for line in out.splitlines()] == [1, 1, 1, 2, 2, 2]


def heard(url: str) -> bool:
    """Whether somebody listens to the default queue."""
    from redis import Redis

    from jobs.keys import queue_keys

    with Redis.from_url(url) as redis:
        return bool(redis.hexists(queue_keys("default").config, "listened"))


# -- events --------------------------------------------------------------------------------


@pytest.mark.usefixtures("ran")
def test_past_events_for_people(cli: Cli) -> None:
    done = cli("events", "tail", "--since", "0", "--job", "a", "--limit", "4")
    assert done.code == 0
    assert done.err == "listening; Ctrl-C ends\n"
    rows = [line.split()[1:] for line in done.out.splitlines()]
    assert [row[:3] for row in rows] == [
        [name, "default", "a"] for name in ("added", "waiting", "active", "progress")
    ]
    assert rows[0][3] == "resize"
    failed = cli("events", "tail", "--since", "1h", "--type", "failed", "--limit", "1").out
    assert "ValueError: the disk is full" in failed


@pytest.mark.usefixtures("ran")
def test_events_for_programs(cli: Cli) -> None:
    words = ("events", "tail", "--since", "0", "--job", "a", "--type", "completed", "--limit", "1")
    for flag in ("--jsonl", "--json"):
        done = cli(*words, flag)
        assert done.err == ""
        event = done.json["event"]
        assert (event["name"], event["queue"], event["job_id"]) == ("completed", "default", "a")
        assert event["data"]["outcome"] == "completed"
        assert event["data"]["result"] == {"password": "***", "rows": "3"}, "secrets are hidden"
    behind = cli("events", "tail", "--since", event["id"], "--limit", "1", "--jsonl").json
    assert int(behind["event"]["id"]) == int(event["id"]) + 1


def test_events_are_followed_until_ctrl_c(program: Program, cli: Cli) -> None:
    cli("enqueue", "add", "0")
    process = program.start("events", "tail", "--queue", "default", "--type", "waiting")
    program.wait_for("listening")
    cli("enqueue", "add", "1", "--id", "one")
    assert process.stdout is not None
    assert process.stdout.readline().split()[1:] == ["waiting", "default", "one"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--type", "complet"], 2, "did you mean 'completed'?"),
        (["--since", "someday"], 2, "--since: expected a time such as"),
        (["--queue", "emial"], 4, "did you mean 'email'?"),
    ],
)
def test_bad_questions(cli: Cli, words: list[str], code: int, message: str) -> None:
    done = cli("events", "tail", *words)
    assert (done.code, done.out) == (code, "")
    assert message in done.err


def test_events_are_kept_on_wish(cli: Cli) -> None:
    assert cli("events", "keep", "email").out == "email: events are written for ever\n"
    assert "email: events are written until 2" in cli("events", "keep", "email", "--for", "2h").out
    assert cli("events", "keep", "email", "--stop").out == "email: events are written no more\n"
    (kept,) = cli("events", "keep", "email", "--json").json["queues"]
    assert (kept["queue"], kept["until"][:4]) == ("email", "9999")
    assert cli("events", "keep", "email", "--stop", "--for", "1h").code == 2
