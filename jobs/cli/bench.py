"""`bench`: what the user's own server and settings carry, and what bounds it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.context import Cli, fancy

if TYPE_CHECKING:
    from jobs import Client
    from jobs.cli.application import Application
    from jobs.cli.measuring import Plan
    from jobs.cli.verdict import Figures, Finding, Rate, Spread

DEFAULT_CONCURRENCY = 100
#: The bar is drawn between two measurements, so seldom that they do not feel it.
DRAW_S = 0.25
COLUMNS = ["measured", "per second", "p50 ms", "p99 ms", "remarks"]


def bench(
    cli: Cli,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, max=600, help="How long, about.")
    ] = 20,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", "-c", min=1, help="Jobs at once; default: max_jobs, or 100."),
    ] = None,
) -> None:
    """Measure what this server and a worker carry, in 20 s, and say what bounds it.

    It writes only to a queue of its own with at most 50,000 jobs, which is removed at the end.
    """
    import logging

    from jobs import logs
    from jobs.cli.server import optional_app

    logs.configure(logging.INFO if cli.verbose else logging.ERROR)
    app = optional_app(cli)
    figures = _measure(cli, app, _plan(app, seconds, concurrency))
    _show(cli, figures)


def _plan(app: Application | None, seconds: float, concurrency: int | None) -> Plan:
    """What of the application's settings its jobs would feel; its functions stay out."""
    from jobs.cli.measuring import Plan
    from jobs.cli.worker import loop_factory

    given = app.settings if app else {}
    names = ("job_serializer", "job_deserializer")
    return Plan(
        seconds=seconds,
        concurrency=concurrency or int(given.get("max_jobs") or DEFAULT_CONCURRENCY),
        loop="uvloop" if loop_factory() else "asyncio",
        settings={name: given[name] for name in names if name in given},
    )


def _measure(cli: Cli, app: Application | None, plan: Plan) -> Figures:
    from jobs.cli.measuring import Measurement
    from jobs.cli.scratch import Scratch
    from jobs.cli.server import connect, talk
    from jobs.cli.worker import loop_factory

    async def work(client: Client) -> Figures:
        scratch, worker_client = Scratch(client, cli.say), connect(cli, app)
        cli.say(
            f"measuring {client.address} for about {plan.seconds:g} s; writes only to a queue of "
            f"its own, {scratch.name}, and removes it at the end …"
        )
        try:
            with _progress(cli, plan.seconds) as tick:
                async with scratch:
                    return await Measurement(client, worker_client, scratch, plan, tick).run()
        finally:
            await worker_client.aclose(close_connection_pool=True)

    return talk(cli, app, work, loop_factory=loop_factory())


# -- the bar -------------------------------------------------------------------------------


@contextmanager
def _progress(cli: Cli, seconds: float) -> Iterator[Callable[[str], None]]:
    """A bar of the time on standard error, if it is a terminal that people look at."""
    if cli.quiet or not fancy(sys.stderr):
        yield lambda _name: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description:>18}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
    )
    bar = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
    with bar:
        task, began, drawn = bar.add_task("", total=seconds), perf_counter(), 0.0

        def tick(name: str) -> None:
            nonlocal drawn
            now = perf_counter()
            if now - drawn >= DRAW_S:
                drawn = now
                done = min(now - began, seconds)
                bar.update(task, completed=done, description=name, refresh=True)

        yield tick


# -- what was found ------------------------------------------------------------------------


def _show(cli: Cli, figures: Figures) -> None:
    from jobs.cli.verdict import verdict

    findings = verdict(figures)
    if cli.json:
        cli.document(**_document(figures), verdict=findings)
        return
    cli.table(COLUMNS, _rows(figures))
    cli.data("")
    for finding in findings:
        cli.data(_line(finding))


def _line(finding: Finding) -> str:
    return f"{'-' if finding.level == 'ok' else '!'} {finding.text}"


def _rows(figures: Figures) -> list[list[object]]:
    f = figures
    one_by_one, bulk = f.one_by_one, f.bulk
    size = f", {f.bytes_a_job} bytes a job" if f.bytes_a_job else ""
    return [
        _times("round trip (PING)", f.ping, f.place.server),
        _times("round trip (SET)", f.write),
        ["enqueue one by one", f"{one_by_one.per_s:,.0f}", None, None, _jobs(one_by_one)],
        ["enqueue in bulk", f"{bulk.per_s:,.0f}", None, None, f"{_jobs(bulk)}, 100 a call{size}"],
        ["drain", f"{f.drain.per_s:,.0f}", None, None, f"{_jobs(f.drain)}; {_costs(f)}"],
        _times("pick-up", f.pickup, "from enqueue to begin, idle queue"),
        _times("enqueue and await", f.awaited, "from enqueue to result, idle queue"),
    ]


def _times(name: str, spread: Spread, remark: str = "") -> list[object]:
    figures = [f"{spread.p50_ms:.2f}", f"{spread.p99_ms:.2f}"]
    return [name, None, *figures, remark or f"{spread.samples:,} times"]


def _jobs(rate: Rate) -> str:
    return f"{rate.jobs:,} jobs"


def _costs(figures: Figures) -> str:
    """Of which kind the worker was, and how much of a core each side used."""
    drain, place = figures.drain, figures.place
    server = "" if drain.server_share is None else f", server {drain.server_share:.0%}"
    return (
        f"concurrency {place.concurrency}, {place.loop}; worker {drain.worker_share:.0%} of a core"
        f"{server}"
    )


def _document(figures: Figures) -> dict[str, Any]:
    """The figures with what follows from them."""
    from dataclasses import asdict

    content = asdict(figures)
    for name in ("one_by_one", "bulk", "drain"):
        content[name]["per_s"] = round(getattr(figures, name).per_s, 1)
    content["drain"]["worker_share"] = figures.drain.worker_share
    content["drain"]["server_share"] = figures.drain.server_share
    return content
