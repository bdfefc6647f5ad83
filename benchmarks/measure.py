"""Drive one peer through one measurement: the programs of benchmarks/peers, each in its process.

Rates come from the worker's own slot in a shared file (first begin to last end), not from this
process: starting an interpreter is nobody's speed. All times are CLOCK_MONOTONIC nanoseconds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.model import Failed
from benchmarks.processes import PLAIN, Crew, Load, Program, Slot, call, workers
from benchmarks.server import Counters, Server

DRAIN_LIMIT_S = 240.0
STALL_S = 20.0  # so long without one finished job: it hangs
SETTLE_S = 0.2  # the last acknowledgements are on their way when the last function has ended
POLL_S = 0.005


@dataclass(frozen=True)
class Drained:
    """What one drain of a preloaded queue says."""

    jobs: int
    jobs_per_s: float
    worker_cpu_us: float  # per job, over all worker processes
    server_cpu_us: float
    commands: float  # per job, also those inside scripts
    memory_mb: float | None  # peak of the worker's process tree; None without /proc
    server: Counters


@dataclass(frozen=True)
class Enqueued:
    """What one producer says."""

    jobs: int
    jobs_per_s: float
    cpu_us: float  # the producer's own, per job
    server_cpu_us: float
    commands: float
    bytes: float  # per queued job
    server: Counters


@dataclass(frozen=True)
class Idled:
    """What a worker does on an empty queue."""

    commands_per_s: float
    cpu_percent: float | None


def about(program: Program) -> dict[str, str]:
    """Name, version, loop, settings and caveat, in the peer's own words."""
    return {name: str(value) for name, value in call(program, ["about"], limit_s=30).items()}


def enqueue(
    program: Program, server: Server, jobs: int, *, bulk: bool, options: Sequence[str] = ()
) -> Enqueued:
    """Enqueue into a queue that has held one job before: keys and scripts of the queue exist."""
    server.flush()
    url = ["--url", server.url]
    way = ["--bulk"] if bulk else []
    call(program, ["enqueue", *url, "--jobs", "1", *way, *options], limit_s=30)
    before = server.counters()
    words = ["enqueue", *url, "--jobs", str(jobs), *way, *options]
    said = call(program, words, limit_s=DRAIN_LIMIT_S)
    counted = server.counters() - before
    return Enqueued(
        jobs=jobs,
        jobs_per_s=jobs / said["seconds"],
        cpu_us=said["cpu_seconds"] / jobs * 1e6,
        server_cpu_us=counted.cpu_s / jobs * 1e6,
        commands=counted.commands / jobs,
        bytes=counted.memory / jobs,
        server=counted,
    )


def preload(program: Program, server: Server, jobs: int, options: Sequence[str] = ()) -> None:
    """Fill an empty queue, in bulk."""
    server.flush()
    words = ["enqueue", "--url", server.url, "--jobs", str(jobs), "--bulk", *options]
    call(program, words, limit_s=DRAIN_LIMIT_S)


def drain(
    program: Program,
    server: Server,
    jobs: int,
    load: Load = PLAIN,
) -> Drained:
    """Let workers run so many jobs, that the queue holds already (`preload`)."""
    before = server.counters()
    with workers(program, server.url, load) as crew:
        samples = watch(crew, jobs)
        time.sleep(SETTLE_S)
        counted = server.counters() - before
        slots = crew.slots()
        return Drained(
            jobs=jobs,
            jobs_per_s=rate(slots, samples),
            worker_cpu_us=cpu_us(slots),
            server_cpu_us=counted.cpu_s / jobs * 1e6,
            commands=counted.commands / jobs,
            memory_mb=crew.peak_mb(),
            server=counted,
        )


def watch(crew: Crew, jobs: int) -> list[tuple[int, int]]:
    """Wait until so many jobs are finished; the samples are (nanosecond, finished)."""
    samples = [(time.monotonic_ns(), crew.finished())]
    moved = start = samples[0][0]
    while samples[-1][1] < jobs:
        time.sleep(POLL_S)
        now, finished = time.monotonic_ns(), crew.finished()
        moved = now if finished > samples[-1][1] else moved
        samples.append((now, finished))
        if now - moved > STALL_S * 1e9 or now - start > DRAIN_LIMIT_S * 1e9:
            crew.require_alive()
            seconds = (now - start) / 1e9
            raise Failed(f"{finished:,} of {jobs:,} jobs after {seconds:.0f} s, then given up")
    return samples


def rate(slots: Sequence[Slot], samples: Sequence[tuple[int, int]]) -> float:
    """Jobs a second from the moment when every worker had begun its first job.

    With one worker this is (N - 1) / (last end - first begin). Of two, one starts earlier: what
    it ran alone is not counted.
    """
    began = [slot for slot in slots if slot.first_ns]
    end = max(slot.last_ns for slot in began)
    finished = sum(slot.finished for slot in began)
    if len(began) == 1:
        return (finished - 1) / ((end - began[0].first_ns) / 1e9)
    start = max(slot.first_ns for slot in began)
    alone = max((count for at, count in samples if at <= start), default=0)
    return (finished - alone) / ((end - start) / 1e9)


def cpu_us(slots: Sequence[Slot]) -> float:
    """CPU microseconds a job, over all workers."""
    jobs = sum(slot.cpu_jobs for slot in slots)
    return sum(slot.cpu_ns for slot in slots) / jobs / 1e3 if jobs else float("nan")


def pickup(program: Program, server: Server, samples: int) -> list[float]:
    """Milliseconds from the call that enqueues to the first line of the function, each time."""
    return _beside_worker(program, server, "latency", samples, "stamp")


def roundtrip(program: Program, server: Server, samples: int) -> list[float]:
    """Milliseconds from the call that enqueues to its result."""
    return _beside_worker(program, server, "roundtrip", samples, "noop")


def _beside_worker(
    program: Program, server: Server, command: str, samples: int, function: str
) -> list[float]:
    """Let a producer measure, sample after sample, while a worker of its own kind runs."""
    server.flush()
    with workers(program, server.url, Load(function=function)) as crew:
        shared = ["--shared", str(crew.file)] if command == "latency" else []
        words = [command, "--url", server.url, "--samples", str(samples), *shared]
        said = call(program, words, limit_s=30 + samples)
    (measured,) = [value for name, value in said.items() if name.endswith("_ms")]
    return [float(value) for value in measured]


def idle(program: Program, server: Server, *, settle_s: float, window_s: float) -> Idled:
    """What a worker on an empty queue costs its server and itself."""
    server.flush()
    with workers(program, server.url) as crew:
        time.sleep(settle_s)
        cpu, before = crew.cpu_s(), server.counters()
        time.sleep(window_s)
        counted, cpu_then = server.counters() - before, crew.cpu_s()
        crew.require_alive()
    used = None if cpu is None or cpu_then is None else (cpu_then - cpu) / window_s * 100
    return Idled(commands_per_s=counted.commands / window_s, cpu_percent=used)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of all values do not exceed."""
    ranked = sorted(values)
    return ranked[min(int(len(ranked) * share), len(ranked) - 1)]
