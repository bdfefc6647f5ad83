"""The steps of the comparison: each measures one thing of one peer and names its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from benchmarks import measure
from benchmarks.model import Context
from benchmarks.processes import PLAIN, Load, Program
from benchmarks.rows import BARE, Peer
from benchmarks.server import Server
from benchmarks.targets import OURS

ONE_BY_ONE = 5_000
IN_BULK = 50_000


@dataclass(frozen=True)
class Bed:
    """Where a step measures: one peer on one server."""

    context: Context
    server: Server
    peer: Peer
    program: Program

    def jobs(self, number: int) -> int:
        """So many, fewer in a quick run; a multiple of a hundred, as the slots count CPU time."""
        return max(self.context.jobs(number) // 100 * 100, 100)


Figures = Mapping[str, float | None]
Step = Callable[[Bed], Figures]


def drain(bed: Bed) -> Figures:
    """One worker empties a preloaded queue."""
    jobs = bed.jobs(bed.peer.jobs)
    measure.preload(bed.program, bed.server, jobs)
    drained = measure.drain(bed.program, bed.server, jobs, PLAIN)
    return {
        "drain": drained.jobs_per_s,
        "worker_cpu": drained.worker_cpu_us,
        "server_cpu": drained.server_cpu_us,
        "commands": drained.commands,
        "memory": drained.memory_mb,
    }


def drain_at_info(bed: Bed) -> Figures:
    """The same with its log lines of every start and end, written to a file."""
    jobs = bed.jobs(bed.peer.jobs)
    measure.preload(bed.program, bed.server, jobs)
    bed.context.scratch.mkdir(parents=True, exist_ok=True)
    log = bed.context.scratch.resolve() / "info.log"
    options = ("--log-level", "INFO", "--log-file", str(log))
    drained = measure.drain(bed.program, bed.server, jobs, Load(options=options))
    log.unlink(missing_ok=True)
    return {"drain_info": drained.jobs_per_s}


def two_workers(bed: Bed) -> Figures:
    """Two workers empty a queue of twice the length."""
    jobs = bed.jobs(2 * bed.peer.jobs)
    measure.preload(bed.program, bed.server, jobs)
    drained = measure.drain(bed.program, bed.server, jobs, Load(processes=2))
    return {"two_workers": drained.jobs_per_s}


def sleep(bed: Bed) -> Figures:
    """Jobs that wait 50 ms, a hundred at once."""
    jobs = bed.jobs(bed.peer.sleepers)
    measure.preload(bed.program, bed.server, jobs)
    drained = measure.drain(bed.program, bed.server, jobs, Load(function="sleep"))
    return {"sleep": drained.jobs_per_s}


def enqueue(bed: Bed) -> Figures:
    """One call after the other."""
    jobs = bed.jobs(ONE_BY_ONE)
    return {"enqueue": measure.enqueue(bed.program, bed.server, jobs, bulk=False).jobs_per_s}


def bulk(bed: Bed) -> Figures:
    """The peer's own best way to enqueue many, and what they take in the server."""
    enqueued = measure.enqueue(bed.program, bed.server, bed.jobs(IN_BULK), bulk=True)
    version = {"Redis 7": "bytes_redis7", "Valkey 9": "bytes_valkey9"}
    named = version.get(bed.server.version.partition(".")[0], "bytes_other")
    return {"bulk": enqueued.jobs_per_s, "bytes": enqueued.bytes, named: enqueued.bytes}


def bytes_on_valkey(bed: Bed) -> Figures:
    """Bytes a queued job on the wheel's Valkey 9, whose hashes are smaller."""
    with bed.context.start_server(engine="valkey9") as server:
        enqueued = measure.enqueue(bed.program, server, bed.jobs(IN_BULK), bulk=True)
    return {"bytes_valkey9": enqueued.bytes}


def pickup(bed: Bed) -> Figures:
    """From the call that enqueues to the function's first line, on an idle queue."""
    took = measure.pickup(bed.program, bed.server, bed.context.jobs(bed.peer.samples))
    return {"pickup_p50": median(took), "pickup_p99": measure.percentile(took, 0.99)}


def roundtrip(bed: Bed) -> Figures:
    """From the call that enqueues to its result."""
    took = measure.roundtrip(bed.program, bed.server, bed.context.jobs(bed.peer.samples))
    return {"roundtrip": median(took)}


def idle(bed: Bed) -> Figures:
    """What a worker without jobs costs."""
    window = 4.0 if bed.context.quick else 10.0
    found = measure.idle(bed.program, bed.server, settle_s=3.0, window_s=window)
    return {"idle_commands": found.commands_per_s, "idle_cpu": found.cpu_percent}


def bare_round_trips(bed: Bed) -> Figures:
    """SET of a payload by the client alone: no enqueue of one job at a time can be faster."""
    jobs = bed.jobs(ONE_BY_ONE)
    return {"round_trips": measure.enqueue(bed.program, bed.server, jobs, bulk=False).jobs_per_s}


def bare_push(bed: Bed) -> Figures:
    """A push to a pop that waits, by the client alone: no pick-up can be quicker."""
    took = measure.pickup(bed.program, bed.server, bed.context.jobs(bed.peer.samples))
    return {"push_p50": median(took)}


@dataclass(frozen=True)
class Alone:
    """A step of one peer only, measured right after a step of all."""

    peer: str
    beside: str
    title: str
    step: Step


STEPS: Mapping[str, Step] = {
    "drain": drain,
    "enqueue one by one": enqueue,
    "enqueue in bulk": bulk,
    "pick-up": pickup,
    "await the result": roundtrip,
    "two workers": two_workers,
    "sleep": sleep,
    "idle": idle,
}

ALONE = (
    Alone(OURS, "drain", "drain with logging at INFO", drain_at_info),
    Alone(BARE.name, "enqueue one by one", "bare round trips", bare_round_trips),
    Alone(OURS, "enqueue in bulk", "bytes on Valkey 9", bytes_on_valkey),
    Alone(BARE.name, "pick-up", "a bare push to a blocked pop", bare_push),
)
