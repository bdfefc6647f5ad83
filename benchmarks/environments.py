"""The environments of the peers: build/bench/<name>, one a library, made from exact pins.

A peer that cannot be made here is `Unavailable`, with the reason in words: the others are measured
all the same. Only this project's own environment must work.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from benchmarks.model import Failed, Progress

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
PINS = PEERS / "requirements"
#: What this project itself is run with, uvloop among it.
LOCK = ROOT / "requirements" / "run.txt"
BUILD = ROOT / "build" / "bench"
OURS = "jobs"
#: Redis without any queue, from the client that this project uses.
BARE = "bare"
#: The environment of this project: a folder of its own name, since it is no peer's.
OUR_FOLDER = "ours"

#: Which environment and program is whose; two set-ups of one library share an environment.
PROGRAMS = {
    "arq_stock": ("arq", "arq_stock.py"),
    "arq_tuned": ("arq", "arq_tuned.py"),
    "saq": ("saq", "saq_peer.py"),
    "taskiq": ("taskiq", "taskiq_peer.py"),
    "streaq": ("streaq", "streaq_peer.py"),
    "huey": ("huey", "huey_peer.py"),
    "ardiq": ("ardiq", "ardiq_peer.py"),
    "bullmq": ("bullmq", "bullmq.mjs"),
    OURS: (OUR_FOLDER, "jobs_peer.py"),
    BARE: (OUR_FOLDER, "bare_client.py"),
}
NODE = "bullmq"

#: Best first: the newest for which all peers have wheels, then what comes near. 3.11 lacks ArdiQ.
PYTHONS = ((3, 13), (3, 12), (3, 14), (3, 11))
LEAST_PYTHON = {"ardiq": (3, 12)}
LEAST_NODE = 20
MADE_FROM = "made-from"
INSTALL_LIMIT_S = 900

Version: TypeAlias = tuple[int, ...]
Command: TypeAlias = list[str | Path]


@dataclass(frozen=True)
class Unavailable:
    """An environment that cannot be made here, and why: "needs Node ≥ 20: not found"."""

    reason: str


@dataclass(frozen=True)
class Environment:
    """An environment that is there.

    Args:
        folder: where it is.
        python: the interpreter, Python's or Node's, that runs its programs.
        python_version: its version, as it is shown.
    """

    folder: Path
    python: Path
    python_version: str

    def command(self, peer: str) -> list[str]:
        """How the program of `peer` is called, without its options."""
        program = str(PEERS / PROGRAMS[peer][1])
        if peer == NODE:
            return [str(self.python), program, "--project", str(self.folder)]
        return [str(self.python), program]


def prepare(names: Sequence[str], say: Progress) -> dict[str, Environment | Unavailable]:
    """Make the environments of these peers where they are missing, and ours in any case.

    The bare client lives in ours, so it comes with it.

    Raises:
        Failed: this project's own environment cannot be made.
    """
    python = find_python()
    if python is None:
        raise Failed("needs Python ≥ 3.11 with venv: not found")
    made: dict[str, Environment | Unavailable] = {}
    for name in (OURS, BARE, *names):
        folder = PROGRAMS[name][0]
        if folder not in made:
            made[folder] = _make(folder, python, say)
    ours = made[OUR_FOLDER]
    if isinstance(ours, Unavailable):
        raise Failed(f"this project's own environment: {ours.reason}")
    return {name: made[PROGRAMS[name][0]] for name in (OURS, BARE, *names)}


def find_python() -> Path | None:
    """The Python of all environments: JOBS_BENCH_PYTHON, else the best of PATH and of pyenv."""
    if forced := os.environ.get("JOBS_BENCH_PYTHON"):
        return Path(forced) if version_of(Path(forced)) >= (3, 11) else None
    found = {version_of(path)[:2]: path for path in _pythons()}
    return next((found[wanted] for wanted in PYTHONS if wanted in found), None)


def version_of(program: Path) -> Version:
    """What `--version` says, of Python or Node; empty if it cannot be run."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, match.groups())) if match else ()


