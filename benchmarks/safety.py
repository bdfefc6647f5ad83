"""What is lost or done twice when workers and producers are killed, beside that run's speed."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path
from random import SystemRandom

from benchmarks import drive, ledger
from benchmarks.model import Context, Figures, Section, Table
from benchmarks.notebook import Notebook, Task, at_most, shown
from benchmarks.server import Server
from benchmarks.storming import LEASE_S, Storm, Weather
from jobs import Client
from jobs.keys import queue_keys
from jobs.store.audit import audit

NOTE = (
    "Two producers and three worker processes, fifty jobs at once each; jobs of 10 to 100 ms that "
    "append what they do to a file, which is the judge: the server is not asked whether it lost "
    "anything. In the storm one process after the other is ended by SIGKILL at random moments and "
    f"another takes its place; the lease is {LEASE_S} s (default 30), so that the jobs of a dead "
    "worker come back within the run. Lost: a producer was told that the job is queued, and it "
    "had no effect. Doubled end: the server recorded the end of one job twice. Re-run: an effect "
    "beyond the first, which at-least-once allows for attempts that were under way at a kill."
)
JOBS, QUICK_JOBS = 40_000, 8000
KILLS, QUICK_KILLS = 30, 6

TARGETS = (
    at_most("jobs lost under kills", "storm.lost", 0),
    at_most("ends recorded twice under kills", "storm.doubled", 0),
    at_most("jobs that nobody asked for", "storm.unexpected", 0),
    at_most("re-runs beyond what was under way", "storm.reruns_beyond", 0),
    at_most("damage in the server's data", "storm.findings", 0),
)


def run(context: Context) -> Section:
    """The same jobs without kills and with them."""
    notebook = Notebook()
    seed = SystemRandom().randrange(10**6)
    jobs = QUICK_JOBS if context.quick else JOBS
    kills = QUICK_KILLS if context.quick else KILLS
    with context.start_server() as server:
        calm, stormy = Weather(jobs, 0, seed), Weather(jobs, kills, seed)
        tasks: list[Task] = [
            ("no kills", lambda: _measure(context, server, "calm", calm)),
            (f"{kills} kills", lambda: _measure(context, server, "storm", stormy)),
        ]
        notebook.run(context, tasks)
    return Section(
        name="safety",
        title="Nothing is bought with safety",
        note=NOTE,
        tables=[_table(notebook)],
        figures=notebook.figures(seed=float(seed)),
        caveats=[f"The moments of the kills come from the seed {seed}.", *notebook.caveats()],
        targets=TARGETS,
    )


def _measure(context: Context, server: Server, name: str, weather: Weather) -> Figures:
    server.flush()
    path = _new_file(context.scratch, name)
    Storm(context, server, weather, path).run()
    found = _judged(server, weather, ledger.read(path))
    path.unlink()
    return {f"{name}.{what}": value for what, value in found.items()}


def _new_file(folder: Path, name: str) -> Path:
    """A ledger of this run alone."""
    paths = (folder / f"ledger-{name}-{number}" for number in count())
    return next(path for path in paths if not path.exists())


def _judged(server: Server, weather: Weather, entries: list[ledger.Entry]) -> Figures:
    found = ledger.judge(entries)
    totals = drive.totals(server)
    ended = sum(totals.get(state, 0) for state in ("completed", "failed", "cancelled", "expired"))
    kills = [entry.mono_ns for entry in entries if entry.kind == "kill"]
    after_ns = found.last_ns - max(kills) if kills else 0
    return {
        "jobs": float(weather.jobs),
        "kills": float(len(kills)),
        "jobs_per_s": weather.jobs / ((found.last_ns - found.first_ns) / 1e9),
        "lost": float(found.lost),
        "unexpected": float(found.unexpected),
        "doubled": float(max(found.doubled, ended - weather.jobs)),
        "failed": float(ended - totals.get("completed", 0)),
        "reruns": float(found.reruns),
        "in_flight": float(found.in_flight),
        "reruns_beyond": float(max(found.reruns - found.in_flight, 0)),
        "findings": float(len(asyncio.run(_audit(server.url)))),
        "tail_s": max(after_ns, 0) / 1e9,
    }


async def _audit(url: str) -> list[str]:
    async with Client.connect(url) as client:
        return list(await audit(client, queue_keys(drive.QUEUE)))


def _table(notebook: Notebook) -> Table:
    rows = {
        "jobs": ("jobs", ",.0f"),
        "processes killed": ("kills", ",.0f"),
        "jobs/s": ("jobs_per_s", ",.0f"),
        "lost": ("lost", ",.0f"),
        "ends recorded twice": ("doubled", ",.0f"),
        "jobs that nobody asked for": ("unexpected", ",.0f"),
        "failed for good": ("failed", ",.0f"),
        "under way at the kills": ("in_flight", ",.0f"),
        "re-runs": ("reruns", ",.0f"),
        "damage in the server's data": ("findings", ",.0f"),
        "from the last kill to the last job, s": ("tail_s", ",.1f"),
    }
    return Table(
        "The same jobs without and with kills",
        ("", "no kills", "kills"),
        [
            (title, *(shown(notebook.get(f"{run}.{name}"), form) for run in ("calm", "storm")))
            for title, (name, form) in rows.items()
        ],
        caption="Jobs a second under kills contain the wait for the leases of the dead.",
    )
