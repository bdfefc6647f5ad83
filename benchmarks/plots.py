"""SVG plots of a report: the same data gives the same bytes.

matplotlib is not among the tools of this project but in an environment of its own, so this module
is also a program: `python -m benchmarks.plots FOLDER`, with the plots as JSON on standard input.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.model import Bars, Plot
from benchmarks.report import plot_from_json, plot_to_json

ROOT = Path(__file__).resolve().parent.parent
OURS = "jobs"
ENVIRONMENT = ROOT / "build" / "bench" / "plots"
REQUIREMENTS = Path(__file__).with_name("plots.txt")
COLORS = ("#0b6bcb", "#d1495b", "#2e8b57", "#e39c1f", "#7a5195", "#5f6b76")
MUTED = "#9fb0c0"
STYLE = {
    "svg.hashsalt": "benchmarks",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
UNSEEN = 50
"""Values so many times apart are drawn on a logarithmic axis: the smaller ones would be lines."""


def draw_all(plots: Sequence[Plot], folder: Path) -> list[Path]:
    """Draw each, here or by the Python that has matplotlib; RuntimeError if neither can."""
    folder.mkdir(parents=True, exist_ok=True)
    if find_spec("matplotlib") is not None:
        return [draw(plot, folder) for plot in plots]
    wanted = json.dumps([plot_to_json(plot) for plot in plots])
    _run([_environment(), "-m", "benchmarks.plots", folder.resolve()], wanted)
    return [folder / plot.file for plot in plots]


def _environment() -> Path:
    """The Python of the plots' own environment, made now if it is not there or is another's."""
    python, made_from = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "made-from.txt"
    wanted = REQUIREMENTS.read_text()
    if not made_from.exists() or made_from.read_text() != wanted:
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        _run([python, "-m", "pip", "install", "--quiet", "--no-deps", "-r", REQUIREMENTS])
        made_from.write_text(wanted)
    return python


def _run(words: Sequence[str | Path], given: str = "") -> None:
    done = subprocess.run(words, input=given, text=True, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])


def draw(plot: Plot, folder: Path) -> Path:
    """Draw one plot to its file."""
    path = folder / plot.file
    if isinstance(plot, Bars):
        bars(path, plot.title, plot.unit, plot.data)
    else:
        lines(path, plot.title, (plot.xlabel, plot.ylabel), plot.data, logx=plot.logx)
    return path


def bars(path: Path, title: str, unit: str, data: Mapping[str, Sequence[float]]) -> None:
    """A bar a name, with its value behind it and a whisker over the range."""
    figure, axes = _figure(0.9 + 0.36 * max(len(data), 1))
    names = list(data)[::-1]
    middles = [data[name][0] for name in names]
    whiskers = [
        [middle - data[name][1] for name, middle in zip(names, middles, strict=True)],
        [data[name][2] - middle for name, middle in zip(names, middles, strict=True)],
    ]
    colors = [COLORS[0] if name == OURS else MUTED for name in names]
    drawn = axes.barh(names, middles, color=colors, height=0.68)
    axes.errorbar(middles, names, xerr=whiskers, fmt="none", ecolor="#333333", elinewidth=1)
    labels = [_label(data[name]) for name in names]
    axes.bar_label(drawn, labels, padding=6, fontsize=9)
    positive = [middle for middle in middles if middle > 0]
    if positive and max(positive) > UNSEEN * min(positive):
        axes.set_xscale("log")
        unit += " (logarithmic)"
    axes.margins(x=0.15)
    axes.set_xlabel(unit)
    axes.grid(visible=True, axis="x", color="#e5e5e5")
    _save(figure, axes, title, path)


def _label(values: Sequence[float]) -> str:
    middle = values[0]
    return f"{middle:,.0f}" if middle >= 100 else f"{middle:.3g}"


def lines(
    path: Path,
    title: str,
    labels: tuple[str, str],
    data: Mapping[str, Sequence[Sequence[float]]],
    *,
    logx: bool = False,
) -> None:
    """A line a series, from nothing upwards: a slope is not made steeper by a cut axis."""
    figure, axes = _figure(3.4)
    for number, (name, points) in enumerate(data.items()):
        xs, ys = [point[0] for point in points], [point[1] for point in points]
        color = COLORS[number % len(COLORS)]
        axes.plot(xs, ys, label=name, color=color, marker="o", markersize=4, linewidth=1.8)
    if logx:
        axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.yaxis.set_major_formatter(
        lambda value, _: f"{value:,.0f}" if value >= 10 else f"{value:g}"
    )
    axes.grid(visible=True, color="#e5e5e5")
    if len(data) > 1:
        axes.legend(frameon=False)
    _save(figure, axes, title, path)


def _figure(height: float) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(STYLE)
    figure, axes = plt.subplots(figsize=(7.2, height), layout="constrained")
    return figure, axes


def _save(figure: Any, axes: Any, title: str, path: Path) -> None:
    import matplotlib.pyplot as plt

    axes.set_title(title, loc="left")
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Draw what is on standard input."""
    folder = Path(sys.argv[1])
    for found in json.load(sys.stdin):
        draw(plot_from_json(found), folder)


if __name__ == "__main__":
    main()
