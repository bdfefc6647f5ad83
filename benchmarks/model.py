"""The words that the measuring modules and the report share.

A measuring module exposes `run(context) -> Section`. It measures, keeps what failed as a caveat
with its reason, and never ends the run. It prints nothing: what it has to say while it works goes
through `context.progress`, what it found is in the section.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from benchmarks.environments import Environment, Unavailable
    from benchmarks.server import Server

Cell: TypeAlias = str | float | None
Figures: TypeAlias = Mapping[str, float]

DASH = "–"  # noqa: RUF001 - as the tables write it


class Failed(Exception):
    """A measurement failed, hung or is not supported: its reason stands below the table."""


@dataclass(frozen=True)
class Table:
    """A table of a section; a cell that is None is shown as a dash."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


@dataclass(frozen=True)
class Bars:
    """A plot of one bar a name: its median, with a whisker from the least to the greatest."""

    file: str  # "drain.svg"
    title: str
    unit: str  # "jobs/s"
    data: Mapping[str, tuple[float, float, float]]  # name -> (median, least, greatest)


@dataclass(frozen=True)
class Lines:
    """A plot of one line a series."""

    file: str
    title: str
    xlabel: str
    ylabel: str
    data: Mapping[str, Sequence[tuple[float, float]]]  # series -> [(x, y), …]
    logx: bool = False


Plot: TypeAlias = Bars | Lines


@dataclass(frozen=True)
class Target:
    """What one figure must reach: at least (or, when less is better, at most) its bound."""

    name: str  # "drain against BullMQ"
    text: str  # what is required, as it is shown: "≥ 2.5x BullMQ"
    bound: float
    value: Callable[[Figures], float | None]  # None: not measured
    less: bool = False  # less is better: the bound is the most that is allowed
    unit: str = ""  # behind the value: "x", "%", "ms", "bytes"

    def met(self, figures: Figures) -> bool | None:
        """Whether the bound was reached; None when there was nothing to compare."""
        value = self.value(figures)
        if value is None:
            return None
        return value <= self.bound if self.less else value >= self.bound


@dataclass(frozen=True)
class Section:
    """What one measuring module found."""

    name: str  # "curves": also the prefix of its figures in the document
    title: str
    note: str  # one paragraph: what was measured, and how
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    figures: Mapping[str, float] = field(default_factory=dict)  # "concurrency.100.jobs_per_s"
    caveats: Sequence[str] = ()
    targets: Sequence[Target] = ()  # judged by this section's own figures


class StartServer(Protocol):
    """Start a server of our own for the time of a `with` block (benchmarks/server.py)."""

    def __call__(self, *options: str, engine: str = "default") -> AbstractContextManager[Server]:
        """`engine="valkey9"` is the wheel's Valkey; options as on redis-server's command line."""


class Progress(Protocol):
    """Say what is measured now."""

    def __call__(self, text: str, share: float | None = None) -> None:
        """One short line, and how much of this section is done (0 to 1) where that is known."""


@dataclass(frozen=True)
class Context:
    """What a measuring module is given."""

    start_server: StartServer
    environments: Mapping[str, Environment | Unavailable]  # by peer's name: "jobs", "arq_stock", …
    progress: Progress
    quick: bool = False  # a tenth of the jobs
    repeat: int = 3
    scratch: Path = Path("build/bench/scratch")

    def jobs(self, number: int) -> int:
        """So many jobs, or a tenth of them in a quick run."""
        return max(number // 10, 1) if self.quick else number
