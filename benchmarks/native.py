"""The same scripts driven by `redis-benchmark`: what the server can do with a client written in C.

It sends one command over and over and puts a random number wherever `__rand_int__` stands. So it
can enqueue new jobs and claim waiting ones, but not end them: an ack needs the token of its claim
(see benchmarks/stream.py).
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

from redis.asyncio import Redis

from benchmarks import drive, stream
from benchmarks.model import Failed
from benchmarks.server import Server
from jobs.options import EnqueueOptions
from jobs.requests import Preparer
from jobs.store.queue import Entry

RANDOM = "__rand_int__"
_RANGE = 2_000_000_000
_COLUMNS = 7  # behind the name of the test: calls a second, then latencies
_NAMES = ("redis-benchmark", "valkey-benchmark")


def find(server: Server) -> Path:
    """The program: beside the server's, else on PATH.

    Raises:
        Failed: there is none.
    """
    beside = [server.program.parent / name for name in _NAMES]
    on_path = [Path(found) for name in _NAMES if (found := shutil.which(name))]
    for program in (*beside, *on_path):
        if program.is_file():
            return program
    raise Failed("redis-benchmark was found neither beside the server nor on PATH")


def enqueue_command(server: Server, jobs: int) -> list[bytes]:
    """One call that enqueues so many jobs under ids that are new in every call."""
    wanted = [_entry(number) for number in range(jobs)]
    return asyncio.run(_capture(server.url, lambda client: stream.enqueue(client, wanted)))


def claim_command(server: Server) -> list[bytes]:
    """One step that claims a hundred jobs, each time for another worker."""
    worker = f"worker-{RANDOM}"
    return asyncio.run(_capture(server.url, lambda client: stream.claim(client, worker, 1)))


def run(server: Server, command: list[bytes], calls: int, clients: int) -> float:
    """Calls a second."""
    if any(b"\0" in word for word in command):
        raise Failed("redis-benchmark takes its command from the command line: no zero bytes")
    settings = {"-p": server.port, "-n": calls, "-c": clients, "-r": _RANGE}
    words = [str(word) for pair in settings.items() for word in pair]
    done = subprocess.run(
        [find(server), *words, "--csv", *command], capture_output=True, check=False, timeout=240
    )
    try:
        return float(done.stdout.rstrip().rsplit(b",", _COLUMNS)[1].strip(b'"'))
    except (IndexError, ValueError):
        said = (done.stderr or done.stdout)[-200:].decode(errors="replace")
        raise Failed(f"redis-benchmark said {said!r}") from None


def _entry(number: int) -> Entry:
    """A job whose id has a random number, and whose checksum has no zero byte."""
    for suffix in range(100):
        job_id = f"{number:03}{suffix:02}-{RANDOM}"
        (request,) = drive.requests(1)
        options: EnqueueOptions = {**request.options, "id": job_id}
        entry = Preparer().prepare(request._replace(options=options)).entry
        if b"\0" not in entry.body:
            return entry
    raise Failed("every body has a zero byte, which redis-benchmark cannot send")


async def _capture(url: str, call: stream.Call) -> list[bytes]:
    """The command that a call of the store sends, as words; it is sent, and the data is removed."""
    async with Redis.from_url(url) as client:
        recorder = stream.Recorder(client)
        await call(recorder)
        recorder.commands.clear()
        await call(recorder)
        (command,) = recorder.commands
        await client.flushall()
        return [_bytes(word) for word in command]


def _bytes(word: object) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()
