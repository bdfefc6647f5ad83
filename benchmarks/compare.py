"""The table of the comparison: every peer, one thing after the other, repetitions interleaved.

A repetition goes through the steps, and each step through the peers: what is compared was
measured within a minute, and a slow minute of the machine hits all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks import layout, measure, steps
from benchmarks.environments import Unavailable
from benchmarks.model import Context, Failed, Section
from benchmarks.processes import Program
from benchmarks.rows import BARE, PEERS, Peer
from benchmarks.targets import TARGETS, spread

NOTE = (
    "One run on one machine, {cpus} processors, {server}; one worker process, concurrency 100, "
    "no-op jobs with 200-byte payloads, medians of {repeat}. Statistics, leases, tokens, "
    "retention and payload validation are on in ours; everybody logs at WARNING. Ratios under 1.3 "
    "are ties."
)


@dataclass
class Findings:
    """What was measured so far: the values of each figure, and what went wrong."""

    values: dict[str, list[float]] = field(default_factory=dict)  # "drain.bullmq" -> repetitions
    failures: dict[str, str] = field(default_factory=dict)  # "BullMQ, drain" -> reason
    abouts: dict[str, Mapping[str, str]] = field(default_factory=dict)  # by peer's label

    def add(self, peer: str, figures: steps.Figures) -> None:
        """Keep one repetition."""
        for row, value in figures.items():
            if value is not None:
                self.values.setdefault(f"{row}.{peer}", []).append(value)

    def figures(self) -> dict[str, float]:
        """The medians by name, and beside each the least and the greatest."""
        found: dict[str, float] = {}
        for name, values in self.values.items():
            middle, least, greatest = spread(values)
            found |= {name: middle, f"{name}.least": least, f"{name}.greatest": greatest}
        return found


@dataclass(frozen=True)
class Task:
    """One step of one peer in one repetition."""

    title: str
    peer: Peer
    program: Program
    step: steps.Step


def run(context: Context) -> Section:
    """Measure everything, and lay the tables."""
    findings = Findings()
    programs = dict(_programs(context, findings))
    tasks = [task for _ in range(context.repeat) for task in _tasks(programs)]
    with context.start_server() as server:
        for done, task in enumerate(tasks):
            context.progress(f"{task.peer.label}: {task.title}", done / len(tasks))
            attempt(task, steps.Bed(context, server, task.peer, task.program), findings)
        return section(findings, server.version, context.repeat)


def attempt(task: Task, bed: steps.Bed, findings: Findings) -> None:
    """Measure; what fails is written down, and the run goes on."""
    try:
        findings.add(task.peer.name, task.step(bed))
    except Exception as error:  # noqa: BLE001 - also what a broken peer makes of our own code
        reason = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
        findings.failures[f"{task.peer.label}, {task.title}"] = reason


def _programs(context: Context, findings: Findings) -> Iterator[tuple[Peer, Program]]:
    """The peers whose environment is there, and that can say what they are."""
    for peer in (*PEERS, BARE):
        environment = context.environments.get(peer.name)
        if environment is None:
            continue
        if isinstance(environment, Unavailable):
            findings.failures[peer.label] = environment.reason
            continue
        program = Program(peer.name, environment.command(peer.name))
        try:
            about = measure.about(program)
        except Failed as error:
            findings.failures[peer.label] = str(error)
            continue
        findings.abouts[peer.label] = {**about, "python": environment.python_version}
        yield peer, program


def _tasks(programs: Mapping[Peer, Program]) -> Iterator[Task]:
    """One repetition: the steps, and in each the peers in turn."""
    for title, step in steps.STEPS.items():
        for peer, program in programs.items():
            if peer is not BARE:
                yield Task(title, peer, program, step)
            for own in steps.ALONE:
                if (own.peer, own.beside) == (peer.name, title):
                    yield Task(own.title, peer, program, own.step)


def section(findings: Findings, server: str, repeat: int) -> Section:
    """The tables, plots and caveats of what was found."""
    figures = findings.figures()
    peers = [peer for peer in PEERS if peer.label in findings.abouts]
    return Section(
        name="compare",
        title="Beside its peers",
        note=NOTE.format(cpus=os.cpu_count(), server=server, repeat=repeat),
        tables=layout.tables(figures, peers, findings.abouts),
        plots=layout.plots(figures, peers),
        figures=figures,
        caveats=layout.caveats(findings.abouts, findings.failures),
        targets=TARGETS,
    )
