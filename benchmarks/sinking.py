"""Runs a sink (benchmarks/sinks.py) in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.drive import program
from benchmarks.model import Context, Failed

STOP_LIMIT_S = 10.0

#: Ends the sink; how many connections and messages it had.
Taken = Callable[[], dict[str, int]]


@contextmanager
def sink(context: Context, kind: str) -> Iterator[tuple[int, Taken]]:
    """Its port, and what ends it and tells what came."""
    made = program(context, "benchmarks.sinks")
    process = subprocess.Popen(
        [*made.argv, kind], env={**os.environ, **made.environ}, stdout=subprocess.PIPE
    )

    def taken() -> dict[str, int]:
        process.terminate()
        out, _ = process.communicate(timeout=STOP_LIMIT_S)
        return dict(json.loads(out))

    try:
        yield _port(process), taken
    finally:
        process.kill()
        process.wait()


def _port(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None  # noqa: S101 -- asked for above
    line = process.stdout.readline()
    if not line.strip().isdigit():
        raise Failed(f"the sink said {line!r} instead of its port")
    return int(line)
