"""`limits`: the limits of queues, how they stand, and how to open one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.codes import Code
from jobs.cli.completing import queue_names
from jobs.cli.context import Cli, plain
from jobs.cli.looking import QueueOption

if TYPE_CHECKING:
    from jobs import Client
    from jobs.queues import LimitsInfo


def list_limits(cli: Cli, queue: QueueOption = None) -> None:
    """Show the rules of each queue, how many jobs hold a place, and what waits."""
    from jobs.cli.server import optional_app, talk

    async def work(client: Client) -> list[LimitsInfo]:
        names = [queue] if queue else await client.queues()
        return [await client.queue(name).limits() for name in names]

    found = talk(cli, optional_app(cli), work)
    if cli.json:
        return cli.document(queues=[_entry(info) for info in found])
    rows = [row for info in found for row in _rows(info)]
    if cli.quiet:
        for row in rows:
            cli.data(f"{row[0]} {row[1]}")
    elif rows:
        cli.table(["queue", "limit", "rules", "holding", "starts", "groups that wait"], rows)
    else:
        cli.say("no limits")
    return None


def reset_limit(
    cli: Cli,
    gate: Annotated[str, typer.Argument(metavar="LIMIT", help="As `limits list` names it.")],
    queue: Annotated[
        str, typer.Option("--queue", "-Q", help="The queue.", autocompletion=queue_names)
    ] = "default",
) -> int:
    """Forget the starts that a rate has counted, so that it opens at once."""
    from jobs.cli.server import optional_app, talk

    async def work(client: Client) -> int:
        return await client.queue(queue).reset_limit(gate)

    forgotten = talk(cli, optional_app(cli), work)
    if cli.json:
        cli.document(queue=queue, limit=gate, forgotten=forgotten)
    cli.say(f"{plain(gate)} of {plain(queue)}: {forgotten} starts forgotten")
    return Code.ok


def _rows(info: LimitsInfo) -> list[list[object]]:
    gates = {gate.name: gate for gate in info.gates}
    names = [*info.rules, *(name for name in gates if name not in info.rules)]
    rows: list[list[object]] = []
    for name in names:
        gate = gates.get(name)
        numbers = [gate.holding, gate.starts, gate.blocked] if gate else [0, 0, 0]
        rows.append([info.queue, name.replace("\x02", " "), info.rules.get(name), *numbers])
    return rows


def _entry(info: LimitsInfo) -> dict[str, Any]:
    return {
        "queue": info.queue,
        "rules": info.rules,
        "closed_until_ms": info.closed_until_ms,
        "gates": [gate._asdict() for gate in info.gates],
    }
