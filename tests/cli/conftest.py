"""The command line in this process (fast) and in a process of its own (real)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs import Client, JobFunction, RedisSettings, Worker, registry
from jobs.cli.run import run
from tests.cli import sample_app
from tests.helpers.source import ROOT
from tests.helpers.waiting import wait_until_sync

SAMPLE = "tests.cli.sample_app:WorkerSettings"


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        document = json.loads(self.out)
        assert document["schema"] == "jobs/v1"
        return document


Cli = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder as the current one, and an environment that says nothing."""
    for name in [n for n in os.environ if n.startswith(("JOBS_", "REDIS_"))]:
        monkeypatch.delenv(name)
    for name in ("FORCE_COLOR", "NO_COLOR", "CLICOLOR", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    # The catalog has functions of the same names, and whichever was imported last would be found.
    given = [f for f in sample_app.WorkerSettings.functions if isinstance(f, JobFunction)]
    sample = {function.name: function.function for function in given}
    monkeypatch.setattr(registry, "functions", registry.functions | sample)
    monkeypatch.setattr(logging.getLogger(), "handlers", logging.getLogger().handlers[:])
    level = logging.getLogger("jobs").level
    yield tmp_path
    logging.getLogger("jobs").setLevel(level)
    for name, module in list(sys.modules.items()):  # another test may write a file of that name
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def cli(
    home: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Cli:
    """`cli("metrics", "--json")` runs a command of the sample application in this process."""
    monkeypatch.setenv("JOBS_APP", SAMPLE)
    monkeypatch.setenv("JOBS_REDIS_URL", redis_url)

    def call(*words: str) -> Result:
        capsys.readouterr()
        code = run(words)
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture
def program(home: Path, redis_url: str) -> Iterator[Program]:
    """The real program: `program("metrics")` waits for its end, `program.start(…)` does not.

    Its folder has the sample application as settings.py.
    """
    shutil.copy(sample_app.__file__, home / "settings.py")
    made = Program(home, {"JOBS_REDIS_URL": redis_url})
    yield made
    made.end_all()


class Program:
    """Runs `python -m jobs` in a folder."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self.started: list[subprocess.Popen[str]] = []
        self.told = home / "stderr"

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Start it in a session of its own."""
        self.told = self.home / f"stderr{len(self.started)}"
        with self.told.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "jobs", *words],
                cwd=self.home,
                env=self.environment | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def __call__(self, *words: str, given: str = "", **environment: str) -> Result:
        process = self.start(*words, **environment)
        told = self.told
        out, _ = process.communicate(given, timeout=50)
        return Result(process.returncode, out, told.read_text())

    def errors(self) -> str:
        """What was written to standard error by the last one started."""
        return self.told.read_text()

    def wait_for(self, text: str) -> None:
        """Wait until standard error has this text."""
        wait_until_sync(lambda: text in self.errors(), description=f"{text!r} is told")

    def end_all(self) -> None:
        """Kill what still runs; collect everything."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def work(redis_url: str) -> Callable[[], None]:
    """Run every job of the sample application that can run now."""

    async def burst() -> None:
        worker = Worker(
            sample_app.WorkerSettings.functions,
            redis_settings=RedisSettings.from_dsn(redis_url),
            burst=True,
            handle_signals=False,
            max_tries=2,
        )
        try:
            await worker.async_run()
        finally:
            await worker.close()

    return lambda: asyncio.run(burst())


#: What `ask` takes: something to await with a client.
Ask = Callable[[Callable[[Client], Any]], Any]


@pytest.fixture
def ask(redis_url: str) -> Ask:
    """Ask the server something through a client, or have it do something."""

    def run(work: Callable[[Client], Any]) -> Any:
        async def main() -> Any:
            async with Client.connect(redis_url) as client:
                return await work(client)

        return asyncio.run(main())

    return run
