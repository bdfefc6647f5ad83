"""The rows of the comparison, and its peers: in which order, how much, and what is better."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.targets import OURS


@dataclass(frozen=True)
class Peer:
    """A peer, and how much of it makes a run of a second or more."""

    name: str
    label: str
    jobs: int  # preloaded for one worker
    sleepers: int = 6_000
    samples: int = 300


PEERS = (
    Peer("arq_stock", "arq", 2_000, sleepers=400, samples=30),
    Peer("arq_tuned", "arq tuned", 5_000),
    Peer("saq", "SAQ", 5_000),
    Peer("taskiq", "taskiq", 5_000, samples=150),
    Peer("streaq", "streaQ", 5_000),
    Peer("huey", "huey", 5_000),
    Peer("ardiq", "ardiq", 20_000),
    Peer("bullmq", "BullMQ", 20_000),
    Peer(OURS, "jobs", 50_000),
)
BARE = Peer("bare", "bare client", 0)
"""redis-py alone, with uvloop: it stands beside the table, not in it."""


@dataclass(frozen=True)
class Row:
    """One figure of each peer."""

    key: str
    title: str
    digits: int = 0
    less: bool = False  # less is better
    unit: str = "jobs/s"


ROWS = (
    Row("drain", "drain, jobs/s"),
    Row("enqueue", "enqueue one by one, jobs/s"),
    Row("bulk", "enqueue in bulk, jobs/s"),
    Row("pickup_p50", "pick-up on an idle queue, p50 ms", 2, less=True, unit="ms"),
    Row("pickup_p99", "pick-up on an idle queue, p99 ms", 2, less=True, unit="ms"),
    Row("roundtrip", "enqueue and await the result, p50 ms", 2, less=True, unit="ms"),
    Row("two_workers", "two workers draining together, jobs/s"),
    Row("sleep", "jobs that sleep 50 ms, jobs/s (ideal 2,000)"),
    Row("bytes", "bytes a queued job", less=True, unit="bytes"),
    Row("memory", "worker peak memory, MB", less=True, unit="MB"),
    Row("worker_cpu", "worker CPU, µs a job", less=True, unit="µs"),
    Row("server_cpu", "server CPU, µs a job", less=True, unit="µs"),
    Row("commands", "server commands a job", 1, less=True, unit="commands"),
    Row("idle_commands", "idle worker, commands/s", 1, less=True, unit="commands/s"),
    Row("idle_cpu", "idle worker, CPU %", 2, less=True, unit="%"),
)

BESIDE = (
    Row("push_p50.bare", "a bare push to a blocked pop, p50 ms", 2, less=True, unit="ms"),
    Row("round_trips.bare", "bare round trips of the same client, one by one, a second"),
    Row(f"drain_info.{OURS}", "drain of ours with logging at INFO, jobs/s"),
    Row(f"bytes_valkey9.{OURS}", "bytes a queued job of ours on Valkey 9", less=True, unit="bytes"),
)
"""Figures without a column of their own: named in full."""

PLOTTED = ("drain", "enqueue", "bulk", "pickup_p50", "roundtrip", "two_workers", "bytes")
