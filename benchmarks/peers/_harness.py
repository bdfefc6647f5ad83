"""What every peer program shares: its commands, its figures and the slot of shared memory.

Nothing but the standard library is imported here: each peer runs in an environment of its own.
A program prints one JSON object and nothing else on standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import mmap
import random
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

PAYLOAD = "x" * 200
QUEUE = "bench"
#: What the one job of the benchmarks is called, in every library.
WORK = "work"
SLEEP_S = 0.05
#: An await that lasts longer than this is a fault of the set-up, not a figure.
TIMEOUT_S = 15
LOSES = "pops without acknowledgement: loses a dead worker's job"

#: Words of 64 bits in a slot, and what they mean; the rest is the ring of latencies.
WORDS = 64
FINISHED, FIRST_BEGAN, LAST_ENDED, CPU_AT_FIRST, CPU_AT_LAST, READY = range(6)
RING, RING_WORDS = 8, 48
#: Reading the CPU clock is a system call, so not after every job.
CPU_SAMPLE_JOBS = 100

Body = Callable[[str], Awaitable[None]]
Runner = Callable[[Coroutine[Any, Any, Any]], Any]


class Slot:
    """The figures of one worker, in memory that the driver of the benchmarks reads.

    The file is made by the driver; a short one is filled up, so that a peer can be tried by hand.
    """

    def __init__(self, path: Path, index: int) -> None:
        end = (index + 1) * WORDS * 8
        with path.open("a+b") as file:
            if path.stat().st_size < end:
                file.truncate(end)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.words = memoryview(self._map).cast("q")[index * WORDS : (index + 1) * WORDS]

    def ready(self) -> None:
        """The worker is about to take jobs."""
        self.words[READY] = 1

    def begin(self) -> None:
        """A job begins."""
        if not self.words[FIRST_BEGAN]:
            self.words[CPU_AT_FIRST] = time.process_time_ns()
            self.words[FIRST_BEGAN] = time.monotonic_ns()

    def end(self) -> None:
        """A job ended: counted last, since the driver goes by the count."""
        words = self.words
        finished = words[FINISHED] + 1
        words[LAST_ENDED] = time.monotonic_ns()
        if finished % CPU_SAMPLE_JOBS == 0:
            words[CPU_AT_LAST] = time.process_time_ns()
        words[FINISHED] = finished

    def stamp(self, payload: str) -> None:
        """Write down how long ago the job was enqueued."""
        waited = time.monotonic_ns() - int(payload)
        self.words[RING + self.words[FINISHED] % RING_WORDS] = waited


def body_of(kind: str, slot: Slot) -> Body:
    """What the job does: nothing, sleep, or tell how long it waited."""

    async def noop(_payload: str) -> None:
        slot.begin()
        slot.end()

    async def sleep(_payload: str) -> None:
        slot.begin()
        await asyncio.sleep(SLEEP_S)
        slot.end()

    async def stamp(payload: str) -> None:
        slot.stamp(payload)
        slot.begin()
        slot.end()

    return {"noop": noop, "sleep": sleep, "stamp": stamp}[kind]


@dataclass(frozen=True, slots=True)
class About:
    """What a peer is, and how it was set up."""

    name: str
    version: str
    loop: str
    settings: str
    caveat: str = ""


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """How a worker is to run."""

    url: str
    concurrency: int
    function: str
    slot: Slot
    log_level: str
    log_file: Path


class Producer(Protocol):
    """An open connection that enqueues."""

    async def enqueue(self, payload: str) -> object:
        """Enqueue one job."""

    async def enqueue_many(self, payloads: list[str]) -> object:
        """Enqueue some jobs in the library's best way for many."""

    async def roundtrip(self, payload: str) -> object:
        """Enqueue one job and await its result in the library's own way."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One library, as the harness drives it.

    Args:
        about: what it is.
        connect: opens a producer that has asked the server one thing already.
        work: runs a worker until SIGTERM.
        run: runs a coroutine on the event loop of this peer.
        chunk: how many jobs one call of `enqueue_many` gets.
        spread_s: the pause between two samples of a latency differs by this much. A worker that
            polls needs its interval here: a job that always follows its last look would always
            wait for the whole of it.
    """

    about: Callable[[], About]
    connect: Callable[[str], AbstractAsyncContextManager[Producer]]
    work: Callable[[WorkOptions], None]
    run: Runner = asyncio.run
    chunk: int = 100
    spread_s: float = 0.01


