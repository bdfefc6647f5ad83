"""`scheduler`: real processes that make jobs by the clock, and run none."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from jobs import Client
from jobs.store.commands import Command, Wish, send_command
from tests.cli.conftest import Ask, Cli, Program
from tests.helpers.waiting import wait_until_sync

CLOCK = """
from arq.cron import cron
from jobs import Schedule


async def plain_tick(ctx):
    raise AssertionError("a scheduler runs nothing")


async def startup(ctx):
    raise AssertionError("a scheduler makes no resources")


class Clocked(WorkerSettings):
    schedules = [Schedule("tick", "add", {"a": 1}, every="200ms", misfire="skip")]
    cron_jobs = [cron(plain_tick, second=set(range(60)), name="cron:plain")]
    on_startup = startup


class Elsewhere(Clocked):
    on_startup = None


class Working(WorkerSettings):
    schedules = Clocked.schedules


WorkerSettings = Clocked
"""


@pytest.fixture
def clocked(program: Program) -> Program:
    """The program in a folder whose application has a schedule and a cron job."""
    settings = program.home / "settings.py"
    settings.write_text(settings.read_text() + CLOCK)
    return program


def jobs(cli: Cli) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cli("list", "--limit", "1000", "--json").json["jobs"]
    return found


def made(cli: Cli) -> set[str]:
    return {job["id"] for job in jobs(cli) if job["id"].startswith("tick:")}


def wait_for_more(cli: Cli, count: int = 3) -> set[str]:
    """Wait until so many more jobs were made; their ids."""
    before = made(cli)
    wait_until_sync(
        lambda: len(made(cli) - before) >= count, description="jobs are made", timeout=20
    )
    return made(cli) - before


def end(process: Any, signum: signal.Signals = signal.SIGTERM) -> int:
    process.send_signal(signum)
    process.communicate(timeout=15)
    code: int = process.returncode
    return code


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_jobs_are_made_and_none_is_run(
    signum: signal.Signals, clocked: Program, cli: Cli, ask: Ask
) -> None:
    process = clocked.start("scheduler")
    wait_for_more(cli)
    wait_until_sync(
        lambda: any(job["function"] == "cron:plain" for job in jobs(cli)),
        description="the cron job is made too",
        timeout=20,
    )
    assert {job["state"] for job in jobs(cli)} <= {"waiting", "delayed"}
    assert end(process, signum) == 0
    told = clocked.errors()
    assert "stopping: no more jobs are made" in told
    assert "makes the jobs of 1 schedules and 1 cron jobs of its code" in told
    assert "Traceback" not in told
    assert cli("workers", "list", "-q").out == ""


def test_a_stopped_worker_finds_its_jobs(clocked: Program, cli: Cli) -> None:
    worker = clocked.start("worker", "--no-scheduler", "--app", "settings:Working")
    wait_until_sync(  # its first line comes before it catches signals
        lambda: cli("workers", "list", "-q").out != "", description="it serves", timeout=20
    )
    assert end(worker) == 0
    process = clocked.start("scheduler")
    wait_for_more(cli)
    assert end(process) == 0
    done = clocked("worker", "--burst", "--no-scheduler", "--app", "settings:Working")
    assert done.code == 0
    assert {job["state"] for job in jobs(cli) if job["id"] in made(cli)} == {"completed"}


def test_another_takes_over_from_a_killed_one(clocked: Program, cli: Cli) -> None:
    first, second = clocked.start("scheduler"), clocked.start("scheduler")
    wait_until_sync(
        lambda: len(cli("workers", "list", "-q").out.split()) == 2,
        description="both run",
        timeout=20,
    )
    wait_for_more(cli)
    first.kill()
    first.communicate()
    wait_for_more(cli)
    assert second.poll() is None
    instants = sorted(int(name.removeprefix("tick:")) for name in made(cli))
    assert {instant % 200 for instant in instants} == {0}
    assert end(second) == 0


def test_it_is_seen_and_is_no_worker(clocked: Program, cli: Cli) -> None:
    process = clocked.start("scheduler")
    wait_for_more(cli)
    (row,) = cli("workers", "list", "--json").json["workers"]
    assert (row["state"], row["slots"], row["functions"]) == ("scheduling", 0, [])
    assert row["id"].startswith("scheduler-")
    checks = cli("doctor", "--json").json["checks"]
    queue = next(check for check in checks if check["topic"] == "queue default")
    assert queue["text"].endswith("jobs and no live worker")
    health = cli("health")
    assert health.code == 1
    assert "no live worker that takes" in health.out
    (name, *_) = made(cli)
    assert "no live worker serves the queue default" in cli("explain", name).out
    assert 'jobs_queue_workers{queue="default"} 0' in cli("metrics", "--prometheus").out
    stopped = cli("workers", "stop", row["id"])
    assert stopped.code == 0
    process.communicate(timeout=15)
    assert process.returncode == 0


def test_what_it_cannot_do_is_passed_over(clocked: Program, cli: Cli, ask: Ask) -> None:
    """It has no slots to change, and may be told nonsense."""
    process = clocked.start("scheduler")
    wait_for_more(cli)

    async def tell(client: Client) -> None:
        channel = "jobs:{default}:control"
        for wish in (Wish.quiet, Wish.resume):
            await send_command(client, channel, Command("*", wish, {}))
        await client.publish(channel, b"\xff\xff no json")

    ask(tell)
    wait_for_more(cli)
    assert end(process) == 0


def test_a_change_is_heard_at_once(clocked: Program, cli: Cli) -> None:
    process = clocked.start("scheduler")
    wait_for_more(cli)
    assert (
        cli("schedules", "add", "late", "add", "--every", "100ms", "--data", '{"a": 1}').code == 0
    )
    wait_until_sync(
        lambda: any(job["id"].startswith("late:") for job in jobs(cli)),
        description="the new schedule makes jobs",
        timeout=5,
    )
    assert cli("schedules", "pause", "tick").code == 0
    assert end(process) == 0


def test_only_some_queues(clocked: Program, cli: Cli) -> None:
    """Schedules of code are made wherever they belong; stored ones only there."""
    process = clocked.start("scheduler", "--queues", "email")
    wait_for_more(cli)
    (row,) = cli("workers", "list", "--json").json["workers"]
    assert list(row["queues"]) == ["email"]
    assert end(process) == 0
    unknown = clocked("scheduler", "--queues", "emial")
    assert unknown.code == 4
    assert "did you mean 'email'?" in unknown.err


def test_a_worker_without_scheduler_makes_no_jobs(clocked: Program, cli: Cli) -> None:
    done = clocked("worker", "--burst", "--no-scheduler", "--app", "settings:Working")
    assert done.code == 0
    assert cli("schedules", "list", "-q").out == ""
    with_it = clocked("worker", "--burst", "--app", "settings:Working")
    assert with_it.code == 0
    assert cli("schedules", "list", "-q").out == "tick\n"
    assert "--no-scheduler" in clocked("worker", "--help").out


def test_a_worker_of_one_queue_fires_the_cron_jobs_of_another(clocked: Program, cli: Cli) -> None:
    process = clocked.start("worker", "--queues", "email", "--app", "settings:Elsewhere")
    wait_until_sync(
        lambda: any(job["function"] == "cron:plain" for job in jobs(cli)),
        description="the cron job is made",
        timeout=20,
    )
    assert end(process) == 0
    assert "Traceback" not in clocked.errors()


def test_no_application_and_no_server(clocked: Program) -> None:
    assert clocked("scheduler", "--app", "nowhere").code == 2
    away = clocked("scheduler", "--redis", "redis://127.0.0.1:1")
    assert away.code == 3
    assert "Traceback" not in away.err
