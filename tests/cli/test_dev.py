"""`dev`: everything in one command, found by the others."""

from __future__ import annotations

import json
import signal
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Program


@pytest.fixture
def alone(program: Program) -> Program:
    """A program for which no server is configured."""
    del program.environment["JOBS_REDIS_URL"]
    return program


def test_dev_starts_a_server_that_other_commands_find(alone: Program, home: Path) -> None:
    dev = alone.start("dev")
    told = alone.told
    alone.wait_for("with 5 functions")
    published = json.loads((home / ".jobs/server.json").read_text())
    assert published["url"].startswith("redis://127.0.0.1:")
    assert alone("enqueue", "add", "1", "--wait-timeout", "10s").out == "3\n"
    source = {row["name"]: row["source"] for row in alone("config", "show", "--json").json["settings"]}
    assert source["server"] == ".jobs/server.json"
    settings = (home / "settings.py").read_text()
    (home / "settings.py").write_text(settings.replace("a + b", "1000 + a + b"))
    while "settings.py changed" not in told.read_text():
        pass
    assert alone("enqueue", "add", "1", "--wait-timeout", "15s").out in {"3\n", "1003\n"}
    dev.send_signal(signal.SIGINT)
    dev.communicate(timeout=20)
    assert dev.returncode == 0
    assert not (home / ".jobs/server.json").exists()
    assert "arq-jobs enqueue add --help" in told.read_text()
    assert alone("metrics").code == 3


def test_dev_keeps_the_data(alone: Program) -> None:
    for _ in range(2):
        done = alone("dev", "--burst")
        assert done.code == 0
        assert "embedded" in done.err
    assert "persistence" not in done.err


def test_dev_uses_the_configured_server(program: Program, home: Path) -> None:
    program("enqueue", "add", "1", "--id", "1")
    done = program("dev", "--burst")
    assert done.code == 0
    assert "using the configured server" in done.err
    assert not (home / ".jobs").exists()
    assert program("wait", "1").out == "3\n"


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
