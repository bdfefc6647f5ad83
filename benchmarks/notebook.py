"""What a measuring module found so far; a measurement that fails becomes a caveat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeAlias

from benchmarks.model import Cell, Context, Failed, Figures, Target

#: One measurement: what it is, and what returns its figures by name.
Task: TypeAlias = tuple[str, Callable[[], Figures]]


@dataclass
class Notebook:
    """The values of each figure in their order, and what went wrong."""

    values: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def run(self, context: Context, tasks: Sequence[Task]) -> None:
        """Measure one after the other."""
        for done, (what, measure) in enumerate(tasks):
            context.progress(what, done / len(tasks))
            try:
                found = measure()
            except Exception as error:  # noqa: BLE001 -- the run goes on, whatever broke
                known = isinstance(error, Failed)
                self.failures[what] = str(error) if known else f"{type(error).__name__}: {error}"
            else:
                for name, value in found.items():
                    self.values.setdefault(name, []).append(value)

    def get(self, name: str) -> float | None:
        """The median of a figure; `None` if it was not measured."""
        values = self.values.get(name)
        return median(values) if values else None

    def ratio(self, name: str, of: str) -> float | None:
        """One figure's median as a share of another's."""
        part, whole = self.get(name), self.get(of)
        return None if part is None or not whole else part / whole

    def percent(self, name: str, of: str) -> float | None:
        """The same in percent, as targets show it."""
        share = self.ratio(name, of)
        return None if share is None else share * 100

    def figures(self, **more: float | None) -> dict[str, float]:
        """The medians by name, with others that were computed of them."""
        known = {name: median(values) for name, values in self.values.items()}
        return known | {name: value for name, value in more.items() if value is not None}

    def caveats(self) -> list[str]:
        """A sentence for each measurement that failed."""
        return [f"{what}: {reason}" for what, reason in self.failures.items()]


def shown(value: float | None, form: str = ",.0f") -> Cell:
    """A figure as a cell of a table."""
    return None if value is None else format(value, form)


def figure(name: str) -> Callable[[Figures], float | None]:
    """What a target looks at: one figure of its section."""
    return lambda figures: figures.get(name)


def at_least(name: str, key: str, bound: float, unit: str = "") -> Target:
    """A target for one figure of the section."""
    return Target(name, f"≥ {bound:,g}{unit}", bound, figure(key), unit=unit)


def at_most(name: str, key: str, bound: float, unit: str = "") -> Target:
    """The same where less is better."""
    return Target(name, f"≤ {bound:,g}{unit}", bound, figure(key), less=True, unit=unit)
