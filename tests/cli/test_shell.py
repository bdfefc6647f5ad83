"""`shell-init`: its output run by real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.helpers.source import ROOT


@pytest.fixture
def path(home: Path) -> str:
    """A PATH on which this source tree is installed under both names."""
    scripts = home / "bin"
    scripts.mkdir()
    for name in ("jobs", "arq-jobs"):
        code = "from jobs.cli import main\nmain()\n"
        (scripts / name).write_text(f"#!{sys.executable}\n{code}")
        (scripts / name).chmod(0o755)
    return f"{scripts}:{os.environ['PATH']}"


def shell(name: str, script: str, path: str) -> subprocess.CompletedProcess[str]:
    flags = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[name]
    return subprocess.run(
        [name, *flags, "-c", script],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


def test_without_it_the_builtin_wins(path: str) -> None:
    done = shell("bash", "jobs version", path)
    assert done.returncode != 0
    assert "no such job" in done.stderr


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_jobs_is_the_program_and_the_builtin(name: str, path: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"no {name} on PATH")
    start = (
        "arq-jobs shell-init fish | source"
        if name == "fish"
        else (f'eval "$(arq-jobs shell-init {name})"')
    )
    done = shell(name, f"{start}; jobs version -q; sleep 9 & jobs; kill %1", path)
    version, *listed = done.stdout.splitlines()
    assert version
    assert any("sleep" in line for line in listed), done.stdout + done.stderr
    done = shell(name, f"{start}; jobs help exit-codes; jobs nonsense", path)
    assert "124  timed out" in done.stdout
    assert done.returncode == 2


def test_an_unknown_shell(cli: Cli) -> None:
    done = cli("shell-init", "tcsh")
    assert done.code == 2
    assert "bash" in done.err
