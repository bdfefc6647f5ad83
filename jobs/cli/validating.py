"""`config validate`: whether a worker could begin with these settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.cli.context import Cli

if TYPE_CHECKING:
    from jobs.cli.application import Application


def config_validate(cli: Cli) -> None:
    """Check the settings as a worker does when it begins, and ask no server; exit 2 if they are
    wrong, with the first thing that is.

    What will work, and badly, is a matter for `check`; the server and the surroundings are one
    for `doctor`.
    """
    import asyncio

    from jobs.cli import application
    from jobs.cli.server import find_server
    from jobs.cli.worker import worker_arguments

    app = application.load(cli)
    found = find_server(cli, app)
    asyncio.run(_make(worker_arguments(cli, app, None, burst=False)))
    if cli.json:
        return cli.document(ok=True, app=cli.app, server=found.source, **_numbers(app))
    numbers = ", ".join(f"{number} {name}" for name, number in _numbers(app).items())
    return cli.say(f"{cli.app} is valid: {numbers}; the server is that of {found.source}")


def _numbers(app: Application) -> dict[str, Any]:
    return {
        "functions": len(app.functions),
        "queues": len(app.queues),
        "schedules": len(app.given_schedules) + len(app.cron_jobs),
    }


async def _make(arguments: dict[str, Any]) -> None:
    """Make the worker, which refuses what it cannot use; it connects only when it runs."""
    from jobs import Worker

    await Worker(**arguments).close()
