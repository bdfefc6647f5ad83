"""The generated part of docs/performance.md."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.model import Plot, Section, Table
from benchmarks.report import Report, facts_table, shown, verdict_table

BEGIN = "<!-- written by `python -m benchmarks document`: begin -->"
END = "<!-- written by `python -m benchmarks document`: end -->"


def rewrite(page: Path, report: Report, plots: Path) -> None:
    """Put the report between the markers of the page, and the plots into the folder beside it."""
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected the lines {BEGIN!r} and {END!r} in {page}")
    folder = page.parent / page.stem
    kept = [_keep(plot, plots, folder) for section in report.sections for plot in section.plots]
    drawn = {path.name for path in kept if path is not None}
    page.write_text(f"{before}{BEGIN}\n\n{render(report, page.stem, drawn)}\n{END}{after}")


def _keep(plot: Plot, plots: Path, folder: Path) -> Path | None:
    """Copy a plot that was drawn."""
    drawn = plots / plot.file
    if not drawn.exists():
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(drawn, folder / plot.file))


def render(report: Report, folder: str, drawn: set[str]) -> str:
    """The report as Markdown, with those of its plots that were drawn."""
    parts = [_table(facts_table(report.facts))]
    if report.verdicts:
        parts.insert(0, _table(verdict_table(report.verdicts)))
    for section in report.sections:
        parts += _section(section, folder, drawn)
    return "\n".join(parts)


def _section(section: Section, folder: str, drawn: set[str]) -> Iterator[str]:
    yield f"## {section.title}\n\n{section.note}\n"
    for table in section.tables:
        yield _table(table)
    for plot in section.plots:
        if plot.file in drawn:
            yield f"![{_escaped(plot.title)}]({folder}/{plot.file})\n"
    if section.caveats:
        yield "Caveats:\n"
        yield "".join(f"- {caveat}\n" for caveat in section.caveats)


def _table(table: Table) -> str:
    rows = [[shown(cell) for cell in row] for row in table.rows]
    aligned = ["---", *("--:" for _ in table.columns[1:])]
    if any(len(cell) > 40 for row in rows for cell in row):
        aligned = ["---"] * len(table.columns)
    lines = [_line(table.columns), "|" + "|".join(aligned) + "|", *map(_line, rows)]
    caption = f"\n{table.caption}\n" if table.caption else ""
    return f"**{table.title}**\n\n" + "\n".join(lines) + f"\n{caption}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_escaped, cells)) + " |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
