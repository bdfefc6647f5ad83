"""What a worker tells of itself in the registry of each of its queues."""

from __future__ import annotations

import logging
import os
import platform
import socket
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import redis

from jobs import clock
from jobs.engine.loop_watch import LoopWatch
from jobs.engine.producer import Producer
from jobs.keys import QueueKeys
from jobs.store import workers

logger = logging.getLogger("jobs.worker")

#: Running jobs that a heartbeat names.
MOST_JOBS = 20
DISTRIBUTION = "arq-jobs"


class Mode(StrEnum):
    """What a worker does about new jobs."""

    taking = "taking"
    quiet = "quiet"
    stopping = "stopping"


def who(
    functions: Iterable[str], queues: Sequence[str], server: str, stale_ms: int
) -> dict[str, Any]:
    """What a process tells of itself that stays the same; see `Presence`."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started_ms": clock.now_ms(),
        "versions": {
            "jobs": _own_version(),
            "python": platform.python_version(),
            "server": server,
        },
        "functions": sorted(functions),
        "queues": list(queues),
        "stale_ms": stale_ms,
    }


class Presence:
    """Duties: 1. describe the worker for its heartbeats; 2. keep it in the registry, and say by
    what it is blocked, while its event loop does not run.

    Args:
        worker: its id.
        producers: by the names of their queues, with the queues' `keys`.
        watch: knows how late the loop is.
        functions: the names of what the worker can run.
        fallbacks: the queues of which it runs every job.
        server: kind and version of the server.
        stale_ms: the worker counts as dead when it was not heard of for so long.
    """

    def __init__(  # noqa: PLR0913 -- all that there is to tell
        self,
        worker: str,
        producers: Mapping[str, Producer],
        keys: Mapping[str, QueueKeys],
        watch: LoopWatch,
        *,
        functions: Iterable[str],
        fallbacks: Collection[str],
        server: str,
        stale_ms: int,
    ) -> None:
        self._worker = worker
        self._producers, self._keys, self._watch = producers, keys, watch
        self._fallbacks = fallbacks
        self._stale_ms = stale_ms
        self._lag_ms = 0
        self._told: dict[str, dict[str, Any]] = {}
        self.mode = Mode.taking
        self._fixed = who(functions, list(keys), server, stale_ms)

    def describe(self, queue: str) -> dict[str, Any]:
        """The worker at one of its queues, now; see `WorkerInfo`."""
        if queue == self._fixed["queues"][0]:  # a new round of heartbeats
            self._lag_ms = self._watch.take_worst_ms()
        producer = self._producers[queue]
        runs = producer.slots.runs.values()
        now_ms, now_s = clock.now_ms(), clock.mono()
        begun = (run for run in runs if run.task is not None)
        self._told[queue] = data = self._fixed | {
            "fallback": queue in self._fallbacks,
            "running": len(runs),
            "jobs": [
                {
                    "id": run.job_id,
                    "function": run.function,
                    "attempt": run.attempt,
                    "since_ms": now_ms - round((now_s - run.started_s) * 1000),
                }
                for run in islice(begun, MOST_JOBS)
            ],
            "concurrency": producer.station.concurrency,
            "taking": producer.taking,
            "state": self.mode,
            "lag_ms": self._lag_ms,
            "rss": resident_bytes(),
            "blocked": self._blocked(),
            "stuck": False,
        }
        return data

    def beat_while_blocked(self, client: redis.Redis) -> None:
        """Heartbeats from the lease thread: what was told last, and what blocks the loop now."""
        now = {"lag_ms": self._watch.take_worst_ms(), "blocked": self._blocked(), "stuck": True}
        for name, data in list(self._told.items()):
            workers.beat_from_thread(
                client, self._keys[name], self._worker, data | now, self._stale_ms
            )

    def _blocked(self) -> dict[str, Any] | None:
        last = self._watch.last
        return asdict(last) if last else None


def resident_bytes() -> int:
    """Memory of this process that is not swapped out; where the system does not say, the most
    that it ever was.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        import resource  # not on every system

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def _own_version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "dev"
