"""What a shell is offered at the Tab key: names of jobs, queues and schedules.

The keyboard waits, so nothing here takes long or fails aloud: the server gets 300 ms, the names of
jobs and queues are kept in a file of the user's cache folder until the code changes, and whatever
goes wrong means that there is nothing to offer.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from jobs.cli.context import Cli

if TYPE_CHECKING:
    from jobs import Client
    from jobs.cli.application import Application

#: Set by the script of `completion` when a shell asks.
VARIABLE = "_ARQ_JOBS_COMPLETE"
#: The server's time, to connect and to answer.
BUDGET_S = 0.3
#: The list of jobs is read anew after a day, whatever says that nothing changed.
LONGEST_S = 86_400


def asked_words() -> list[str]:
    """The words on the line that a shell wants to have completed."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    return line.split()


# -- what parameters are completed with --------------------------------------------------


def job_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of jobs."""
    return _beginning(incomplete, _known(_cli(ctx)).jobs)


def queue_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of queues: those of the application, and those on the server."""
    cli = _cli(ctx)
    known = _known(cli)
    return _beginning(incomplete, [*known.queues, *_ask(cli, known, _queues)])


def queue_list(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of queues behind the commas of a list."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in queue_names(ctx, last)]


def schedule_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the schedules on the server."""
    cli = _cli(ctx)
    return _beginning(incomplete, _ask(cli, _known(cli), _schedules))


#: For options that are made in a loop.
BY_FLAG = {"--queue": queue_names, "--name": job_names, "--job": job_names}


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def _cli(ctx: typer.Context) -> Cli:
    """The global options on the line so far; callbacks, which read them else, do not run."""
    cli: Cli = ctx.obj or Cli()
    at: Any = ctx
    while at is not None:
        given = {name: at.params.get(name) for name in ("app", "redis")}
        cli = replace(cli, **{name: value for name, value in given.items() if value})
        at = at.parent
    return cli


# -- the application, remembered ---------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """What is remembered of an application.

    `files` are the times of change of its code, by path; `own_server` says whether its settings
    name a server, of which nothing is written down.
    """

    jobs: list[str]
    queues: list[str]
    own_server: bool
    files: dict[str, int]
    read_at: float

    @property
    def is_fresh(self) -> bool:
        """Whether the code has not changed since."""
        young = 0 <= time.time() - self.read_at < LONGEST_S
        return young and all(_changed(path) == at for path, at in self.files.items())


def _known(cli: Cli) -> Known:
    """The application, from the cache if its code has not changed; an old one if it is broken."""
    path = _cache(cli)
    old = _read(path)
    if old is not None and old.is_fresh:
        return old
    try:
        new = _look(cli)
    except Exception:  # noqa: BLE001 -- an application may raise anything while it is imported
        return old or Known([], [], own_server=False, files={}, read_at=0)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        mine = path.with_suffix(f".{os.getpid()}")
        mine.write_text(json.dumps(vars(new)), encoding="utf-8")
        mine.replace(path)
    return new


def _look(cli: Cli) -> Known:
    app = _load(cli)
    return Known(
        sorted(app.functions),
        sorted(app.queues),
        own_server=app.settings.get("redis_settings") is not None,
        files=_code(),
        read_at=time.time(),
    )


def _load(cli: Cli) -> Application:
    from jobs.cli import application

    return application.load(cli)


def _code() -> dict[str, int]:
    """The files of the code of this process below this folder, and the folders of its packages:
    a new module changes the folder.
    """
    here = Path.cwd().resolve()
    found: set[Path] = set()
    for module in list(sys.modules.values()):
        paths = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        found |= {Path(path).resolve() for path in paths if isinstance(path, str)}
    own = [path for path in found if here in path.parents and "site-packages" not in path.parts]
    return {str(path): _changed(str(path)) for path in own}


def _changed(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return -1


def _cache(cli: Cli) -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = sha256(f"{Path.cwd()}\0{cli.app}".encode()).hexdigest()[:24]
    return Path(folder) / "arq-jobs" / f"{name}.json"


def _read(path: Path) -> Known | None:
    try:
        return Known(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


# -- the server --------------------------------------------------------------------------


async def _queues(client: Client) -> list[str]:
    return await client.queues()


async def _schedules(client: Client) -> list[str]:
    return [info.name for info in await client.schedules.list()]


def _ask(cli: Cli, known: Known, ask: Callable[[Client], Awaitable[list[str]]]) -> list[str]:
    """What the server says within its budget; nothing if it does not."""
    import asyncio

    from jobs.cli.server import connect

    async def work() -> list[str]:
        client = connect(cli, app)
        try:
            async with asyncio.timeout(BUDGET_S):
                return await ask(client)
        finally:
            await client.aclose(close_connection_pool=True)

    try:
        needed = known.own_server and not (cli.redis or os.environ.get("JOBS_REDIS_URL"))
        app: Any = _load(cli) if needed else None
        return asyncio.run(work())
    except Exception:  # noqa: BLE001 -- whatever it is, there is nothing to offer
        return []
