"""`dev`: everything in one command, found by the others."""

from __future__ import annotations

import json
import signal
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from jobs.embedded import EmbeddedServer
from tests.cli.conftest import Cli, Program
from tests.helpers.waiting import wait_until_sync


@pytest.fixture
def alone(program: Program, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A program, and a `cli`, for which no server is configured."""
    del program.environment["JOBS_REDIS_URL"]
    monkeypatch.delenv("JOBS_REDIS_URL")
    return program


def test_dev_starts_a_server_that_other_commands_find(alone: Program, cli: Cli, home: Path) -> None:
    dev = alone.start("dev")
    alone.wait_for("with 5 functions")
    published = json.loads((home / ".jobs/server.json").read_text())
    assert published["url"].startswith("redis://127.0.0.1:")
    assert cli("enqueue", "add", "1", "--wait-timeout", "10s").out == "3\n"
    rows = cli("config", "show", "--json").json["settings"]
    assert ("server", ".jobs/server.json") in {(row["name"], row["source"]) for row in rows}
    settings = (home / "settings.py").read_text()
    (home / "settings.py").write_text(settings.replace("a + b", "1000 + a + b"))
    wait_until_sync(
        lambda: alone.errors().count("with 5 functions") == 2,
        description="the worker was restarted",
        timeout=20,
    )
    assert cli("enqueue", "add", "1", "--wait-timeout", "10s").out == "1003\n"
    dev.send_signal(signal.SIGINT)
    dev.communicate(timeout=20)
    assert dev.returncode == 0
    assert not (home / ".jobs/server.json").exists()
    assert "arq-jobs enqueue add --help" in alone.errors()
    assert cli("metrics").code == 3


def test_dev_keeps_the_data(alone: Program, cli: Cli, home: Path) -> None:
    with EmbeddedServer(home / ".jobs/valkey") as server:
        cli("enqueue", "add", "1", "--id", "1", "--redis", server.url)
    done = alone("dev", "--burst")
    assert done.code == 0
    assert "embedded" in done.err
    with EmbeddedServer(home / ".jobs/valkey") as server:
        assert cli("wait", "1", "--redis", server.url).out == "3\n"


def test_dev_uses_the_configured_server(program: Program, cli: Cli, home: Path) -> None:
    cli("enqueue", "add", "1", "--id", "1")
    done = program("dev", "--burst")
    assert done.code == 0
    assert "using the configured server" in done.err
    assert not (home / ".jobs").exists()
    assert cli("wait", "1").out == "3\n"


@pytest.mark.parametrize("words", [["--demo"], ["--once"], ["--demo", "--once"]])
def test_the_demo_is_told_elsewhere(
    words: list[str], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, bool]] = []

    def run(app: str, *, once: bool) -> int:
        calls.append((app, once))
        return 1

    demo = types.ModuleType("jobs.demo")
    demo.run = run  # type: ignore[attr-defined]  # the module is made here
    monkeypatch.setitem(sys.modules, "jobs.demo", demo)
    assert cli("dev", *words).code == 1
    assert calls == [("tests.cli.sample_app:WorkerSettings", True)]
