"""The comparison's figures laid out as tables and plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.model import Bars, Cell, Figures, Table
from benchmarks.rows import BESIDE, PLOTTED, ROWS, Peer, Row
from benchmarks.targets import OURS, advantage, called, number

Abouts = Mapping[str, Mapping[str, str]]


def tables(figures: Figures, peers: Sequence[Peer], abouts: Abouts) -> list[Table]:
    """Medians, ratios and ranges; what stands beside; how each was set up."""
    return [
        Table("Medians", _heads(peers), [_medians(row, peers, figures) for row in ROWS]),
        Table(
            "Ours against each",
            _heads(_others(peers)),
            [_ratios(row, _others(peers), figures) for row in ROWS],
            "So many times better is ours: over 1 is better also where less is better.",
        ),
        Table(
            "Ranges",
            _heads(peers),
            [_ranges(row, peers, figures) for row in ROWS],
            "The least and the greatest of the repetitions.",
        ),
        Table("Beside it", ["", "median", "range"], [_beside(row, figures) for row in BESIDE]),
        Table("Set-up", ["", "version", "runs on", "settings"], list(_set_up(abouts))),
    ]


def plots(figures: Figures, peers: Sequence[Peer]) -> list[Bars]:
    """A plot of each row that is worth one, of the peers that have the figure."""
    return [_bars(row, peers, figures) for row in ROWS if row.key in PLOTTED]


def caveats(abouts: Abouts, failures: Mapping[str, str]) -> list[str]:
    """What the peers say against themselves, and why a cell is a dash."""
    said = [f"{label}: {about['caveat']}." for label, about in abouts.items() if about["caveat"]]
    return said + [f"{what}: {reason}." for what, reason in failures.items()]


def _others(peers: Sequence[Peer]) -> list[Peer]:
    return [peer for peer in peers if peer.name != OURS]


def _heads(peers: Sequence[Peer]) -> list[str]:
    return ["", *(peer.label for peer in peers)]


def _medians(row: Row, peers: Sequence[Peer], figures: Figures) -> list[Cell]:
    cells = (figures.get(f"{row.key}.{peer.name}") for peer in peers)
    return [row.title, *(None if cell is None else number(cell, row.digits) for cell in cells)]


def _ratios(row: Row, peers: Sequence[Peer], figures: Figures) -> list[Cell]:
    ours = figures.get(f"{row.key}.{OURS}")
    theirs = (figures.get(f"{row.key}.{peer.name}") for peer in peers)
    times = (advantage(ours, their, less=row.less) for their in theirs)
    return [row.title, *(None if cell is None else called(cell) for cell in times)]


def _ranges(row: Row, peers: Sequence[Peer], figures: Figures) -> list[Cell]:
    names = (f"{row.key}.{peer.name}" for peer in peers)
    return [row.title, *(_range(name, row.digits, figures) for name in names)]


def _range(name: str, digits: int, figures: Figures) -> Cell:
    if name not in figures:
        return None
    ends = (figures[f"{name}.least"], figures[f"{name}.greatest"])
    return " … ".join(number(end, digits) for end in ends)


def _beside(row: Row, figures: Figures) -> list[Cell]:
    value = figures.get(row.key)
    middle = None if value is None else number(value, row.digits)
    return [row.title, middle, _range(row.key, row.digits, figures)]


def _set_up(abouts: Abouts) -> Iterator[list[Cell]]:
    for label, about in abouts.items():
        runs_on = f"{about['python']}, {about['loop']}"
        yield [label, f"{about['name']} {about['version']}", runs_on, about["settings"]]


def _bars(row: Row, peers: Sequence[Peer], figures: Figures) -> Bars:
    names = {peer.label: f"{row.key}.{peer.name}" for peer in peers}
    data = {
        label: (figures[name], figures[f"{name}.least"], figures[f"{name}.greatest"])
        for label, name in names.items()
        if name in figures
    }
    return Bars(f"compare-{row.key.replace('_', '-')}.svg", row.title, row.unit, data)
