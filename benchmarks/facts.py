"""Under which circumstances a run measured: machine, versions, revision."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.environments import Environment, Unavailable
from benchmarks.model import DASH
from benchmarks.server import start_server

ROOT = Path(__file__).resolve().parent.parent
BUSY = 0.7
"""A load average from which on somebody else is at work."""


def facts(
    environments: Mapping[str, Environment | Unavailable], command: str, load: float | None
) -> dict[str, str]:
    """What a reader needs to know before the figures."""
    ours = environments.get("jobs")
    with start_server() as server:
        version = server.version
    return {
        "command": command,
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "revision": _revision(),
        "server": f"{version}, on the same machine, without persistence",
        "Python": ours.python_version if isinstance(ours, Environment) else DASH,
        "kernel": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processors": f"{os.cpu_count()} x {_model()}",
        "load average before": DASH if load is None else f"{load:.2f}",
    }


def load_average() -> float | None:
    """Of the last minute; None where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def busy(load: float | None) -> str | None:
    """The caveat of a machine that was not quiet."""
    if load is None or load < BUSY:
        return None
    return f"The machine was not quiet: load average {load:.2f} before the run began."


def _model() -> str:
    """The processor by its name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def _revision() -> str:
    """The commit, and whether something was changed since."""
    commit = _git("rev-parse", "--short", "HEAD")
    if not commit:
        return "unknown"
    return f"{commit}, with changes" if _git("status", "--porcelain", "-uno") else commit


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False)
    except OSError:
        return ""
    return done.stdout.decode().strip() if done.returncode == 0 else ""
