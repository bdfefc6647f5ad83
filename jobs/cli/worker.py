"""`worker`: runs the jobs of the application, in one process or in several."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.codes import Code, Problem
from jobs.cli.completing import queue_list
from jobs.cli.context import Cli

if TYPE_CHECKING:
    from jobs import Worker
    from jobs.cli.application import Application

NO_WATCHFILES = 'watching needs watchfiles: pip install "arq-jobs[watch]"'


def worker(  # noqa: PLR0913 -- the options of a command
    cli: Cli,
    queues: Annotated[
        str | None,
        typer.Option(
            "--queues", metavar="A,B", help="Serve only these queues.", autocompletion=queue_list
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", "-c", min=1, help="Jobs at once in queues that name none."),
    ] = None,
    *,
    burst: Annotated[bool, typer.Option("--burst", help="End when the queues are empty.")] = False,
    processes: Annotated[
        int, typer.Option("--processes", min=1, help="So many worker processes.")
    ] = 1,
    no_scheduler: Annotated[
        bool,
        typer.Option("--no-scheduler", help="Make no jobs by the clock; `scheduler` must run."),
    ] = False,
    watch: Annotated[
        Path | None,
        typer.Option("--watch", metavar="DIR", help="Restart when files in this folder change."),
    ] = None,
) -> int:
    """Run a worker for the application's queues until SIGTERM or Ctrl-C."""
    if processes > 1 or watch is not None:
        words = _child_words(queues, concurrency, burst=burst, no_scheduler=no_scheduler)
        return supervise(cli, words, processes, watch, once=burst)
    return run_here(cli, queues, concurrency, burst=burst, no_scheduler=no_scheduler)


def _child_words(
    queues: str | None, concurrency: int | None, *, burst: bool, no_scheduler: bool
) -> list[str]:
    flags = {"--burst": burst, "--no-scheduler": no_scheduler}
    words = ["worker", *(flag for flag, on in flags.items() if on)]
    words += ["--queues", queues] if queues else []
    return words + (["--concurrency", str(concurrency)] if concurrency else [])


# -- this process ------------------------------------------------------------------------


def run_here(
    cli: Cli, queues: str | None, concurrency: int | None, *, burst: bool, no_scheduler: bool
) -> int:
    """Be the worker."""
    from jobs import Worker

    app = begin(cli)
    chosen = chosen_queues(app, queues)
    arguments = worker_arguments(cli, app, concurrency, burst=burst)
    if no_scheduler:
        arguments["scheduler"] = False
    return serve(Worker, arguments, chosen)


def begin(cli: Cli) -> Application:
    """Prepare this process for being a worker or a scheduler: its log, its parent, its code."""
    import logging

    from jobs import logs
    from jobs.cli import application
    from jobs.engine.supervisor import end_with_parent

    end_with_parent()
    level = logging.DEBUG if cli.verbose else logging.WARNING if cli.quiet else logging.INFO
    logs.configure(level)
    return application.load(cli)


def serve(kind: type[Worker], arguments: dict[str, Any], chosen: Sequence[str]) -> int:
    """Run a worker of this kind until it ends or is stopped."""
    import asyncio

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(kind, arguments, chosen))
    return Code.ok


def worker_arguments(
    cli: Cli, app: Application, concurrency: int | None, *, burst: bool
) -> dict[str, Any]:
    """What the worker is made from: the settings, with the command line over them.

    Raises:
        Problem: no server is configured.
    """
    from jobs.cli.server import find_server

    given = dict(app.settings)
    if "redis_pool" not in given:
        given["redis_settings"] = find_server(cli, app).settings
    if burst:
        given["burst"] = True
    if concurrency is not None:
        given["max_jobs"] = concurrency
    return given


def chosen_queues(app: Application, queues: str | None) -> list[str]:
    """The queues to serve. All functions stay known, so that no job of another is parked.

    Raises:
        Problem: one that the application does not have.
    """
    from jobs.cli.metrics import check_queues

    names = [name.strip() for name in (queues or "").split(",") if name.strip()]
    return check_queues(names, sorted(app.queues))


def loop_factory() -> Any:
    """What makes the event loop of a worker: uvloop's if it is installed, else asyncio's own."""
    if find_spec("uvloop") is None or sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


async def _serve(kind: type[Worker], arguments: dict[str, Any], chosen: Sequence[str]) -> None:
    worker = kind(**arguments)
    worker.queues = {name: worker.queues[name] for name in chosen}
    try:
        await worker.async_run()
    finally:
        await worker.close()


# -- other processes ---------------------------------------------------------------------


def child_command(cli: Cli, words: Sequence[str]) -> list[str]:
    """The command of a child: this program with the same global options."""
    flags = {"--json": cli.json, "--quiet": cli.quiet, "--debug": cli.debug}
    given = [flag for flag, on in flags.items() if on] + ["-v"] * cli.verbose
    return [sys.executable, "-m", "jobs", "--app", cli.app, *given, *words]


def child_environment(cli: Cli) -> dict[str, str]:
    """The environment of a child: an address with a password stays out of the process list."""
    return os.environ | ({"JOBS_REDIS_URL": cli.redis} if cli.redis else {})


def supervise(
    cli: Cli, words: Sequence[str], processes: int, watch: Path | None, *, once: bool = False
) -> int:
    """Keep worker processes running, and restart them when files change."""
    import asyncio
    import logging

    from jobs import logs
    from jobs.engine.supervisor import Supervisor

    if watch is not None and find_spec("watchfiles") is None:
        raise Problem("the option --watch cannot work", NO_WATCHFILES)
    if watch is not None and not watch.is_dir():
        raise Problem(f"--watch: there is no folder {str(watch)!r}", "name a folder with code")
    logs.configure(logging.WARNING if cli.quiet else logging.INFO)
    supervisor = Supervisor(
        child_command(cli, words),
        processes,
        environment=child_environment(cli),
        once=once,
        waits_for_change=watch is not None,
    )
    return asyncio.run(_supervise(supervisor, watch))


async def _supervise(supervisor: Any, watch: Path | None) -> int:
    import asyncio

    watcher = asyncio.create_task(_reload(supervisor, watch)) if watch else None
    try:
        code: int = await supervisor.run()
    finally:
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
    return code


async def _reload(supervisor: Any, folder: Path) -> None:
    from watchfiles import PythonFilter, awatch

    async for changes in awatch(folder, watch_filter=PythonFilter()):
        supervisor.reload(sorted(Path(path).name for _, path in changes))
