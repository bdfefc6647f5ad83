"""A million jobs delayed to the same minute: none of the server's calls may take long over them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from benchmarks import drive, meter
from benchmarks.measure import watch
from benchmarks.model import Context, Figures, Table
from benchmarks.notebook import Notebook, Task, shown
from benchmarks.server import Server
from jobs import Request
from jobs.options import EnqueueOptions

JOBS = 1_000_000
DRAINED_SHARE = 0.2
"""As much of them is run after the minute has come: it shows how fast they become waiting ones."""

LIMIT_US = 10_000
LOGGED_US = 2_000
"""Calls from here on are in the slow log, so that the longest one is known although it is short."""

LOG_LENGTH = 50_000
SAMPLE = 5_000


class SlowCall(NamedTuple):
    """One line of the server's slow log."""

    us: int
    command: str


def tasks(context: Context, server: Server) -> list[Task]:
    """The one measurement of this module."""
    number = context.jobs(JOBS)
    return [(f"{number:,} jobs due in one minute", lambda: measure(context, server, number))]


def measure(context: Context, server: Server, number: int) -> Figures:
    """Fill, wait for the minute, run a part, and read the slow log."""
    server.flush()
    wait_s = 3 + 1.5 * _fill_seconds(server) * number / SAMPLE
    _open_slow_log(server)
    due = datetime.now(UTC) + timedelta(seconds=wait_s)
    options: EnqueueOptions = {"run_at": due}
    began = time.monotonic()
    drive.fill(server, drive.requests(number, options=lambda _: options))
    filled_s = time.monotonic() - began
    jobs = int(number * DRAINED_SHARE)
    jobs_per_s = _drain_when_due(context, server, due, jobs)
    calls = list(slow_calls(server))
    longest = max(calls, default=SlowCall(LOGGED_US, ""))
    return {
        "minute.jobs": float(number),
        "minute.filled_per_s": number / filled_s,
        "minute.jobs_per_s": jobs_per_s,
        "minute.longest_ms": longest.us / 1000,
        "minute.calls_over_10_ms": float(sum(call.us > LIMIT_US for call in calls)),
    }


def _fill_seconds(server: Server) -> float:
    """How long a small fill takes, to choose a minute that comes when the big one is done."""
    later: EnqueueOptions = {"delay": "1d"}
    wanted: Iterator[Request] = drive.requests(SAMPLE, options=lambda _: later)
    began = time.monotonic()
    drive.fill(server, wanted)
    server.flush()
    return time.monotonic() - began


def _drain_when_due(context: Context, server: Server, due: datetime, jobs: int) -> float:
    with drive.crew(context, server) as made:
        time.sleep(max((due - datetime.now(UTC)).total_seconds() - 1, 0))
        meter.go(made, jobs)
        watch(made, jobs)
        return drive.rate(made, jobs, meter.Cell.mark)


def _open_slow_log(server: Server) -> None:
    server.command("CONFIG", "SET", "slowlog-log-slower-than", LOGGED_US)
    server.command("CONFIG", "SET", "slowlog-max-len", LOG_LENGTH)
    server.command("SLOWLOG", "RESET")


def slow_calls(server: Server) -> Iterator[SlowCall]:
    """The lines of the slow log, but for those of the bench itself."""
    for _, _, us, words, *_ in server.command("SLOWLOG", "GET", LOG_LENGTH):
        command = words[0].decode().upper()
        if command not in {"FLUSHALL", "MEMORY", "SCRIPT", "INFO"}:
            yield SlowCall(us, command)


def table(notebook: Notebook) -> Table:
    """What came out."""
    rows = [
        ("jobs delayed to one instant", shown(notebook.get("minute.jobs"))),
        ("enqueued, jobs/s", shown(notebook.get("minute.filled_per_s"))),
        ("drained from that instant on, jobs/s", shown(notebook.get("minute.jobs_per_s"))),
        ("longest call of the server, ms", shown(notebook.get("minute.longest_ms"), ".1f")),
        ("calls over 10 ms", shown(notebook.get("minute.calls_over_10_ms"))),
    ]
    return Table(
        "Jobs delayed to the same minute",
        ("", ""),
        rows,
        caption=f"From the server's slow log, set to log calls over {LOGGED_US / 1000:g} ms.",
    )
