"""A report on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from benchmarks.model import DASH, Section, Table
from benchmarks.report import Report, facts_table, shown, verdict_table

NARROWEST = 150
"""Ten columns do not fit in eighty characters: a pipe or a small terminal scrolls instead."""

WORDS = {"met": "green", "NOT MET": "bold red", "not measured": "yellow"}


def console() -> Console:
    """A console that is wide enough for the tables."""
    found = Console()
    return found if found.width >= NARROWEST else Console(width=NARROWEST)


def show(report: Report, to: Console) -> None:
    """Print all sections, then the circumstances and the verdict: what is read first ends last."""
    for section in report.sections:
        _show_section(section, to)
    _show_table(facts_table(report.facts), to)
    if report.verdicts:
        _show_table(verdict_table(report.verdicts), to)


def _show_section(section: Section, to: Console) -> None:
    to.rule(f"[bold]{escape(section.title)}")
    to.print(escape(section.note), "")
    for table in section.tables:
        _show_table(table, to)
    if section.caveats:
        to.print("[bold]Caveats")
        for caveat in section.caveats:
            to.print(Text(f"  {caveat}"))
        to.print()


def _show_table(table: Table, to: Console) -> None:
    drawn = RichTable(
        title=escape(table.title), caption=escape(table.caption) or None, title_justify="left"
    )
    rows = [[shown(cell) for cell in row] for row in table.rows]
    for number, head in enumerate(table.columns):
        numeric = number > 0 and all(_is_number(row[number]) for row in rows)
        drawn.add_column(escape(head), justify="right" if numeric else "left")
    for row in rows:
        drawn.add_row(*(Text(cell, style=WORDS.get(cell, "")) for cell in row))
    to.print(drawn, "")


def _is_number(cell: str) -> bool:
    """Whether it belongs to the right of its column: a number, a range, a dash or nothing."""
    figure = cell[:1].isdigit() or cell in {"", DASH} or cell.startswith(("tie", "-"))
    return figure and len(cell) < 24
