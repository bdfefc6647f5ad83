"""`python -m benchmarks COMMAND`: measure, print, and write what was found."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import markdown, report, runner, terminal

RESULTS = Path("build/bench/results.json")
PLOTS = Path("build/bench")

Quick = Annotated[bool, typer.Option("--quick", help="A tenth of the jobs, one repetition.")]
Json = Annotated[Path, typer.Option("--json", help="Where the document goes.")]
PlotsDir = Annotated[Path, typer.Option("--plots", help="Where the SVG files go.")]
Only = Annotated[str, typer.Option("--only", help="Only these peers, with a comma between.")]
NoPeers = Annotated[bool, typer.Option("--no-peers", help="Only this project.")]
Repeat = Annotated[int, typer.Option("--repeat", min=1, help="Repetitions of the comparison.")]

app = typer.Typer(
    help="Speed of this project beside its peers. Wants a quiet machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _command(name: str, sections: Sequence[str], words: str) -> None:
    """Add a command that measures these sections."""

    def measure(  # noqa: PLR0913 - one argument an option
        *,
        quick: Quick = False,
        json: Json = RESULTS,
        plots: PlotsDir = PLOTS,
        only: Only = "",
        no_peers: NoPeers = False,
        repeat: Repeat = 3,
    ) -> None:
        peers = ["jobs"] if no_peers else [peer for peer in only.split(",") if peer]
        _run(sections, peers, quick=quick, repeat=repeat, json=json, plots=plots)

    app.command(name, help=words)(measure)


for _name, _words in runner.SECTIONS.items():
    _command(_name, [_name], _words)
_command("all", list(runner.SECTIONS), "All of these.")


def _run(  # noqa: PLR0913 - one argument an option
    sections: Sequence[str],
    peers: Sequence[str],
    *,
    quick: bool,
    repeat: int,
    json: Path,
    plots: Path,
) -> None:
    to = terminal.console()
    wanted = runner.Wanted(
        command=" ".join(["python -m benchmarks", *sys.argv[1:]]),
        sections=sections,
        peers=peers,
        quick=quick,
        repeat=1 if quick else repeat,
        plots=plots,
    )
    found = runner.run(wanted, to)
    terminal.show(found, to)
    report.save(found, json)
    to.print(f"written: {json}, plots in {plots}/")


@app.command(help="Plain jobs at two commits, in one interleaved run.")
def commits(  # noqa: PLR0913 - one argument an option
    before: Annotated[str, typer.Argument(help="A commit, as git understands it.")],
    after: Annotated[str, typer.Argument(help="The one that is compared with it.")] = "HEAD",
    *,
    quick: Quick = False,
    json: Json = RESULTS,
    plots: PlotsDir = PLOTS,
    repeat: Repeat = 5,
) -> None:
    """Measure both."""
    sections = [f"commits:{before}:{after}"]
    _run(sections, ["jobs"], quick=quick, repeat=repeat, json=json, plots=plots)


@app.command()
def document(
    page: Annotated[Path, typer.Argument(help="The page with the two markers.")],
    json: Annotated[
        list[Path] | None, typer.Option(help="The document of a run; several are put together.")
    ] = None,
    plots: PlotsDir = PLOTS,
) -> None:
    """Write the tables and plots of runs into a page of the documentation."""
    runs = [report.load(path) for path in json or [RESULTS]]
    markdown.rewrite(page, report.joined(runs), plots)
    print(f"written: {page}")


if __name__ == "__main__":
    app()