def _pythons() -> list[Path]:
    """Interpreters here; the last of a version wins, so PATH goes before pyenv."""
    names = [f"python{major}.{minor}" for major, minor in PYTHONS]
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.*/bin/python"), key=version_of)
    on_path = [Path(path) for name in names if (path := shutil.which(name))]
    return [*pyenv, Path(sys.executable), *on_path]


def _make(folder: str, python: Path, say: Progress) -> Environment | Unavailable:
    return _node_environment(say) if folder == NODE else _python_environment(folder, python, say)


def _python_environment(name: str, python: Path, say: Progress) -> Environment | Unavailable:
    least, version = LEAST_PYTHON.get(name, (3, 11)), version_of(python)
    if version < least:
        return Unavailable(f"needs Python ≥ {_dotted(least)}: found {_dotted(version)}")
    folder = BUILD / name
    environment = Environment(folder, folder / "bin" / "python", _dotted(version))
    sources = [LOCK, ROOT / "pyproject.toml"] if name == OUR_FOLDER else [PINS / f"{name}.txt"]
    stamp = _stamp(_dotted(version), *sources)
    if _is_made(folder, stamp) and version_of(environment.python) == version:
        return environment
    say(f"{name}: making an environment with Python {_dotted(version)}")
    shutil.rmtree(folder, ignore_errors=True)
    pip: Command = [environment.python, "-m", "pip", "install", "-qq", "--no-input"]
    steps: list[Command] = [[python, "-m", "venv", folder], [*pip, "-r", sources[0]]]
    if name == OUR_FOLDER:
        # Linked, so that a change of the code needs no second install.
        steps.append([*pip, "--no-deps", "--no-build-isolation", "-e", ROOT])
    return _run_all(steps, ROOT) or _made(environment, stamp)


def _node_environment(say: Progress) -> Environment | Unavailable:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return Unavailable(f"needs Node ≥ {LEAST_NODE} and npm: not found")
    version = version_of(Path(node))
    if version < (LEAST_NODE,):
        return Unavailable(f"needs Node ≥ {LEAST_NODE}: found {_dotted(version)}")
    folder, manifest = BUILD / NODE, PEERS / "package.json"
    environment = Environment(folder, Path(node), f"Node {_dotted(version)}")
    stamp = _stamp(_dotted(version), manifest)
    if _is_made(folder, stamp):
        return environment
    say(f"{NODE}: installing with npm")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(manifest, folder)
    install: Command = [npm, "install", "--no-fund", "--no-audit", "--no-package-lock"]
    return _run_all([install], folder) or _made(environment, stamp)


def _run_all(steps: Sequence[Command], where: Path) -> Unavailable | None:
    """Run the commands; the first that fails gives the reason."""
    for step in steps:
        try:
            subprocess.run(
                step, cwd=where, capture_output=True, text=True, check=True, timeout=INSTALL_LIMIT_S
            )
        except subprocess.CalledProcessError as error:
            return Unavailable(f"its installation failed: {_last_error(error.stderr)}")
        except (OSError, subprocess.TimeoutExpired) as error:
            return Unavailable(f"its installation failed: {error}")
    return None


def _last_error(text: str) -> str:
    """The line of pip or npm that says what is wrong, not the advice around it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(npm )?(error|err!)", line, re.IGNORECASE)]
    return (errors or lines or ["no reason was given"])[-1][:300]


def _stamp(version: str, *files: Path) -> str:
    """What an environment is made of: it is made anew when this differs."""
    parts = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return " ".join([version, *parts])


def _is_made(folder: Path, stamp: str) -> bool:
    made_from = folder / MADE_FROM
    return made_from.is_file() and made_from.read_text() == stamp


def _made(environment: Environment, stamp: str) -> Environment:
    (environment.folder / MADE_FROM).write_text(stamp)
    return environment


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
