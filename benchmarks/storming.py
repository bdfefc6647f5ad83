"""Workers and producers that are killed at random moments, and started again."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks import drive, meter
from benchmarks.ledger import Ledger
from benchmarks.model import Context, Failed
from benchmarks.processes import Crew, Program
from benchmarks.server import Server

LEASE_S = 5
#: A job that was under way at so many kills would be failed as poison; here the kills are ours.
MOST_DELIVERIES = 50
PAUSE_S = (0.1, 0.5)
WORKER_SHARE = 0.7  # of the kills; the others hit producers
SETTLE_LIMIT_S = 120.0
CALM_S = 0.3  # a queue counts as empty when it was so long


@dataclass(frozen=True)
class Weather:
    """One run: how many jobs, by whom, and how many kills."""

    jobs: int
    kills: int
    seed: int
    workers: int = 3
    producers: int = 2
    concurrency: int = 50


class Storm:
    """Duties: 1. keep workers and producers running; 2. kill one of them now and then; 3. wait
    until the queue is empty and every producer was told that its jobs are queued.

    A worker that takes the place of a dead one was started before and has only waited: in a run
    of seconds, starting interpreters would leave little time for anything else.
    """

    def __init__(self, context: Context, server: Server, weather: Weather, path: Path) -> None:
        self._context, self._server, self._weather = context, server, weather
        self._path = path
        self._random = Random(weather.seed)
        self._ledger = Ledger(path)
        self._producers: dict[str, subprocess.Popen[bytes]] = {}
        self._working: list[int] = []
        self._next = 0

    def run(self) -> None:
        """The whole run; the ledger tells what happened.

        Raises:
            Failed: the queue did not become empty.
        """
        weather = self._weather
        workers = round(weather.kills * WORKER_SHARE)
        victims = [True] * workers + [False] * (weather.kills - workers)
        self._random.shuffle(victims)
        with self._crew(weather.workers + workers) as crew:
            try:
                for number in range(weather.producers):
                    self._produce(f"p{number}")
                for _ in range(weather.workers):
                    self._work(crew)
                for is_worker in victims:
                    self._await_work()
                    time.sleep(self._random.uniform(*PAUSE_S))
                    self._kill_worker(crew) if is_worker else self._kill_producer()
                self._settle()
            finally:
                self._end()

    # -- processes -----------------------------------------------------------------------------

    def _crew(self, processes: int) -> AbstractContextManager[Crew]:
        settings = {
            "ledger": str(self._path.resolve()),
            "lease": LEASE_S,
            "max_deliveries": MOST_DELIVERIES,
        }
        return drive.crew(
            self._context,
            self._server,
            "storm",
            processes=processes,
            concurrency=self._weather.concurrency,
            settings=settings,
        )

    def _work(self, crew: Crew) -> None:
        """Let the next worker begin."""
        slot = self._next
        self._next += 1
        self._working.append(slot)
        meter.go_one(crew, slot)

    def _produce(self, name: str) -> None:
        made: Program = drive.program(self._context, "benchmarks.safety_producer")
        jobs = self._weather.jobs // self._weather.producers
        words = ["--url", self._server.url, "--ledger", str(self._path.resolve())]
        self._producers[name] = subprocess.Popen(
            [*made.argv, *words, "--prefix", name, "--jobs", str(jobs)],
            env={**os.environ, **made.environ},
            stdin=subprocess.DEVNULL,
        )

    def _kill_worker(self, crew: Crew) -> None:
        slot = self._random.choice(self._working)
        self._working.remove(slot)
        self._kill(crew.processes[slot])
        self._work(crew)

    def _kill_producer(self) -> None:
        """One that is not done yet; it goes on where the ledger ends."""
        busy = [name for name, made in self._producers.items() if made.poll() is None]
        if busy:
            victim = self._random.choice(busy)
            self._kill(self._producers[victim])
            self._produce(victim)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        self._ledger.note("kill", "-", pid=process.pid)

    def _end(self) -> None:
        for process in self._producers.values():
            process.kill()
            process.wait()
        self._ledger.close()

    # -- rest ----------------------------------------------------------------------------------

    def _await_work(self) -> None:
        """Kills hit workers that work, as long as there is anything left to do."""
        over_s = time.monotonic() + SETTLE_LIMIT_S
        while not drive.counted(self._server, "leases") and self._producing():
            if time.monotonic() > over_s:
                raise Failed(f"no job ran within {SETTLE_LIMIT_S:g} s")
            time.sleep(0.01)

    def _producing(self) -> bool:
        return any(made.poll() is None for made in self._producers.values())

    def _settle(self) -> None:
        over_s = time.monotonic() + SETTLE_LIMIT_S
        while self._producing() or not self._calm():
            if time.monotonic() > over_s:
                raise Failed(f"the queue was not empty {SETTLE_LIMIT_S:g} s after the last kill")
            time.sleep(0.05)
        codes = {made.returncode for made in self._producers.values()}
        if codes != {0}:
            raise Failed(f"producers ended with {codes}")

    def _calm(self) -> bool:
        if self._left():
            return False
        time.sleep(CALM_S)
        return not self._left()

    def _left(self) -> int:
        return sum(drive.counted(self._server, state) for state in ("ready", "later", "leases"))
