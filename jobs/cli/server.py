"""Which server a command talks to, and how it ends when there is none.

The first of these that is given: `--redis`, `JOBS_REDIS_URL`, a development server that runs in
this folder (unless the environment names one), the application's own `redis_settings`, the
environment (`REDIS_URL`, `REDIS_HOST` …).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from jobs import Client, RedisSettings
from jobs.cli import application
from jobs.cli.application import Application
from jobs.cli.codes import Code, Problem
from jobs.cli.context import Cli
from jobs.config import DEV_SERVER_FILE, find_server_url
from jobs.connections import as_server_error, trouble
from jobs.errors import JobsError
from jobs.tasks import end_tasks

T = TypeVar("T")


class Server(NamedTuple):
    """A server's settings and where they came from; `settings` may be arq's own class."""

    settings: Any
    source: str


def find_server(cli: Cli, app: Application | None = None) -> Server:
    """The server of this command.

    Raises:
        Problem: none is configured.
        ConfigurationError: its address is malformed.
    """
    if cli.redis:
        return Server(RedisSettings.from_dsn(cli.redis), "--redis")
    if url := os.environ.get("JOBS_REDIS_URL"):
        return Server(RedisSettings.from_dsn(url), "JOBS_REDIS_URL")
    found = find_server_url()
    own = app.settings.get("redis_settings") if app else None
    if own is not None and (found is None or found.source != str(DEV_SERVER_FILE)):
        return Server(own, f"{app.spec if app else ''}.redis_settings")
    if found is not None:
        return Server(RedisSettings.from_dsn(found.url), found.source)
    raise Problem(
        "no Redis or Valkey server is configured",
        "set REDIS_URL=redis://localhost:6379, or run `arq-jobs dev` in this folder",
        Code.server,
    )


def connect(cli: Cli, app: Application | None = None) -> Client:
    """A client for the server of this command, which reads what the application writes."""
    client = Client.connect(find_server(cli, app).settings)
    if app is not None:
        client.job_serializer = app.settings.get("job_serializer")
        client.job_deserializer = app.settings.get("job_deserializer")
        client.default_queue_name = app.default_queue
    return client


def optional_app(cli: Cli) -> Application | None:
    """The application, if it can be loaded: for commands that can do without."""
    try:
        return application.load(cli)
    except JobsError as error:
        if cli.verbose:
            cli.say(f"without the application: {error}")
        return None


def talk(
    cli: Cli,
    app: Application | None,
    work: Callable[[Client], Awaitable[T]],
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T:
    """Run `work` with a client, in a loop of its own; asyncio's own kind by default.

    Raises:
        ServerAway, ServerRefused: in place of redis-py's errors.
        KeyboardInterrupt: Ctrl-C.
    """
    interrupts: list[asyncio.Task[None]] = []

    async def main() -> T:
        client = connect(cli, app)
        task = asyncio.ensure_future(work(client))
        _end_on_interrupt(task, interrupts)
        try:
            return await task
        except Exception as error:
            if isinstance(error, JobsError) or trouble(error) is None:
                raise
            raise as_server_error(error, client.address) from error
        finally:
            await client.aclose(close_connection_pool=True)

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            done = runner.run(main())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    if interrupts:  # after the work and before the end of its loop
        raise KeyboardInterrupt
    return done


def _end_on_interrupt(task: asyncio.Future[Any], interrupts: list[asyncio.Task[None]]) -> None:
    """Let Ctrl-C cancel the task, and again until it ends; note each.

    `asyncio.run` would cancel once, which redis-py can swallow (see `end_tasks`).
    """

    def end() -> None:
        interrupts.append(asyncio.ensure_future(end_tasks(task)))

    with suppress(NotImplementedError):  # Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, end)
