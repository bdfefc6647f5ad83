"""What limits, turns, unique keys, schedules and event readers cost beside a plain queue."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks import drive
from benchmarks.model import Bars, Context, Failed, Figures, Section, Table
from benchmarks.notebook import Notebook, Task, at_least, shown
from benchmarks.server import Server
from jobs import Client
from jobs.options import EnqueueOptions

NOTE = (
    "This project alone: no-op jobs with 200-byte payloads, one worker process, concurrency 100. "
    "Each row is measured in the same repetitions as the plain one, and shown as a share of it. "
    "The limits are so wide that they never hold a job back: what is seen is the price of asking."
)
KEYS = 100
SCHEDULES = 50
#: Share of plain, in percent, that each row must reach.
LEAST = 75
PLAIN = "plain"
#: The same once more in each repetition: what its share is off 100 % is noise.
AGAIN = "plain_again"


@dataclass(frozen=True)
class Feature:
    """One row: how its jobs are enqueued, and what the workers and the server have to do."""

    title: str
    options: drive.Options | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)  #: see work_worker.limited
    beside: Callable[[Context, Server], AbstractContextManager[None]] = lambda *_: nullcontext()


def _keyed(number: int) -> EnqueueOptions:
    return {"key": f"k{number % KEYS}"}


def _unique(number: int) -> EnqueueOptions:
    return {"unique": f"u{number}"}


@contextmanager
def _event_reader(context: Context, server: Server) -> Iterator[None]:
    """Somebody follows the events of the queue, in a process of his own."""
    program = drive.program(context, "benchmarks.follower")
    reader = subprocess.Popen(
        [*program.argv, server.url],
        env={**os.environ, **program.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with reader:
        if reader.stdout is None or reader.stdout.readline() != b"ready\n":
            raise Failed("the reader of events did not begin")
        yield
        reader.communicate()


@contextmanager
def _schedules(context: Context, server: Server) -> Iterator[None]:
    """Schedules that fire each second, while the queue is drained."""
    del context

    async def store() -> None:
        async with Client.connect(server.url) as client:
            for number in range(SCHEDULES):
                await client.schedules.upsert(
                    f"s{number}", "noop", {"_payload": "x"}, every=1, queue=drive.QUEUE
                )

    asyncio.run(store())
    yield


FEATURES = {
    PLAIN: Feature("plain"),
    AGAIN: Feature("plain once more"),
    "queue_rate": Feature("rate of the queue", limits={"rate": "1000000/s"}),
    "function_rate": Feature("rate of a function", limits={"function": {"rate": "1000000/s"}}),
    "function_places": Feature("places of a function", limits={"function": {"concurrency": 10**6}}),
    "turns": Feature(f"fair turns of {KEYS} keys", options=_keyed),
    "key_places": Feature(
        f"places of {KEYS} keys",
        options=_keyed,
        limits={"queue": {"concurrency": 10**6, "per": "key"}},
    ),
    "key_rates": Feature(
        f"rates of {KEYS} keys",
        options=_keyed,
        limits={"queue": {"rate": "1000000/s", "per": "key"}},
    ),
    "unique": Feature("unique keys", options=_unique),
    "events": Feature("an event reader", beside=_event_reader),
    "schedules": Feature(f"{SCHEDULES} schedules, each second", beside=_schedules),
}
#: Rows whose jobs are enqueued in another way than plain ones.
ENQUEUED = (PLAIN, "turns", "unique", "events")

TARGETS = (
    *(
        at_least(f"drain, {feature.title}", f"{name}.drain_percent", LEAST, " % of plain")
        for name, feature in FEATURES.items()
        if name not in (PLAIN, AGAIN)
    ),
    *(
        at_least(
            f"enqueue, {FEATURES[name].title}", f"{name}.enqueue_percent", LEAST, " % of plain"
        )
        for name in ENQUEUED
        if name != PLAIN
    ),
)


def run(context: Context) -> Section:
    """Measure every row in `repeat` interleaved repetitions."""
    notebook = Notebook()
    with context.start_server() as server:
        bench = _Bench(context, server)
        notebook.run(context, bench.tasks() * context.repeat)
    return _section(notebook)


class _Bench:
    """The measurements of each row."""

    def __init__(self, context: Context, server: Server) -> None:
        self._context, self._server = context, server
        self._jobs = context.jobs(30_000)

    def tasks(self) -> list[Task]:
        """One repetition."""
        return [(feature.title, partial(self.measure, name)) for name, feature in FEATURES.items()]

    def measure(self, name: str) -> Figures:
        """Enqueue in bulk, then drain."""
        feature = FEATURES[name]
        self._server.flush()
        with feature.beside(self._context, self._server):
            began = time.perf_counter()
            drive.fill(self._server, drive.requests(self._jobs, options=feature.options))
            filled_s = time.perf_counter() - began
            drained = drive.drain(
                self._context, self._server, self._jobs, app="limited", settings=feature.limits
            )
        return {
            f"{name}.enqueue_per_s": self._jobs / filled_s,
            f"{name}.jobs_per_s": drained.jobs_per_s,
            f"{name}.server_cpu_us": drained.server_cpu_us,
            f"{name}.worker_cpu_us": drained.worker_cpu_us,
            f"{name}.commands": drained.commands,
        }


def _section(notebook: Notebook) -> Section:
    ratios = {}
    for name in FEATURES:
        for figure, percent in (("jobs_per_s", "drain"), ("enqueue_per_s", "enqueue")):
            share = notebook.percent(f"{name}.{figure}", f"{PLAIN}.{figure}")
            ratios[f"{name}.{percent}_percent"] = share
    return Section(
        name="features",
        title="Features in use",
        note=NOTE,
        tables=[_table(notebook)],
        plots=[_bars(notebook)],
        figures=notebook.figures(**ratios),
        caveats=notebook.caveats(),
        targets=TARGETS,
    )


def _table(notebook: Notebook) -> Table:
    rows = [
        (
            feature.title,
            shown(notebook.get(f"{name}.jobs_per_s")),
            shown(notebook.ratio(f"{name}.jobs_per_s", f"{PLAIN}.jobs_per_s"), ".0%"),
            shown(notebook.get(f"{name}.enqueue_per_s")),
            shown(notebook.ratio(f"{name}.enqueue_per_s", f"{PLAIN}.enqueue_per_s"), ".0%"),
            shown(notebook.get(f"{name}.commands"), ".1f"),
            shown(notebook.get(f"{name}.server_cpu_us"), ".1f"),
            shown(notebook.get(f"{name}.worker_cpu_us"), ".1f"),
        )
        for name, feature in FEATURES.items()
    ]
    columns = (
        "", "drain, jobs/s", "of plain", "enqueue in bulk, jobs/s", "of plain",
        "commands a job", "server CPU, µs a job", "worker CPU, µs a job",
    )  # fmt: skip
    return Table("With limits, turns, unique keys, schedules and event readers", columns, rows)


def _bars(notebook: Notebook) -> Bars:
    found = {
        feature.title: notebook.values.get(f"{name}.jobs_per_s")
        for name, feature in FEATURES.items()
    }
    known = {
        title: (sorted(values)[len(values) // 2], min(values), max(values))
        for title, values in found.items()
        if values
    }
    return Bars("features-drain.svg", "Drain with features in use", "jobs/s", known)
