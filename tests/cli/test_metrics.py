"""`metrics`: figures for people, for programs, and again and again."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pytest

from tests.cli.conftest import Cli, Program

Work = Callable[[], None]

SEED_001 = {"waiting", "active", "completed", "failed", "delayed", "avgProcessingTime"}


@pytest.fixture
def busy(cli: Cli, work: Work) -> None:
    cli("enqueue", "add", "1")
    cli("enqueue", "flaky")
    work()
    cli("enqueue", "add", "1")
    cli("enqueue", "add", "1", "--in", "1h")


@pytest.mark.usefixtures("busy")
def test_the_figures_as_json(cli: Cli) -> None:
    done = cli("metrics", "--json", "--queue", "default")
    (figures,) = done.json["queues"]
    assert figures.keys() >= SEED_001
    assert figures["queue"] == "default"
    assert [figures[name] for name in ("waiting", "active", "completed", "failed", "delayed")] == [
        1, 0, 1, 1, 1,
    ]  # fmt: skip
    assert (figures["retried"], figures["dead"]) == (1, 1)
    assert figures["avgProcessingTime"] == figures["run"]["average"]
    assert 0 <= figures["avgProcessingTime"] < 1000
    assert figures["run"]["count"] == 3
    assert done.err == ""


@pytest.mark.usefixtures("busy")
def test_the_figures_for_people(cli: Cli) -> None:
    header, *rows = cli("metrics").out.splitlines()
    assert header.startswith("QUEUE")
    (row,) = [row for row in rows if row.startswith("default")]
    assert row.split()[:8] == ["default", "1", "0", "1", "0", "1", "1", "1"]


def test_an_unused_server_has_the_queues_of_the_application(cli: Cli) -> None:
    queues = cli("metrics", "--json").json["queues"]
    assert [figures["queue"] for figures in queues] == ["default", "email", "slow"]
    assert {figures["avgProcessingTime"] for figures in queues} == {None}


def test_without_an_application(cli: Cli) -> None:
    """The server alone is enough; a missing application is no error here."""
    done = cli("metrics", "--json", "--app", "no_such_module:Settings")
    assert (done.code, done.json["queues"]) == (0, [])
    assert "without the application" in cli("metrics", "-v", "--app", "no_such_module:X").err


@pytest.mark.parametrize("watch", [["--watch", "50ms"], ["--watch=0.05"]])
def test_watching_writes_one_document_each_time(watch: list[str], program: Program) -> None:
    process = program.start("metrics", "--json", *watch)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert [json.loads(line)["schema"] for line in lines] == ["jobs/v1"] * 3
    assert process.returncode == 130
    assert "Traceback" not in program.errors()


def test_watching_without_a_time(program: Program) -> None:
    process = program.start("metrics", "--watch", "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["schema"] == "jobs/v1"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130


def test_a_watch_that_is_no_time(cli: Cli) -> None:
    done = cli("metrics", "--watch=often")
    assert (done.code, done.out) == (2, "")
