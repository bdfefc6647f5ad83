"""Drives this project's own workers and producers, for all but the comparison with the peers."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from benchmarks import meter
from benchmarks.environments import OURS, ROOT, Unavailable
from benchmarks.measure import SETTLE_S, cpu_us, watch
from benchmarks.meter import Cell
from benchmarks.model import Context, Failed
from benchmarks.processes import Crew, Load, Program, call, workers
from benchmarks.server import Server
from jobs import Client, Request
from jobs.keys import queue_keys
from jobs.options import EnqueueOptions
from jobs.store.show import minute_counters

QUEUE = "bench"
FILL_CHUNK = 5000
#: Commands that a worker sends itself; all others in INFO are called by scripts.
SENT = ("evalsha", "eval", "blpop", "publish")

#: Options of a job by its number in the queue.
Options = Callable[[int], EnqueueOptions]


def program(context: Context, module: str) -> Program:
    """A module of this package as a program, run by the environment of this project."""
    environment = context.environments.get(OURS)
    if environment is None or isinstance(environment, Unavailable):
        raise Failed(f"this project's own environment was not made: {environment}")
    # -P: the folder of the peers' programs, from which all are run, is no place for imports.
    return Program("jobs", [str(environment.python), "-P", "-m", module], {"PYTHONPATH": str(ROOT)})


def bare(context: Context, command: str, jobs: int, *words: str) -> float:
    """Jobs a second of a program of benchmarks/bare.py."""
    given = [command, "--jobs", str(jobs), *words]
    said = call(program(context, "benchmarks.bare"), given, limit_s=240)
    return float(said["jobs"] / said["seconds"])


@contextmanager
def crew(  # noqa: PLR0913 -- how workers are started, each part by name
    context: Context,
    server: Server,
    app: str = "plain",
    *,
    processes: int = 1,
    concurrency: int = 100,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Crew]:
    """Workers of our own that wait for `meter.go`."""
    given = ["--settings", json.dumps(dict(settings or {}))]
    load = Load(processes, concurrency, app, given)
    with workers(program(context, "benchmarks.work_worker"), server.url, load) as made:
        yield made


# -- fill ----------------------------------------------------------------------------------


def requests(
    number: int, function: str = "noop", *, size: int = 200, options: Options | None = None
) -> Iterator[Request]:
    """Jobs with a payload of so many bytes."""
    args = ("x" * size,)
    for n in range(number):
        given: EnqueueOptions = {"queue": QUEUE, **(options(n) if options else {})}
        yield Request(function, args, options=given)


def fill(server: Server, wanted: Iterable[Request]) -> None:
    """Enqueue all of `wanted`, in bulk."""
    asyncio.run(_fill(server.url, iter(wanted)))


async def _fill(url: str, wanted: Iterator[Request]) -> None:
    async with Client.connect(url) as client:
        while chunk := list(islice(wanted, FILL_CHUNK)):
            await client.enqueue_many(chunk)


def counted(server: Server, state: str, queue: str = QUEUE) -> int:
    """How many jobs a queue keeps in one state, by the name of its set."""
    return int(server.command("ZCARD", getattr(queue_keys(queue), state)))


def totals(server: Server, queue: str = QUEUE) -> dict[str, int]:
    """The queue's own statistics, summed over all minutes: claimed, completed and so on."""
    return asyncio.run(_totals(server.url, queue))


async def _totals(url: str, queue: str) -> dict[str, int]:
    sums: Counter[str] = Counter()
    async with Client.connect(url) as client:
        for counters in (await minute_counters(client, queue_keys(queue), 0)).values():
            sums.update(counters)
    return dict(sums)


# -- drain ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drained:
    """What one drain says."""

    jobs_per_s: float
    worker_cpu_us: float  # per job, over all workers
    server_cpu_us: float
    round_trips: float  # per job
    commands: float  # per job, also those inside scripts


def drain(  # noqa: PLR0913 -- how workers are started, each part by name
    context: Context,
    server: Server,
    jobs: int,
    *,
    processes: int = 1,
    concurrency: int = 100,
    leave_rest: bool = False,
    app: str = "plain",
    settings: Mapping[str, Any] | None = None,
) -> Drained:
    """Let workers run `jobs` jobs of a queue that was filled before.

    With `leave_rest` one worker is timed up to that number while the rest of the queue stays.
    """
    with crew(
        context, server, app, processes=processes, concurrency=concurrency, settings=settings
    ) as made:
        before = server.counters()
        meter.go(made, jobs if leave_rest else 0)
        watch(made, jobs)
        if not leave_rest:
            time.sleep(SETTLE_S)
        done = made.finished()
        used = server.counters() - before
        return Drained(
            jobs_per_s=rate(
                made, jobs if leave_rest else done, Cell.mark if leave_rest else Cell.last
            ),
            worker_cpu_us=cpu_us(made.slots()),
            server_cpu_us=used.cpu_s / done * 1e6,
            round_trips=sum(used.calls.get(name, 0) for name in SENT) / done,
            commands=used.commands / done,
        )


def rate(made: Crew, jobs: int, end: Cell = Cell.last) -> float:
    """Jobs a second from the first begin to the last end, over all workers."""
    slots = range(len(made.processes))
    first = min(began for slot in slots if (began := meter.read(made, slot, Cell.first)))
    last = max(meter.read(made, slot, end) for slot in slots)
    if last <= first:
        raise Failed("the workers ended no job")
    return (jobs - 1) / ((last - first) / 1e9)
