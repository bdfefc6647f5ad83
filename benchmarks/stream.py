"""What the server alone can do: a whole run recorded as bytes, and replayed over one socket.

The store's own functions make every request, so that the arguments are written down nowhere else.
A run is recorded against the same server: tokens are numbers that grow by one over the queue and
jobs come in the order in which they were enqueued, so on an emptied server the same bytes do the
same work again. The next request is sent when the answer has arrived, as a worker does it, but
nothing has to be decided, packed or run in between.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import hiredis
from pydantic_core import to_json
from redis.asyncio import Redis

from benchmarks.drive import QUEUE, requests
from benchmarks.model import Failed
from benchmarks.server import Server
from jobs.keys import queue_keys
from jobs.options import FRAMEWORK_DEFAULTS, KEEP_FOREVER
from jobs.requests import Preparer
from jobs.store import queue as store
from jobs.store._script import MAX_ITEMS

LEASE_MS = 30_000
WORKER = "worker-replayed"
_KEEP = (FRAMEWORK_DEFAULTS.keep_completed or KEEP_FOREVER).limits()
_READ_BYTES = 1 << 18

Command = Sequence[Any]


@dataclass
class Recorder:
    """The client that the store is given: it sends every command, and keeps it."""

    client: Redis
    commands: list[Command] = field(default_factory=list)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send and keep."""
        self.commands.append(args)
        return await self.client.execute_command(*args, **options)  # type: ignore[no-untyped-call]


#: Something that calls the store through a recorder.
Call = Callable[[Recorder], Awaitable[object]]


@dataclass(frozen=True)
class Recorded:
    """The requests of a whole life of some jobs."""

    jobs: int
    enqueue: Sequence[Command]
    drain: Sequence[Command]


def entries(number: int) -> list[store.Entry]:
    """No-op jobs of 200 bytes, as the client would send them."""
    preparer = Preparer()
    return [preparer.prepare(request).entry for request in requests(number)]


def record(server: Server, jobs: int) -> Recorded:
    """Run so many jobs through the store and keep what was sent; the server is left empty.

    A small run before it makes the server know the scripts.
    """
    for number in (MAX_ITEMS, jobs):
        empty(server)
        recorded = asyncio.run(_record(server.url, entries(number)))
    empty(server)
    return recorded


def empty(server: Server) -> None:
    """Remove all data; the scripts stay known."""
    server.command("FLUSHALL", "SYNC")


async def _record(url: str, wanted: list[store.Entry]) -> Recorded:
    async with Redis.from_url(url) as client:
        enqueuing, draining = Recorder(client), Recorder(client)
        for at in range(0, len(wanted), MAX_ITEMS):
            await enqueue(enqueuing, wanted[at : at + MAX_ITEMS])
        acks: list[store.Ack] = []
        for request in range(1, len(wanted) // MAX_ITEMS + 2):
            answer = await claim(draining, WORKER, request, acks)
            acks = [_ack(job) for job in answer.jobs]
        if acks:
            raise Failed(f"{len(acks)} jobs were left when all should have been claimed")
        return Recorded(len(wanted), enqueuing.commands, draining.commands)


async def enqueue(client: Recorder, wanted: Sequence[store.Entry]) -> None:
    """One call that enqueues."""
    await store.enqueue(client, queue_keys(QUEUE), wanted, again=False)


async def claim(
    client: Recorder, worker: str, request: int, acks: Sequence[store.Ack] = ()
) -> store.Answer:
    """One step: writes the acks and claims a hundred."""
    turn = store.Turn(worker=worker, request=request, lease_ms=LEASE_MS, want=MAX_ITEMS, acks=acks)
    return await store.step(client, queue_keys(QUEUE), turn)


def _ack(job: store.Claimed) -> store.Ack:
    """The end of a no-op job as the engine writes it."""
    line = {"outcome": "completed", "attempt": 1, "at": 1.7e12, "ran": 0, "worker": WORKER}
    return store.Ack(
        id=job.id,
        token=job.record.token,
        verb=store.Verb.complete,
        delay_ms=0,
        keep=_KEEP,
        run_ms=0,
        line=to_json(line),
    )


# -- replay --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replayed:
    """What the server made of it."""

    jobs_per_s: float
    server_cpu_us: float  # per job


def replay(server: Server, jobs: int, commands: Iterable[Command]) -> Replayed:
    """Send the requests, each when the answer to the one before is complete."""
    packed = [hiredis.pack_command(tuple(command)) for command in commands]
    before = server.counters()
    seconds = _send_all(server.port, packed)
    used = server.counters() - before
    return Replayed(jobs / seconds, used.cpu_s / jobs * 1e6)


def _send_all(port: int, packed: Sequence[bytes]) -> float:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(30)
        reader = hiredis.Reader(notEnoughData=None)
        began = time.perf_counter()
        for request in packed:
            connection.sendall(request)
            while (answer := reader.gets()) is None:
                reader.feed(connection.recv(_READ_BYTES))
            if isinstance(answer, hiredis.ReplyError):
                raise Failed(f"the server refused a replayed request: {answer}")
        return time.perf_counter() - began
