"""`audit`: whether what the server holds fits together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.cli.codes import Code
from jobs.cli.context import Cli, plain
from jobs.cli.looking import QueueOption

if TYPE_CHECKING:
    from jobs import Client


def audit(cli: Cli, queue: QueueOption = None) -> int:
    """Check that the data of every queue fits together; exit 1 if it does not."""
    from jobs.cli.server import optional_app, talk

    async def work(client: Client) -> dict[str, list[str]]:
        names = [queue] if queue else await client.queues()
        return {name: await client.queue(name).audit() for name in names}

    found = talk(cli, optional_app(cli), work)
    if cli.json:
        cli.document(queues=[{"queue": n, "findings": texts} for n, texts in found.items()])
    else:
        for name, texts in found.items():
            for text in texts:
                cli.data(f"{plain(name)}: {plain(text)}")
    wrong = sum(map(len, found.values()))
    cli.say(f"{len(found)} queues, {wrong} findings")
    return Code.failed if wrong else Code.ok
