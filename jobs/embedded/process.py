"""The server as a process: its record, its guard, its folder's lock, its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

HOST = "127.0.0.1"
PORTS_TRIED = 100
STOP_S = 5.0
"""How long a server may write its last data before it is killed."""

GUARD = """
read -r word && exit 0  # a line: stand down; the end of the file: the starter is gone
command=$(tr '\\0' ' ' <"/proc/$1/cmdline" || ps -ww -o command= -p "$1")
case $command in *"$2"*) kill -s "$3" "$1" ;; esac  # another process may have the number by now
[ -z "$4" ] || rm -rf -- "$4"
"""


@dataclass(frozen=True)
class Running:
    """A running server as other commands need it: its address and its process id."""

    url: str
    pid: int

    def write(self, path: Path) -> None:
        """Write the record so that a reader sees either the old one or the whole new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        draft.touch(mode=0o600)  # the address may hold a password
        draft.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        draft.replace(path)

    @classmethod
    def read(cls, path: Path) -> Running | None:
        """Return the record in `path`, or None if there is none that can be read."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(url=str(found["url"]), pid=int(found["pid"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None


def post_guard(pid: int, folder: Path, *, gently: bool, remove: bool) -> subprocess.Popen[bytes]:
    """Start the guard of a server: a line on its stdin stands it down, the end of stdin wakes it.

    Args:
        pid: the server process.
        folder: its data folder, by which it is recognised in its command line.
        gently: whether to let it write its data first.
        remove: whether the folder goes with it.
    """
    signal_name, doomed = "TERM" if gently else "KILL", str(folder) if remove else ""
    return subprocess.Popen(  # noqa: S603 - the script above
        ["/bin/sh", "-c", GUARD, "sh", str(pid), str(folder), signal_name, doomed],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def free_ports(wanted: int) -> Iterator[int]:
    """Yield the wanted port and the ones above it that are free now; any free ones for 0."""
    for step in range(PORTS_TRIED):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, wanted + step if wanted else 0))
            except (OSError, OverflowError):
                continue
            port: int = probe.getsockname()[1]
        yield port


def try_lock(file: IO[bytes]) -> bool:
    """Take the lock on an open file, until it is closed; False if another process has it."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def reap(record: Path, folder: str) -> None:
    """End the server that a killed starter left behind; the caller holds the folder's lock."""
    left = Running.read(record)
    if left is None or folder not in command_of(left.pid):
        return
    for signal_number in (signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(left.pid, signal_number)
        patience_s = STOP_S if signal_number == signal.SIGTERM else 0.05
        deadline = time.monotonic() + patience_s
        while command_of(left.pid) and time.monotonic() < deadline:
            time.sleep(0.005)


def command_of(pid: int) -> str:
    """Return the command line of a process, empty if it is gone (or dead and not yet collected)."""
    if Path("/proc/self/cmdline").exists():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return ""
    ps = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603


def end(process: subprocess.Popen[bytes], *, gently: bool) -> None:
    """End a child: SIGTERM and a while to write its data if gently, else SIGKILL; collect it."""
    if gently and process.poll() is None:
        process.send_signal(signal.SIGCONT)  # a stopped process takes no SIGTERM
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
    if process.poll() is None:
        process.kill()
    process.wait()