def main(peer: Peer) -> None:
    """Run the command that the program was called with."""
    options = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING)  # to standard error
    if options.command == "about":
        answer: dict[str, Any] = asdict(peer.about())
    elif options.command == "worker":
        _work(peer, options)
        return
    else:
        answer = peer.run(_produce(peer, options))
    print(json.dumps(answer))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="One peer of the benchmarks.")
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--url", default="redis://127.0.0.1:6379/0")
    commands.add_parser("about", parents=[common])
    enqueue = commands.add_parser("enqueue", parents=[common])
    enqueue.add_argument("--jobs", type=int, required=True)
    enqueue.add_argument("--bulk", action="store_true")
    enqueue.add_argument("--concurrency", type=int, default=1)
    worker = commands.add_parser("worker", parents=[common])
    worker.add_argument("--concurrency", type=int, default=100)
    worker.add_argument("--function", choices=["noop", "sleep", "stamp"], default="noop")
    worker.add_argument("--log-level", choices=["WARNING", "INFO"], default="WARNING")
    worker.add_argument("--log-file", type=Path, default=Path("/dev/null"))
    latency = commands.add_parser("latency", parents=[common])
    roundtrip = commands.add_parser("roundtrip", parents=[common])
    for command in (worker, latency):
        command.add_argument("--shared", type=Path, required=True)
        command.add_argument("--slot", type=int, default=0)
    for command in (latency, roundtrip):
        command.add_argument("--samples", type=int, required=True)
    return parser


def _work(peer: Peer, options: argparse.Namespace) -> None:
    slot = Slot(options.shared, options.slot)
    peer.work(
        WorkOptions(
            options.url,
            options.concurrency,
            options.function,
            slot,
            options.log_level,
            options.log_file,
        )
    )
    print(json.dumps({"finished": slot.words[FINISHED]}), flush=True)
    sys.exit(0)


async def _produce(peer: Peer, options: argparse.Namespace) -> dict[str, Any]:
    async with peer.connect(options.url) as producer:
        if options.command == "enqueue":
            return await _enqueue(peer, producer, options)
        if options.command == "roundtrip":
            return {"roundtrip_ms": await _samples(peer, options, _Roundtrip(producer))}
        slot = Slot(options.shared, options.slot)
        return {"pickup_ms": await _samples(peer, options, _Pickup(producer, slot))}


async def _samples(
    peer: Peer, options: argparse.Namespace, sample: Callable[[], Awaitable[float]]
) -> list[float]:
    """Milliseconds, one by one on an idle queue."""
    taken = []
    for _ in range(options.samples):
        # The worker comes to rest, and the next sample falls into no step with its timers.
        await asyncio.sleep(0.005 + random.random() * peer.spread_s)
        taken.append(await sample())
    return taken


async def _enqueue(peer: Peer, producer: Producer, options: argparse.Namespace) -> dict[str, Any]:
    sizes = iter(_chunks(options.jobs, peer.chunk if options.bulk else 1))

    async def call() -> None:
        for size in sizes:  # shared by all callers
            if options.bulk:
                await producer.enqueue_many([PAYLOAD] * size)
            else:
                await producer.enqueue(PAYLOAD)

    cpu, began = time.process_time(), time.monotonic()
    if options.concurrency == 1:
        await call()
    else:
        await asyncio.gather(*(call() for _ in range(options.concurrency)))
    return {
        "jobs": options.jobs,
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time() - cpu,
    }


def _chunks(jobs: int, size: int) -> list[int]:
    whole, rest = divmod(jobs, size)
    return [size] * whole + ([rest] if rest else [])


@dataclass(frozen=True, slots=True)
class _Pickup:
    """From the call that enqueues a job to the first line of its function."""

    producer: Producer
    slot: Slot

    async def __call__(self) -> float:
        words = self.slot.words
        before = words[FINISHED]
        now = time.monotonic_ns()
        await self.producer.enqueue(f"{now:<{len(PAYLOAD)}}")
        while words[FINISHED] == before:
            if time.monotonic_ns() - now > TIMEOUT_S * 1e9:
                raise TimeoutError(f"no worker took a job within {TIMEOUT_S} s")
            time.sleep(0.0002)  # noqa: ASYNC251 -- the producer's loop has nothing to do now
        return words[RING + before % RING_WORDS] / 1e6


@dataclass(frozen=True, slots=True)
class _Roundtrip:
    """From the call that enqueues a job to its result."""

    producer: Producer

    async def __call__(self) -> float:
        began = time.monotonic_ns()
        await self.producer.roundtrip(PAYLOAD)
        return (time.monotonic_ns() - began) / 1e6


def versions(*packages: str) -> str:
    """The version of the first package, with those of the others that matter in brackets."""
    first, *others = packages
    note = ", ".join(f"{name} {version(name)}" for name in others)
    return f"{version(first)} ({note})" if note else version(first)
