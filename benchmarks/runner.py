"""One run: the environments, the sections one after the other, the plots, the verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import environments, facts, plots
from benchmarks.model import Context, Section
from benchmarks.model import Progress as Say
from benchmarks.report import Report, verdicts
from benchmarks.rows import PEERS
from benchmarks.server import start_server

SECTIONS = {
    "compare": "The table: this project beside its peers.",
    "limits": "How far it is from what the server and the event loop can do.",
    "curves": "By concurrency, workers, queue length, payload, delays and priorities.",
    "features": "With limits, turns, unique keys, schedules and event readers in use.",
    "work": "Real work: mail, push, sleeping, CPU, failures.",
    "safety": "Lost and doubled jobs under kills, beside the speed.",
}


@dataclass(frozen=True)
class Wanted:
    """What a run is asked for."""

    command: str  # as it was typed
    sections: Sequence[str]
    peers: Sequence[str]  # none: all of them
    quick: bool
    repeat: int
    plots: Path


def run(wanted: Wanted, to: Console) -> Report:
    """Prepare, measure, draw and judge."""
    load = facts.load_average()
    with progress_bar(to) as say:
        found = environments.prepare(names_of(wanted), say)
        context = Context(start_server, found, say, quick=wanted.quick, repeat=wanted.repeat)
        sections = list(_measure(wanted.sections, context))
        say("plots")
        caveats = [_draw(sections, wanted.plots), facts.busy(load)]
        sections[-1] = _with_caveats(sections[-1], [said for said in caveats if said])
        known = facts.facts(found, wanted.command, load)
    return Report(known, sections, verdicts(sections))


def names_of(wanted: Wanted) -> list[str]:
    """The peers whose environments this run needs: ours always."""
    if "compare" not in wanted.sections:
        return ["jobs"]
    known = [peer.name for peer in PEERS]
    return [name for name in known if not wanted.peers or name in (*wanted.peers, "jobs")]


def _measure(names: Sequence[str], context: Context) -> Iterator[Section]:
    for number, name in enumerate(names):
        yield measure(name, replace(context, progress=_part(context.progress, name, number, names)))


def measure(name: str, context: Context) -> Section:
    """One section, with words after colons for it; a failure of all of it is its caveat."""
    name, *words = name.split(":")
    try:
        section: Section = import_module(f"benchmarks.{name}").run(context, *words)
    except Exception as error:  # noqa: BLE001 - the other sections are still worth their time
        reason = f"Not measured: {type(error).__name__}: {error}"
        return Section(name, name.capitalize(), SECTIONS.get(name, name), caveats=[reason])
    return section


def _part(say: Say, name: str, number: int, names: Sequence[str]) -> Say:
    """The progress of one section among all."""

    def part(text: str, share: float | None = None) -> None:
        whole = None if share is None else (number + share) / len(names)
        say(f"{name}: {text}", whole)

    part("", 0.0)
    return part


def _draw(sections: Sequence[Section], folder: Path) -> str | None:
    """Draw all plots; why there are none, if there are none."""
    wanted = [plot for section in sections for plot in section.plots]
    if not wanted:
        return None
    try:
        plots.draw_all(wanted, folder)
    except (RuntimeError, OSError) as error:
        return f"Plots were not drawn: {error}"
    return None


def _with_caveats(section: Section, said: list[str]) -> Section:
    return replace(section, caveats=[*section.caveats, *said])


@contextmanager
def progress_bar(to: Console) -> Iterator[Say]:
    """A line that says what is measured now, with a bar where it is known how much is left."""
    columns = (SpinnerColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=to, transient=True) as bar:
        task = bar.add_task("", total=None)

        def say(text: str, share: float | None = None) -> None:
            bar.update(task, description=text)
            if share is not None:
                bar.update(task, total=1.0, completed=share)

        yield say
