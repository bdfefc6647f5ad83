"""`queues list|show`: how full the queues are, how old, how fast, and what holds them back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.completing import queue_names
from jobs.cli.context import Cli, plain
from jobs.cli.metrics import as_json, check_queues, known_queues, sparkline

if TYPE_CHECKING:
    from jobs import Client
    from jobs.metrics import Point, QueueMetrics
    from jobs.operations.fleet import Fleet, Scale
    from jobs.operations.pausing import Pause

COLUMNS = ["queue", "waiting", "active", "delayed", "oldest", "rate/min", "workers", "slots",
           "paused", "limits"]  # fmt: skip
#: Days of history that `show` charts.
CHART_DAYS = 30


@dataclass(frozen=True)
class Look:
    """One queue for the list."""

    metrics: QueueMetrics
    scale: Scale
    paused: Pause | None
    rules: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return as_json(self.metrics) | {
            "scale": asdict(self.scale),
            "paused": self.paused._asdict() if self.paused else None,
            "limits": self.rules,
        }


@dataclass(frozen=True)
class Close:
    """What `show` adds of one queue."""

    look: Look
    priorities: dict[int, int]
    memory: int
    history: list[Point]


def list_queues(cli: Cli) -> None:
    """The queues: depth, oldest waiting job, rate, workers, whether paused, limits."""
    from jobs.cli.server import optional_app, talk
    from jobs.operations.fleet import Fleet

    async def work(client: Client) -> list[Look]:
        fleet = Fleet(client)
        return [await _look(client, fleet, name) for name in await known_queues(client, app)]

    app = optional_app(cli)
    found = talk(cli, app, work)
    if cli.json:
        return cli.document(queues=[look.as_json() for look in found])
    if cli.quiet:
        for look in found:
            cli.data(plain(look.metrics.queue))
        return None
    if not found:
        return cli.say("no queue has had a job yet; `arq-jobs enqueue --help` lists the jobs")
    cli.table(COLUMNS, [_row(look) for look in found])
    for look in found:
        if look.scale.backlog and not look.scale.workers:
            cli.say(f"{look.metrics.queue}: {_jobs(look.scale.backlog)} and no live worker; "
                    f"`arq-jobs worker --queues {look.metrics.queue}` starts one")  # fmt: skip
    return None


def show_queue(
    cli: Cli,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The name of a queue.", autocompletion=queue_names)
    ],
) -> None:
    """One queue: figures, priorities, limits, memory, and what it did in the last days."""
    from jobs.cli.server import optional_app, talk
    from jobs.operations.fleet import Fleet

    async def work(client: Client) -> Close:
        check_queues([name], await known_queues(client, app))
        view = client.queue(name)
        return Close(
            await _look(client, Fleet(client), name),
            await view.priorities(),
            await view.memory(),
            await view.history(),
        )

    app = optional_app(cli)
    close = talk(cli, app, work)
    if cli.json:
        return cli.document(
            queue=close.look.as_json()
            | {
                "priorities": close.priorities,
                "memory": close.memory,
                "history": [asdict(point) for point in close.history],
            }
        )
    for label, value in _lines(close).items():
        cli.data(f"{label:<12} {plain(value)}")
    return None


async def _look(client: Client, fleet: Fleet, name: str) -> Look:
    from jobs.keys import queue_keys
    from jobs.store.limits import read_rules

    keys = queue_keys(name, client.prefix)
    return Look(
        metrics=await client.queue(name).metrics(),
        scale=await fleet.scale(name),
        paused=await client.queue(name).paused(),
        rules=await read_rules(client, keys),
    )


def _row(look: Look) -> list[object]:
    from jobs.cli.when import span

    m = look.metrics
    return [
        m.queue, m.waiting, m.active, m.delayed, span(m.oldest_waiting_ms), f"{m.per_minute:.1f}",
        look.scale.workers, look.scale.slots, "yes" if look.paused else "no",
        _limits(look.rules) or "-",
    ]  # fmt: skip


def _limits(rules: dict[str, str]) -> str:
    return "; ".join(
        f"{scope} {text}" for scope, text in sorted(rules.items()) if not scope.startswith("p:")
    )


def _lines(close: Close) -> dict[str, object]:
    from jobs.cli.when import span

    m, scale = close.look.metrics, close.look.scale
    paused = close.look.paused
    days = close.history[-CHART_DAYS:]
    functions = sorted(s[2:] for s in close.look.rules if s.startswith("p:"))
    return {
        "queue": m.queue,
        "paused": f"yes: {paused.reason or 'no reason given'}" if paused else "no",
        "functions": f"paused: {', '.join(functions)}" if functions else "none is paused",
        "jobs": f"{m.waiting} waiting, {m.active} active, {m.delayed} delayed, {m.parked} parked",
        "priorities": ", ".join(f"{p}: {n}" for p, n in close.priorities.items()) or "-",
        "oldest": span(m.oldest_waiting_ms),
        "last hour": f"{m.completed} completed, {m.failed} failed, {m.per_minute:.1f} a minute",
        "run": f"avg {span(m.run.average)}, p95 {span(m.run.p95)}",
        "wait": f"avg {span(m.wait.average)}, p95 {span(m.wait.p95)}",
        "workers": f"{scale.workers} with {scale.slots} slots; {scale.desired_workers} wanted",
        "limits": _limits(close.look.rules) or "none",
        "memory": _bytes(close.memory),
        "last 30 days": sparkline([day.completed for day in days], CHART_DAYS)
        + f" {sum(day.completed for day in days)} completed",
    }


def _jobs(number: int) -> str:
    return f"{number} job{'s' if number != 1 else ''}"


def _bytes(number: float) -> str:
    """`3.4 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:  # noqa: PLR2004 -- what the units are made of
            return f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:.3g} GiB"
