"""`dev`: a server and a worker for this folder, restarted when the code changes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.context import PROGRAM, Cli
from jobs.cli.worker import NO_WATCHFILES, supervise


def dev(
    cli: Cli,
    *,
    demo: Annotated[
        bool, typer.Option("--demo", help="Tell the story of the demo, step by step.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="With --demo: end when the story is told.")
    ] = False,
    port: Annotated[
        int | None, typer.Option("--port", help="The server's port; default: any free one.")
    ] = None,
    burst: Annotated[bool, typer.Option("--burst", help="End when the queues are empty.")] = False,
) -> int:
    """Start a server (unless one is configured) and a worker that restarts on changes."""
    if demo or once:
        code: int = import_module("jobs.demo").run(cli.app, once=once or not sys.stdout.isatty())
        return code
    with _server(cli, port) as ready:
        _greet(ready)
        watch = Path.cwd() if find_spec("watchfiles") and not burst else None
        if watch is None and not burst:
            cli.say(f"no reload on changes: {NO_WATCHFILES}")
        return supervise(ready, ["worker", *(["--burst"] if burst else [])], 1, watch, once=burst)


@contextmanager
def _server(cli: Cli, port: int | None) -> Iterator[Cli]:
    """The options with an address that holds: the configured server's, or a new one's."""
    if cli.redis or _configured():
        cli.say("using the configured server; `arq-jobs config show` tells which")
        yield cli
        return
    from jobs.embedded import EmbeddedServer

    with EmbeddedServer(port=port, publish=True) as server:
        address = server.url.rpartition("@")[2].removeprefix("redis://")
        cli.say(f"✓ {server.kind} {server.version} embedded  {address}  (data in .jobs/)")
        yield replace(cli, redis=server.url)


def _configured() -> bool:
    """Whether the environment names a server; one that `dev` itself published does not count."""
    return any(os.environ.get(name) for name in ("JOBS_REDIS_URL", "REDIS_URL", "REDIS_HOST"))


def _greet(cli: Cli) -> None:
    """Tell what to try next."""
    from jobs.cli.server import optional_app

    app = optional_app(cli)
    if app is None:
        cli.say(f"no application at {cli.app} yet: the worker starts when it can be imported")
        return
    cli.say(f"✓ application {cli.app}: {len(app.functions)} jobs, queues {', '.join(app.queues)}")
    example = next(iter(sorted(app.functions)), "JOB")
    cli.say(
        f"in another terminal: {PROGRAM} enqueue {example} --help · {PROGRAM} metrics --watch · "
        f"{PROGRAM} dlq list · Ctrl-C stops everything"
    )
