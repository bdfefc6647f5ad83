"""`explain`: why a job is not running, and when it will."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.context import Cli, plain
from jobs.cli.looking import QueueOption, locate

if TYPE_CHECKING:
    from jobs import Client
    from jobs.operations.explain import Explanation


def explain(
    cli: Cli,
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a job.")],
    queue: QueueOption = None,
) -> None:
    """Why a job is not running: what holds it, who is ahead, and when it will start."""
    from jobs.cli.server import optional_app, talk

    async def work(client: Client) -> Explanation:
        info = await locate(client, job_id, queue)
        return await client.queue(info.queue).explain(job_id)

    told = talk(cli, optional_app(cli), work)
    if cli.json:
        return cli.document(explanation=told.as_json())
    cli.data(plain(f"{told.function} {told.id} in {told.queue} is {told.state}"))
    for reason in told.reasons:
        cli.data(plain(f"  - {reason.text}"))
    for line in _estimate(told):
        cli.data(line)
    return None


def _estimate(told: Explanation) -> list[str]:
    from jobs.cli.when import span

    if told.starts_at is not None:
        left_ms = (told.starts_at - told.at).total_seconds() * 1000
        when = f"in about {span(left_ms)}" if left_ms >= 1 else "at once"
        return [f"it should start {when}"]
    blocks = [reason for reason in told.reasons if reason.blocks]
    if blocks and blocks[0].code != "ended":
        return ["it starts when this has changed"]
    return []
