"""The speed of plain jobs at two commits, in one interleaved run: `commits A B`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.environments import OURS, ROOT, Unavailable
from benchmarks.model import Context, Failed, Figures, Section, Table
from benchmarks.notebook import Notebook, Task, at_least, shown
from benchmarks.processes import Program
from benchmarks.server import Server

NOTE = (
    "Plain jobs of two commits of this project, each with its own worker, producer and scripts: a "
    "preloaded queue drained by one worker process, and jobs enqueued one by one. Repetitions "
    "alternate between the two."
)
WORKTREES = ROOT / "build" / "bench" / "commits"
SIDES = ("before", "after")
ROWS = {
    "drain": ("drain, jobs/s", ",.0f"),
    "enqueue": ("enqueue one by one, jobs/s", ",.0f"),
    "server_cpu_us": ("server CPU, µs a job", ".1f"),
    "worker_cpu_us": ("worker CPU, µs a job", ".1f"),
    "commands": ("server commands a job", ".2f"),
}
#: Repetitions of one commit alone differ by so much, in percent.
NOISE = 5

TARGETS = (
    at_least("drain, plain, after against before", "drain.percent", 100 - NOISE, " %"),
    at_least("enqueue one by one, after against before", "enqueue.percent", 100 - NOISE, " %"),
)


def run(context: Context, before: str, after: str) -> Section:
    """Measure both commits in `repeat` interleaved repetitions.

    Raises:
        Failed: a commit is not known here.
    """
    notebook = Notebook()
    with worktree(before) as old, worktree(after) as new, context.start_server() as server:
        programs = dict(zip(SIDES, (program(context, old), program(context, new)), strict=True))
        tasks = [
            task for side, made in programs.items() for task in _tasks(context, server, side, made)
        ]
        notebook.run(context, tasks * context.repeat)
    return _section(notebook, before, after)


def _tasks(context: Context, server: Server, side: str, made: Program) -> list[Task]:
    jobs, single = context.jobs(50_000), context.jobs(10_000)

    def drain() -> Figures:
        measure.preload(made, server, jobs)
        found = measure.drain(made, server, jobs)
        return {
            f"{side}.drain": found.jobs_per_s,
            f"{side}.server_cpu_us": found.server_cpu_us,
            f"{side}.worker_cpu_us": found.worker_cpu_us,
            f"{side}.commands": found.commands,
        }

    def enqueue() -> Figures:
        return {f"{side}.enqueue": measure.enqueue(made, server, single, bulk=False).jobs_per_s}

    return [(f"{side}: drain", drain), (f"{side}: enqueue", enqueue)]


def program(context: Context, folder: Path) -> Program:
    """The program of this project as a peer, with the code of another folder."""
    environment = context.environments.get(OURS)
    if environment is None or isinstance(environment, Unavailable):
        raise Failed(f"this project's own environment was not made: {environment}")
    command = [str(environment.python), str(folder / "benchmarks" / "peers" / "jobs_peer.py")]
    return Program(OURS, command, {"PYTHONPATH": str(folder)})


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """The files of a commit, in a git worktree that goes with the block."""
    sha = _git("rev-parse", "--verify", f"{commit}^{{commit}}")
    folder = WORKTREES / sha[:12]
    if not folder.exists():
        _git("worktree", "add", "--detach", str(folder), sha)
    try:
        yield folder
    finally:
        if folder.exists():
            _git("worktree", "remove", "--force", str(folder))


def _git(*words: str) -> str:
    try:
        said = subprocess.run(
            ["git", *words],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        raise Failed(f"git {' '.join(words)}: {error.stderr.strip()}") from None
    return said.stdout.strip()


def _section(notebook: Notebook, before: str, after: str) -> Section:
    ratios = {f"{r}.percent": notebook.percent(f"after.{r}", f"before.{r}") for r in ROWS}
    rows: list[Any] = [
        (
            title,
            *(shown(notebook.get(f"{side}.{row}"), form) for side in SIDES),
            shown(notebook.ratio(f"after.{row}", f"before.{row}"), ".0%"),
        )
        for row, (title, form) in ROWS.items()
    ]
    return Section(
        name="commits",
        title="Plain jobs at two commits",
        note=NOTE,
        tables=[Table("Plain jobs", ("", before, after, "after of before"), rows)],
        figures=notebook.figures(**ratios),
        caveats=notebook.caveats(),
        targets=TARGETS,
    )
