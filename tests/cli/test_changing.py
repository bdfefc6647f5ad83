"""`retry`, `cancel`, `dlq`: what is done to jobs, and what is refused."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Program
from tests.helpers.waiting import wait_until_sync

Work = Callable[[], None]


@pytest.fixture
def dead(cli: Cli, work: Work) -> list[str]:
    """Three dead letters."""
    ids = ["d1", "d2", "d3"]
    for job_id in ids:
        cli("enqueue", "flaky", "--id", job_id)
    work()
    return ids


def states(cli: Cli) -> dict[str, str]:
    return {job["id"]: job["state"] for job in cli("list", "--json").json["jobs"]}


def test_a_failed_job_is_retried(dead: list[str], cli: Cli) -> None:
    done = cli("retry", "d1")
    assert (done.code, done.out) == (0, "d1\n")
    assert "d1 was failed, now waits again" in done.err
    assert states(cli) == {"d1": "waiting", "d2": "failed", "d3": "failed"}


def test_what_is_not_ended_is_not_retried(cli: Cli) -> None:
    cli("enqueue", "add", "1", "--id", "1")
    done = cli("retry", "1")
    assert (done.code, done.out) == (6, "")
    assert "it is waiting" in done.err


def test_some_of_several(dead: list[str], cli: Cli) -> None:
    done = cli("retry", "d1", "nobody", "--json")
    assert done.code == 5
    assert [job["done"] for job in done.json["jobs"]] == [True, False]
    assert cli("retry", "nobody").code == 4


@pytest.mark.parametrize("words", [["retry", "--all-failed"], ["dlq", "retry", "--all"]])
def test_all_need_a_yes_off_a_terminal(words: list[str], dead: list[str], cli: Cli) -> None:
    done = cli(*words)
    assert (done.code, done.out) == (6, "")
    assert "--yes" in done.err
    assert set(states(cli).values()) == {"failed"}
    shown = cli(*words, "--dry-run")
    assert (shown.code, sorted(shown.out.split())) == (0, dead)
    assert set(states(cli).values()) == {"failed"}
    done = cli(*words, "--yes", "--json")
    assert done.code == 0
    assert sorted(done.json["retried"]) == dead
    assert set(states(cli).values()) == {"waiting"}


@pytest.mark.parametrize(
    "words", [["retry"], ["retry", "d1", "--all-failed"], ["dlq", "retry"], ["cancel"]]
)
def test_which_jobs_must_be_said(words: list[str], cli: Cli) -> None:
    done = cli(*words)
    assert (done.code, done.out) == (2, "")


def test_a_waiting_job_is_cancelled(cli: Cli) -> None:
    cli("enqueue", "add", "1", "--id", "1")
    assert cli("cancel", "1", "--reason", "superseded").code == 0
    job = cli("show", "1", "--json").json["job"]
    assert job["state"] == "cancelled"
    assert job["history"][-1]["reason"] == "superseded"
    assert cli("cancel", "1").code == 6


def test_a_running_job_is_asked_to_stop(program: Program, cli: Cli, home: Path) -> None:
    cli("enqueue", "sleep", "--seconds", "30", "--mark", "m", "--id", "1")
    program.start("worker", "--queues", "slow")
    wait_until_sync((home / "m.began").exists, description="the job runs", timeout=15)
    done = cli("cancel", "1", "--reason", "superseded")
    assert done.code == 0
    assert "its worker was asked to stop it" in done.err
    assert cli("wait", "1", "--timeout", "15s").code == 1
    assert states(cli) == {"1": "cancelled"}


# -- dead letters ---------------------------------------------------------------------------------


def test_dead_letters_are_listed(dead: list[str], cli: Cli) -> None:
    done = cli("dlq", "list")
    assert done.code == 0
    assert all(job_id in done.out for job_id in dead)
    assert "3 x flaky: RuntimeError" in done.err
    assert sorted(job["id"] for job in cli("dlq", "list", "--json").json["jobs"]) == dead
    assert len(cli("dlq", "list", "-q", "--limit", "1").out.split()) == 1
    assert cli("dlq", "list", "-q", "--name", "email").out == ""


def test_no_dead_letters(cli: Cli) -> None:
    done = cli("dlq", "list")
    assert (done.code, done.out, done.err) == (0, "", "no dead letters\n")
    assert cli("dlq", "retry", "--all", "--yes").code == 0


def test_a_dead_letter_is_shown(dead: list[str], cli: Cli) -> None:
    assert "RuntimeError: boom" in cli("dlq", "show", "d1").out
    cli("retry", "d1")
    done = cli("dlq", "show", "d1")
    assert done.code == 6
    assert "it is waiting" in done.err
    assert cli("dlq", "show", "nobody").code == 4


def test_named_dead_letters_are_retried(dead: list[str], cli: Cli, work: Work) -> None:
    assert cli("dlq", "retry", "d1", "d3").code == 0
    assert states(cli) == {"d1": "waiting", "d2": "failed", "d3": "waiting"}
    work()
    assert set(states(cli).values()) == {"failed"}
    assert len(cli("show", "d1", "--json").json["job"]["history"]) == 4
    assert cli("dlq", "retry", "nobody").code == 4
    assert cli("dlq", "retry", "d1", "nobody").code == 5


@pytest.mark.parametrize(("answer", "code", "state"), [("y", 0, "waiting"), ("n", 6, "failed")])
def test_a_terminal_is_asked(
    answer: str, code: int, state: str, dead: list[str], cli: Cli, program: Program
) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", "dlq", "retry", "--all"],
        cwd=program.home,
        env=program.environment | {"TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    told = b""
    while b"[y/N]" not in told:
        told += os.read(ours, 1024)
    os.write(ours, answer.encode() + b"\n")
    try:
        while chunk := os.read(ours, 1024):
            told += chunk
    except OSError:
        pass  # the terminal closes with the program
    assert process.wait(30) == code
    os.close(ours)
    assert b"retry 3 failed jobs?" in told
    assert set(states(cli).values()) == {state}
