"""The processes of a measurement: started, watched through a shared file, ended with their tree."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from struct import unpack_from
from typing import Any

from benchmarks.model import Failed

PEERS = Path(__file__).resolve().parent / "peers"
SLOT_BYTES = 512
READY_LIMIT_S = 40.0
STOP_LIMIT_S = 10.0
POLL_S = 0.005


@dataclass(frozen=True)
class Program:
    """A peer's program: its command without options, and what its environment has besides ours."""

    name: str
    argv: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Load:
    """How the workers of a measurement are started."""

    processes: int = 1
    concurrency: int = 100
    function: str = "noop"
    options: Sequence[str] = ()  # further ones of the worker's command


PLAIN = Load()


@dataclass(frozen=True)
class Slot:
    """What one worker process says about itself (the layout is in peers/)."""

    finished: int = 0
    first_ns: int = 0  # the first job began
    last_ns: int = 0  # the last job ended
    first_cpu_ns: int = 0
    last_cpu_ns: int = 0  # at the last multiple of a hundred jobs
    ready: int = 0

    @property
    def cpu_ns(self) -> int:
        """CPU time between the first job and the last multiple of a hundred."""
        return max(self.last_cpu_ns - self.first_cpu_ns, 0)

    @property
    def cpu_jobs(self) -> int:
        """So many jobs that CPU time was for."""
        return self.finished // 100 * 100


@dataclass
class Crew:
    """Worker processes that run now."""

    file: Path
    processes: list[subprocess.Popen[bytes]]
    shared: mmap.mmap
    errors: Path

    def slot(self, number: int) -> Slot:
        """What worker `number` has written."""
        return Slot(*unpack_from("=6q", self.shared, number * SLOT_BYTES))

    def slots(self) -> list[Slot]:
        """What each of them has written."""
        return [self.slot(number) for number in range(len(self.processes))]

    def finished(self) -> int:
        """So many jobs were finished by all of them."""
        return sum(slot.finished for slot in self.slots())

    def require_alive(self) -> None:
        """Raise Failed, with its last words, if one has ended."""
        for process in self.processes:
            if process.poll() is not None:
                raise Failed(f"worker exited with {process.returncode}: {last_words(self.errors)}")

    def peak_mb(self) -> float | None:
        """The sum of the peaks of resident memory over the process trees."""
        peaks = [_peak_kb(pid) for pid in self.tree()]
        return sum(peaks) / 1024 if peaks else None

    def cpu_s(self) -> float | None:
        """CPU seconds of the process trees, to the nanosecond; None where there is no /proc."""
        used = [_scheduled_ns(pid) for pid in self.tree()]
        return sum(used) / 1e9 if used else None

    def tree(self) -> list[int]:
        """The processes and their children: all that share their process groups."""
        groups = {process.pid for process in self.processes}
        return [pid for pid, group in _groups() if group in groups]


def call(program: Program, words: Sequence[str], limit_s: float) -> dict[str, Any]:
    """Run a command of the program to its end and return the JSON object that it prints."""
    with tempfile.TemporaryFile() as errors:
        process = _start(program, words, stdout=subprocess.PIPE, stderr=errors)
        try:
            out, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise Failed(f"{words[0]} took over {limit_s:.0f} s") from None
        finally:
            _end(process)
        if process.returncode:
            errors.seek(0)
            raise Failed(
                f"{words[0]} exited with {process.returncode}: {_last_line(errors.read())}"
            )
    return _parsed(words[0], out)


def _parsed(command: str, out: bytes) -> dict[str, Any]:
    try:
        said = json.loads(out)
    except ValueError:
        raise Failed(f"{command} printed no JSON but {out[-80:]!r}") from None
    if "unsupported" in said:
        raise Failed(f"not supported: {said['unsupported']}")
    return dict(said)


@contextmanager
def workers(program: Program, url: str, load: Load = PLAIN) -> Iterator[Crew]:
    """Worker processes, ready for jobs, for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="bench-workers-") as folder:
        crew = _crew(Path(folder), load.processes)
        words = ["worker", "--url", url, "--concurrency", str(load.concurrency)]
        words += ["--shared", str(crew.file), "--function", load.function, *load.options]
        with crew.errors.open("wb") as errors:
            try:
                for number in range(load.processes):
                    slot = ["--slot", str(number)]
                    crew.processes.append(
                        _start(program, [*words, *slot], stdout=subprocess.DEVNULL, stderr=errors)
                    )
                _await_ready(crew)
                yield crew
            finally:
                for process in crew.processes:
                    _stop(process)
                crew.shared.close()


def _crew(folder: Path, processes: int) -> Crew:
    file = folder / "slots"
    file.write_bytes(bytes(SLOT_BYTES * processes))
    with file.open("r+b") as opened:
        return Crew(file, [], mmap.mmap(opened.fileno(), 0), folder / "stderr")


def _await_ready(crew: Crew) -> None:
    deadline = time.monotonic() + READY_LIMIT_S
    while not all(slot.ready or slot.finished for slot in crew.slots()):
        crew.require_alive()
        if time.monotonic() > deadline:
            raise Failed(f"worker not ready after {READY_LIMIT_S:.0f} s")
        time.sleep(POLL_S)


def _start(program: Program, words: Sequence[str], **pipes: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*program.argv, *words],
        cwd=PEERS,
        env={**os.environ, **program.environ},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        **pipes,
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and end it: nothing of a measurement outlives it."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_LIMIT_S)
    _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_words(errors: Path) -> str:
    """The last line of a log: what an exception says."""
    return _last_line(errors.read_bytes())


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:200] if lines else "it said nothing"


def _groups() -> Iterator[tuple[int, int]]:
    """Process and its group, of all that this system shows; nothing where there is no /proc."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name in parentheses may hold anything, also spaces: fields count from its end.
            fields = stat.read_text().rpartition(")")[2].split()
            yield int(stat.parent.name), int(fields[2])


def _peak_kb(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def _scheduled_ns(pid: int) -> int:
    """Time on a CPU over all threads: /proc/PID/stat counts in ticks of 10 ms, too coarse here."""
    total = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):
            total += int(file.read_text().split()[0])
    return total
