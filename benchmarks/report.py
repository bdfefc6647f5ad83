"""The result of a run: its sections and verdicts, and the JSON document that holds them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.model import DASH, Bars, Cell, Lines, Plot, Section, Table

SCHEMA = 1


@dataclass(frozen=True)
class Verdict:
    """One target, as it came out."""

    name: str
    text: str  # what is required
    value: str  # ours
    met: bool | None

    @property
    def word(self) -> str:
        """How it is called in the table."""
        return {True: "met", False: "NOT MET", None: "not measured"}[self.met]


@dataclass(frozen=True)
class Report:
    """All of a run."""

    facts: Mapping[str, str]  # machine, versions, command
    sections: Sequence[Section]
    verdicts: Sequence[Verdict] = field(default_factory=list)


def verdicts(sections: Iterable[Section]) -> list[Verdict]:
    """Every section's targets, judged by its own figures."""
    found = []
    for section in sections:
        for target in section.targets:
            value = target.value(section.figures)
            shown = DASH if value is None else f"{shorten(value)}{target.unit}"
            met = target.met(section.figures)
            found.append(Verdict(target.name, target.text, shown, met))
    return found


def shorten(value: float) -> str:
    """A number with three digits that matter, or all of those before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 if abs(value) < 10 else 1}f}".rstrip("0").rstrip(".") or "0"


def shown(cell: Cell) -> str:
    """A cell as text."""
    if cell is None:
        return DASH
    return cell if isinstance(cell, str) else shorten(cell)


def joined(runs: Sequence[Report]) -> Report:
    """Runs of different sections as one; each section says nothing of the others' circumstances,
    so the facts are those of the first run, with the commands of all.
    """
    first, *others = runs
    commands = dict.fromkeys(one.facts.get("command", "") for one in runs)
    return Report(
        {**first.facts, "command": "; ".join(filter(None, commands))} if others else first.facts,
        [section for one in runs for section in one.sections],
        [verdict for one in runs for verdict in one.verdicts],
    )


def verdict_table(found: Sequence[Verdict]) -> Table:
    """Each target of the issue by name, with our value."""
    missed = sum(verdict.met is False for verdict in found)
    absent = sum(verdict.met is None for verdict in found)
    caption = f"{len(found) - missed - absent} of {len(found)} targets met"
    caption += f", {absent} not measured." if absent else "."
    rows = [[one.name, one.value, one.text, one.word] for one in found]
    return Table("Verdict", ["target", "ours", "required", ""], rows, caption)


def facts_table(facts: Mapping[str, str]) -> Table:
    """Under which circumstances all of it was measured."""
    return Table("Measured on", ["", ""], [[name, value] for name, value in facts.items()])


def save(report: Report, path: Path) -> None:
    """Write the document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(to_json(report), indent=1, ensure_ascii=False) + "\n")


def load(path: Path) -> Report:
    """Read the document again."""
    return from_json(json.loads(path.read_text()))


def to_json(report: Report) -> dict[str, Any]:
    """The document as plain data; targets are in it as verdicts."""
    return {
        "schema": SCHEMA,
        "facts": dict(report.facts),
        "verdicts": [asdict(verdict) for verdict in report.verdicts],
        "sections": [_section_to_json(section) for section in report.sections],
    }


def from_json(document: Mapping[str, Any]) -> Report:
    """The report that `to_json` wrote."""
    if document.get("schema") != SCHEMA:
        raise ValueError(f"expected schema {SCHEMA}, found {document.get('schema')!r}")
    return Report(
        document["facts"],
        [_section_from_json(section) for section in document["sections"]],
        [Verdict(**verdict) for verdict in document["verdicts"]],
    )


def _section_to_json(section: Section) -> dict[str, Any]:
    return {
        "name": section.name,
        "title": section.title,
        "note": section.note,
        "tables": [asdict(table) for table in section.tables],
        "plots": [plot_to_json(plot) for plot in section.plots],
        "figures": dict(section.figures),
        "caveats": list(section.caveats),
    }


def _section_from_json(found: Mapping[str, Any]) -> Section:
    tables = [Table(**table) for table in found["tables"]]
    plots = [plot_from_json(plot) for plot in found["plots"]]
    return Section(**{**found, "tables": tables, "plots": plots})


def plot_to_json(plot: Plot) -> dict[str, Any]:
    """A plot as plain data, its kind by name."""
    return {"kind": "bars" if isinstance(plot, Bars) else "lines", **asdict(plot)}


def plot_from_json(found: Mapping[str, Any]) -> Plot:
    """The plot that `plot_to_json` wrote."""
    fields = {name: value for name, value in found.items() if name != "kind"}
    return Bars(**fields) if found["kind"] == "bars" else Lines(**fields)
