"""`config show`: what holds, and where it came from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from jobs.cli.codes import Problem
from jobs.cli.completing import job_names, queue_names
from jobs.cli.context import Cli

if TYPE_CHECKING:
    from jobs.cli.application import Application
    from jobs.options import Queue
    from jobs.registry import Function


def config_show(
    cli: Cli,
    function: Annotated[
        str | None,
        typer.Option(
            "--function",
            metavar="NAME",
            help="The options of this one only.",
            autocompletion=job_names,
        ),
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option(
            "--queue",
            metavar="NAME",
            help="The options of this one only.",
            autocompletion=queue_names,
        ),
    ] = None,
) -> None:
    """Print what holds and where it came from: settings, and each option of queues and functions.

    The source of an option is the layer that says it: framework, queue, function, or the worker
    for plain arq functions. Passwords are hidden.
    """
    one = function is not None or queue is not None
    settings = [] if one else [_app_row(cli), *_server_rows(cli), *_environment_rows()]
    queues, functions = _options(cli, function, queue)
    if cli.json:
        return cli.document(
            settings=_named(settings),
            queues=[{"name": name, "options": _named(rows)} for name, rows in queues.items()],
            functions=[{"name": name, "options": _named(rows)} for name, rows in functions.items()],
        )
    rows = list(settings)
    for kind, found in (("queue", queues), ("function", functions)):
        rows += [(f"{kind}.{name}.{row[0]}", *row[1:]) for name in found for row in found[name]]
    return cli.table(["setting", "value", "source"], rows)


def _named(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [dict(zip(("name", "value", "source"), row, strict=True)) for row in rows]


# -- options of queues and functions -----------------------------------------------------


def _options(
    cli: Cli, function: str | None, queue: str | None
) -> tuple[dict[str, list[Row]], dict[str, list[Row]]]:
    """The rows of the queues and of the functions that were asked for, by name."""
    from jobs.cli import application
    from jobs.cli.server import optional_app
    from jobs.errors import did_you_mean

    one = function is not None or queue is not None
    app = application.load(cli) if one else optional_app(cli)
    if app is None:
        return {}, {}
    if queue is not None and queue not in app.queues:
        raise Problem(f"the worker serves no queue {queue!r}{did_you_mean(queue, app.queues)}")
    queues = [app.queues[queue]] if queue else [] if function else list(app.queues.values())
    functions = [app.function(function)] if function else []
    if not one:
        functions = list(app.functions.values())
    return {q.name: _queue_rows(app, q) for q in queues}, {
        f.name: _function_rows(app, f) for f in functions
    }


def _queue_rows(app: Application, queue: Queue) -> list[Row]:
    from jobs.layers import effective
    from jobs.options import FRAMEWORK_DEFAULTS

    own = ("concurrency", queue.concurrency, "queue")
    if queue.concurrency is None:
        given = "max_jobs" in app.settings
        own = ("concurrency", app.settings.get("max_jobs", 10), "worker" if given else "framework")
    rows: list[Row] = [own, *_said(queue, "rate", "limits", "key", "ageing", source="queue")]
    return rows + list(effective([("queue", queue.defaults), ("framework", FRAMEWORK_DEFAULTS)]))


def _function_rows(app: Application, function: Function) -> list[Row]:
    from jobs.layers import effective
    from jobs.options import FRAMEWORK_DEFAULTS, JobOptions

    name = function.queue or app.default_queue
    queue = app.queues.get(name)
    below = [("queue", queue.defaults if queue else JobOptions())]
    layers = [*function.layers, *below, ("framework", FRAMEWORK_DEFAULTS)]
    rows: list[Row] = [
        ("queue", name, "framework" if name == app.default_queue else "function"),
        ("retries", str(function.retries).lower(), "function" if function.retries else "worker"),
        *_said(function, "executor", "limits", "key", "unique", source="function"),
    ]
    return rows + list(effective(layers))


def _said(owner: Any, *names: str, source: str) -> list[Row]:
    """The options that only one layer has, as far as they are set."""
    rows: list[Row] = []
    for name in names:
        value = getattr(owner, name, None)
        if value in (None, (), "thread"):
            continue
        if isinstance(value, tuple):
            value = ", ".join(map(str, value))
        rows.append((name, _short(value), source))
    return rows


# -- settings ----------------------------------------------------------------------------

Row = tuple[str, int | str | None, str]


def _app_row(cli: Cli) -> Row:
    from jobs.cli.context import DEFAULT_APP

    if os.environ.get("JOBS_APP") == cli.app:
        return ("app", cli.app, "JOBS_APP")
    return ("app", cli.app, "default" if cli.app == DEFAULT_APP else "--app")


def _server_rows(cli: Cli) -> list[Row]:
    from jobs.cli.server import find_server, optional_app

    app = optional_app(cli)
    try:
        found = find_server(cli, app)
    except Problem as error:
        return [("server", None, str(error))]
    settings = found.settings
    own = hasattr(settings, "address")  # arq's settings have none
    address = settings.address() if own else f"{settings.host}:{settings.port}"
    rows: list[Row] = [
        ("server", address, found.source),
        ("server.database", str(settings.database), found.source),
        ("server.user", settings.username, found.source),
        ("server.password", "***" if settings.password else None, found.source),
        ("server.tls", str(bool(settings.ssl)).lower(), found.source),
    ]
    if app is not None:
        hidden = {"functions", "cron_jobs", "redis_settings", "redis_pool", "ctx", "queues"}
        rows += [
            (f"worker.{name}", _short(value), cli.app)
            for name, value in app.settings.items()
            if name not in hidden
        ]
        rows.append(("worker.queues", ", ".join(app.queues), cli.app))
    return rows


def _short(value: Any) -> str:
    return getattr(value, "__qualname__", None) or str(value)


_VARIABLES = re.compile(r"(JOBS|REDIS)_[A-Z0-9_]+")
_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY")


def _environment_rows() -> list[Row]:
    names = sorted(name for name in os.environ if _VARIABLES.fullmatch(name))
    return [(name, _hidden(name, os.environ[name]), "environment") for name in names]


def _hidden(name: str, value: str) -> str:
    """The value of a variable, with what may be a secret in it taken out."""
    if _SECRET.search(name):
        return "***"
    if "://" not in value:
        return value
    parts = urlsplit(value)
    place = parts.netloc.rpartition("@")[2]
    user = "***@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{user}{place}{parts.path}"
