"""Worker processes that a test starts, stops, kills and freezes; each has a log of its own."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.helpers.ledger import Ledger
from tests.helpers.source import ROOT
from tests.helpers.waiting import wait_until_sync

logger = logging.getLogger("tests.workers")

APP = "tests.faults.app"
QUEUE = "faults"
LEASE_S = 2.0
START_S = 20.0
"""How long a process may need until it works; a busy machine imports slowly."""

LOG_TAIL = 60


class WorkerProcess:
    """One `jobs.Worker` in a process of its own.

    Args:
        url: the server.
        ledger: where its jobs write what they do.
        log: the file that takes its output; begun anew by nobody, so a restart appends.
        settings: for tests/faults/app.py: `app` (which functions), `concurrency`, `grace`,
            `lease`, `attempts` …
    """

    def __init__(self, url: str, ledger: Ledger, log: Path, settings: dict[str, Any]) -> None:
        self.ledger = ledger
        self.log_path = log
        self._noted = False
        arguments = json.dumps({"lease": LEASE_S, "ledger": str(ledger.path), **settings})
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", APP, arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=os.environ | {"JOBS_REDIS_URL": url, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code; `None` while it runs, negative for the signal that ended it."""
        return self._process.poll()

    @property
    def log(self) -> str:
        """Everything that it wrote."""
        return self.log_path.read_text(errors="replace")

    def started(self) -> bool:
        """Whether it claims jobs; fails at once if it ended instead."""
        assert self.returncode is None, f"ended with {self.returncode} before it worked:\n{self}"
        return any(e.kind == "up" and e.pid == self.pid for e in self.ledger.read())

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, written to the ledger after the process is gone."""
        self.send(signal.SIGKILL)
        self._process.wait()
        self.note_end()

    def note_end(self) -> bool:
        """Whether this process has ended by itself, as a killed one does, and is news."""
        if self._process.poll() is None or self._noted:
            return False
        self._noted = True
        self.ledger.note("kill", "-", pid=self.pid)
        return True

    def freeze(self) -> None:
        """SIGSTOP: nothing runs in it any more, its connections stay."""
        self.send(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        """SIGCONT."""
        self.send(signal.SIGCONT)

    def wait(self, timeout_s: float = 15.0) -> int:
        """Wait for its end; the exit code."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"process {self.pid} did not end in {timeout_s} s") from None

    def stop(self, timeout_s: float = 15.0) -> int:
        """SIGTERM, then wait for the end; the exit code."""
        self.send(signal.SIGTERM)
        return self.wait(timeout_s)

    def end(self) -> None:
        """Make sure that it is gone."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def __str__(self) -> str:
        tail = self.log.splitlines()[-LOG_TAIL:]
        return "\n".join([f"--- {self.log_path.name} (pid {self.pid}, {self.returncode})", *tail])


class Crew:
    """All worker processes of one test, with their ledger.

    Args:
        url: the server, or a proxy in front of it.
        folder: for the ledger and the logs.
        settings: what every process gets unless its own settings say otherwise.
    """

    def __init__(self, url: str, folder: Path, **settings: Any) -> None:
        self.url = url
        self.ledger = Ledger(folder / "ledger")
        self.workers: list[WorkerProcess] = []
        self._folder = folder
        self._settings = settings

    def start(
        self, *, url: str | None = None, ready: bool = True, **settings: Any
    ) -> WorkerProcess:
        """Start one process; by default return when it works."""
        return self.start_many(1, url=url, ready=ready, **settings)[0]

    def start_many(
        self, number: int, *, url: str | None = None, ready: bool = True, **settings: Any
    ) -> list[WorkerProcess]:
        """Start some processes at once; by default return when all work."""
        new = [self._one(url or self.url, settings) for _ in range(number)]
        if ready:
            self.wait_ready(*new)
        return new

    def _one(self, url: str, settings: dict[str, Any]) -> WorkerProcess:
        log = self._folder / f"worker-{len(self.workers)}.log"
        worker = WorkerProcess(url, self.ledger, log, self._settings | settings)
        self.workers.append(worker)
        return worker

    def wait_ready(self, *workers: WorkerProcess) -> None:
        """Wait until these processes work."""
        for worker in workers:
            wait_until_sync(
                worker.started, description="the worker works", timeout=START_S, poll=0.02
            )

    def alive(self) -> list[WorkerProcess]:
        """Those that have not ended."""
        return [worker for worker in self.workers if worker.returncode is None]

    def stop_all(self) -> list[int]:
        """SIGTERM to every living process; all exit codes."""
        alive = self.alive()
        for worker in alive:
            worker.send(signal.SIGTERM)
        return [worker.wait() for worker in alive]

    def end(self) -> None:
        """Make sure that all are gone."""
        for worker in self.workers:
            worker.end()
        self.ledger.close()


@contextmanager
def crew(url: str, folder: Path, **settings: Any) -> Iterator[Crew]:
    """A crew, ended with the block; its logs go to the log that pytest shows of a failed test."""
    made = Crew(url, folder, **settings)
    try:
        yield made
    finally:
        made.end()
        for worker in made.workers:
            logger.warning("%s", worker)
