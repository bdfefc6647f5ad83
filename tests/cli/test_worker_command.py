"""`worker`: real processes, from start to drain."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Program
from tests.helpers.waiting import wait_until_sync


def test_a_burst_runs_what_there_is_and_ends(program: Program, cli: Cli) -> None:
    cli("enqueue", "add", "1", "--id", "1")
    cli("enqueue", "flaky", "--id", "2")
    done = program("worker", "--burst")
    assert (done.code, done.out) == (0, "")
    assert cli("wait", "1").out == "3\n"
    assert cli("wait", "2").code == 1


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_jobs_finish(
    signum: signal.Signals, program: Program, cli: Cli, home: Path
) -> None:
    cli("enqueue", "sleep", "--seconds", "0.5", "--mark", "m", "--id", "1")
    worker = program.start("worker")
    wait_until_sync((home / "m.began").exists, description="the job runs", timeout=15)
    worker.send_signal(signum)
    worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert (home / "m.ended").exists()
    assert "Traceback" not in program.errors()
    assert cli("wait", "1").out == "m\n"


def test_only_some_queues_are_served(program: Program, cli: Cli) -> None:
    """A job of a function that belongs to another queue is run too, not parked."""
    cli("enqueue", "add", "1", "--id", "1")
    cli("enqueue", "add", "2", "--id", "2", "--queue", "email")
    done = program("worker", "--burst", "--queues", "email")
    assert done.code == 0
    jobs = {job["id"]: job["state"] for job in cli("list", "--json").json["jobs"]}
    assert jobs == {"1": "waiting", "2": "completed"}
    unknown = program("worker", "--burst", "--queues", "emial")
    assert unknown.code == 4
    assert "did you mean 'email'?" in unknown.err


def test_logs_are_json_off_a_terminal(program: Program, cli: Cli) -> None:
    cli("enqueue", "add", "1", "--id", "1")
    done = program("worker", "--burst", "-c", "3")
    assert '"job_id": "1"' in done.err
    quiet = program("worker", "--burst", "-q")
    assert '"INFO"' not in quiet.err


def test_several_processes_share_the_work(program: Program, cli: Cli, home: Path) -> None:
    for mark in ("a", "b"):
        cli("enqueue", "sleep", "--seconds", "0.2", "--mark", mark, "--id", mark)
    done = program("worker", "--burst", "--processes", "2")
    assert done.code == 0
    assert done.err.count("started: process") == 2
    assert (home / "a.ended").exists()
    assert (home / "b.ended").exists()


def test_several_processes_end_with_a_signal(program: Program, cli: Cli) -> None:
    parent = program.start("worker", "--processes", "2")
    wait_until_sync(
        lambda: program.errors().count("with 5 functions") == 2,
        description="both workers run",
        timeout=20,
    )
    parent.send_signal(signal.SIGTERM)
    parent.communicate(timeout=30)
    assert parent.returncode == 0
    assert cli("doctor", "--json").code == 0


def test_a_wrong_configuration_ends_all_processes(program: Program, home: Path) -> None:
    (home / "settings.py").write_text("raise RuntimeError('no configuration')\n")
    done = program("worker", "--processes", "2")
    assert done.code == 2
    assert "no configuration" in done.err
    assert "Traceback" not in done.err


def test_workers_end_with_a_killed_parent(program: Program) -> None:
    parent = program.start("worker", "--processes", "2")
    wait_until_sync(
        lambda: program.errors().count("with 5 functions") == 2,
        description="both workers run",
        timeout=20,
    )
    parent.kill()
    parent.communicate()
    wait_until_sync(
        lambda: program.errors().count("the supervisor is gone") == 2,
        description="both workers notice",
        timeout=15,
    )
    wait_until_sync(lambda: not _running(program.home), description="no worker is left", timeout=15)


def test_a_change_restarts_the_worker(program: Program, cli: Cli, home: Path) -> None:
    """First broken code that waits for its repair, then the repaired code runs the job."""
    settings = (home / "settings.py").read_text()
    cli("enqueue", "add", "1", "--id", "1")
    (home / "settings.py").write_text("broken =\n")
    parent = program.start("worker", "--watch", ".")
    program.wait_for("waiting for a change")
    (home / "settings.py").write_text(settings.replace("a + b", "1000 + a + b"))
    program.wait_for("settings.py changed: restarting")
    told = program.told
    assert cli("wait", "1", "--timeout", "15s").out == "1003\n"
    parent.send_signal(signal.SIGINT)
    parent.communicate(timeout=30)
    assert parent.returncode == 0
    assert "Traceback" not in told.read_text()


def test_a_folder_to_watch_must_be_there(program: Program) -> None:
    done = program("worker", "--watch", "nowhere")
    assert done.code == 2
    assert "no folder 'nowhere'" in done.err


def _running(home: Path) -> list[int]:
    """Processes whose current folder is the test's own."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").resolve() == home.resolve():
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]
