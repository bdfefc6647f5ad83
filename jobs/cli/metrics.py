"""`metrics`: how the queues are doing, as a table, as JSON, once or again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.codes import Code, Problem
from jobs.cli.command import PlainCommand
from jobs.cli.completing import queue_names
from jobs.cli.context import Cli, fancy, plain, rich_table

if TYPE_CHECKING:
    from jobs import Client
    from jobs.metrics import FunctionMetrics, QueueMetrics

DEFAULT_WATCH = "2s"
COLUMNS = ["queue", "waiting", "active", "delayed", "parked", "done/h", "failed/h", "dead",
           "run avg", "run p95", "wait p95", "oldest", "rate/min"]  # fmt: skip
FUNCTION_COLUMNS = ["queue", "function", "added", "done", "failed", "retried", "run avg",
                    "run p50", "run p95", "run p99", "wait p50", "wait p95"]  # fmt: skip
BARS = "▁▂▃▄▅▆▇█"
CHART_WIDTH = 20


class MetricsCommand(PlainCommand):
    """A command whose `--watch` may stand without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare `--watch` its default."""
        words = list(args)
        for n, word in enumerate(args):
            following = args[n + 1 : n + 2]
            if word == "--watch" and (not following or not following[0][:1].isdigit()):
                words[n] = f"--watch={DEFAULT_WATCH}"
        return super().parse_args(ctx, words)


def metrics(  # noqa: PLR0913 -- the options of one command
    cli: Cli,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue", metavar="NAME", help="Only these queues.", autocompletion=queue_names
        ),
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="1h", help="Count what ended since: 1m to 90d.")
    ] = "1h",
    functions: Annotated[
        bool, typer.Option("--functions", help="A row for every function.")
    ] = False,
    watch: Annotated[
        str | None,
        typer.Option("--watch", metavar="[2s]", help="Again every so often, until Ctrl-C."),
    ] = None,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="The text that Prometheus scrapes.")
    ] = False,
) -> int | None:
    """Counts, rates and times of every queue; what has ended is that of the last hour."""
    from jobs.durations import to_ms, to_seconds
    from jobs.metrics import check_window

    if prometheus:
        _prometheus(cli, queue)
        return None
    check_window(to_ms(since, what="since"))
    page = Page(functions, since)
    if watch is None:
        _show(cli, page, _read(cli, queue, since))
        return None
    return _watch(cli, page, queue, to_seconds(watch, what="watch"))


@dataclass(frozen=True)
class Page:
    """How the figures are shown."""

    functions: bool
    since: str


def _read(cli: Cli, only: list[str] | None, since: str) -> list[QueueMetrics]:
    from jobs.cli.server import optional_app, talk

    async def work(client: Client) -> list[QueueMetrics]:
        names = await known_queues(client, app)
        return [await client.queue(name).metrics(since) for name in check_queues(only, names)]

    app = optional_app(cli)
    return talk(cli, app, work)


def _prometheus(cli: Cli, only: list[str] | None) -> None:
    from jobs.cli.server import optional_app, talk
    from jobs.keys import queue_keys
    from jobs.operations.prometheus import scrape

    async def work(client: Client) -> str:
        names = check_queues(only, await known_queues(client, app))
        return await scrape(client, {name: queue_keys(name, client.prefix) for name in names})

    app = optional_app(cli)
    cli.data(talk(cli, app, work).rstrip("\n"))


async def known_queues(client: Client, app: Any) -> list[str]:
    """The queues that the server has seen, and those that the application declares."""
    return sorted({*await client.queues(), *(app.queues if app else ())})


def check_queues(only: list[str] | None, names: list[str]) -> list[str]:
    """The queues that were asked for, or all.

    Raises:
        Problem: one that does not exist.
    """
    from jobs.errors import did_you_mean

    for name in only or ():
        if name not in names:
            raise Problem(
                f"there is no queue {name!r}{did_you_mean(name, names)}",
                f"the queues are {', '.join(names) or '(none yet)'}",
                Code.not_found,
            )
    return only or names


def _watch(cli: Cli, page: Page, only: list[str] | None, every_s: float) -> int:
    if cli.json or not fancy(sys.stdout):
        while True:
            _show(cli, page, _read(cli, only, page.since))
            time.sleep(every_s)
    from rich.live import Live

    with Live(_rich(page, _read(cli, only, page.since)), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(every_s)
            live.update(_rich(page, _read(cli, only, page.since)), refresh=True)


def _show(cli: Cli, page: Page, found: list[QueueMetrics]) -> None:
    if cli.json:
        cli.document(at=datetime.now(UTC), queues=[as_json(metrics) for metrics in found])
    elif not found:
        cli.say("no queue has had a job yet; `arq-jobs enqueue --help` lists the jobs")
    else:
        cli.table(*_table(page, found, charts=fancy(sys.stdout)))


def _rich(page: Page, found: list[QueueMetrics]) -> Any:
    columns, rows = _table(page, found, charts=True)
    return rich_table(columns, [[plain(cell) for cell in row] for row in rows])


def _table(
    page: Page, found: list[QueueMetrics], *, charts: bool
) -> tuple[list[str], list[list[object]]]:
    """Columns and rows: one a queue, or one a function."""
    if page.functions:
        rows = [_function_row(m.queue, one) for m in found for one in m.functions]
        return FUNCTION_COLUMNS, rows
    unit = f"/{page.since}" if page.since != "1h" else "/h"
    columns = [column.replace("/h", unit) for column in COLUMNS]
    if not charts:
        return columns, [_row(metrics) for metrics in found]
    rows = [[*_row(m), sparkline([p.completed for p in m.series])] for m in found]
    return [*columns, "done over time"], rows


def _row(metrics: QueueMetrics) -> list[object]:
    from jobs.cli.when import span

    m = metrics
    return [
        m.queue, m.waiting, m.active, m.delayed, m.parked, m.completed, m.failed, m.dead,
        span(m.avg_processing_ms), span(m.run.p95), span(m.wait.p95), span(m.oldest_waiting_ms),
        f"{m.per_minute:.1f}",
    ]  # fmt: skip


def _function_row(queue: str, one: FunctionMetrics) -> list[object]:
    from jobs.cli.when import span

    return [
        queue, one.function, one.enqueued, one.completed, one.failed, one.retried,
        span(one.run.average), span(one.run.p50), span(one.run.p95), span(one.run.p99),
        span(one.wait.p50), span(one.wait.p95),
    ]  # fmt: skip


def sparkline(values: Sequence[float], width: int = CHART_WIDTH) -> str:
    """A chart of one line: neighbours are summed until it has at most `width` signs."""
    size = max(1, -(-len(values) // width))
    start = len(values) % size
    groups = [values[:start]] if start else []
    groups += [values[at : at + size] for at in range(start, len(values), size)]
    sums = [sum(group) for group in groups]
    most = max(sums, default=0)
    if not most:
        return BARS[0] * len(sums)
    return "".join(BARS[-(-int(value) * (len(BARS) - 1) // int(most))] for value in sums)


def as_json(metrics: QueueMetrics) -> dict[str, Any]:
    """The figures of one queue: the fields of seeds 001 and 003 by their names there, and ours."""
    document = asdict(metrics)
    document["name"] = metrics.queue
    document["total"] = metrics.total
    document["avgProcessingTime"] = metrics.avg_processing_ms
    return document
