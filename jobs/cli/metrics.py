"""`metrics`: how the queues are doing, as a table, as JSON, once or again and again."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.codes import Code, Problem
from jobs.cli.command import PlainCommand
from jobs.cli.context import Cli, fancy, plain, rich_table

if TYPE_CHECKING:
    from jobs import Client
    from jobs.metrics import QueueMetrics

DEFAULT_WATCH = "2s"
COLUMNS = ["queue", "waiting", "active", "delayed", "parked", "done/h", "failed/h", "dead",
           "run avg", "run p95", "wait p95", "oldest"]  # fmt: skip


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


def metrics(
    cli: Cli,
    queue: Annotated[
        list[str] | None, typer.Option("--queue", metavar="NAME", help="Only these queues.")
    ] = None,
    watch: Annotated[
        str | None,
        typer.Option("--watch", metavar="[2s]", help="Again every so often, until Ctrl-C."),
    ] = None,
) -> int | None:
    """Counts, rates and times of every queue; ended jobs are those of the last hour."""
    if watch is None:
        _show(cli, _read(cli, queue))
        return None
    from jobs.durations import to_seconds

    return _watch(cli, queue, to_seconds(watch, what="watch"))


def _read(cli: Cli, only: list[str] | None) -> list[QueueMetrics]:
    from jobs.cli.server import optional_app, talk

    async def work(client: Client) -> list[QueueMetrics]:
        names = await known_queues(client, app)
        return [await client.queue(name).metrics() for name in check_queues(only, names)]

    app = optional_app(cli)
    return talk(cli, app, work)


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


def _watch(cli: Cli, only: list[str] | None, every_s: float) -> int:
    if cli.json or not fancy(sys.stdout):
        while True:
            _show(cli, _read(cli, only))
            time.sleep(every_s)
    from rich.live import Live

    with Live(_rich(_read(cli, only)), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(every_s)
            live.update(_rich(_read(cli, only)), refresh=True)


def _show(cli: Cli, found: list[QueueMetrics]) -> None:
    if cli.json:
        cli.document(at=datetime.now(UTC), queues=[as_json(metrics) for metrics in found])
    elif not found:
        cli.say("no queue has had a job yet; `arq-jobs enqueue --help` lists the jobs")
    else:
        cli.table(COLUMNS, [_row(metrics) for metrics in found])


def _rich(found: list[QueueMetrics]) -> Any:
    return rich_table(COLUMNS, [[plain(cell) for cell in _row(metrics)] for metrics in found])


def _row(metrics: QueueMetrics) -> list[object]:
    from jobs.cli.when import span

    m = metrics
    return [
        m.queue, m.waiting, m.active, m.delayed, m.parked, m.completed, m.failed, m.dead,
        span(m.avg_processing_ms), span(m.run.p95), span(m.wait.p95), span(m.oldest_waiting_ms),
    ]  # fmt: skip


def as_json(metrics: QueueMetrics) -> dict[str, Any]:
    """The figures of one queue: the six fields of seed 001 by their names there, then ours."""
    document = asdict(metrics)
    document["avgProcessingTime"] = metrics.avg_processing_ms
    return document
