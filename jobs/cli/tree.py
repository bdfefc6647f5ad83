"""The tree of commands, in the order and the groups of the help text."""

from __future__ import annotations

import sys
from typing import Any

import typer

from jobs.cli import (
    about,
    changing,
    dead_letters,
    dev,
    doctor,
    enqueue,
    looking,
    many,
    metrics,
    types,
    worker,
)
from jobs.cli.command import (
    Command,
    PlainCommand,
    PlainGroup,
    command,
    take_globals,
    with_signature,
)
from jobs.cli.context import fancy


def build() -> typer.Typer:
    """The command line; its help has colours and boxes on a terminal only."""
    app = group(help="Background jobs for asyncio on Redis or Valkey.")
    app.callback()(with_signature(_root, [], hidden=False))
    enqueue_group = group(cls=enqueue.EnqueueGroup)
    enqueue_group.callback()(with_signature(_enqueue, []))
    add(enqueue_group, "many", many.many, "Files")
    app.add_typer(enqueue_group, name="enqueue", rich_help_panel=JOBS)
    for name, function, panel in COMMANDS:
        add(app, name, function, panel, cls=CLASSES.get(name, PlainCommand))
    dlq = group(help="Dead letters: jobs that failed for good.")
    dlq.callback()(with_signature(_dlq, []))
    for name, function in DEAD_LETTERS:
        add(dlq, name, function, "Commands")
    app.add_typer(dlq, name="dlq", rich_help_panel=JOBS)
    config = group(help="The settings of this program.")
    config.callback()(with_signature(_config, []))
    add(config, "show", about.config_show, "Commands")
    app.add_typer(config, name="config", rich_help_panel=PLUMBING)
    return app


JOBS, RUN, PLUMBING = "Jobs", "Run", "Plumbing"

COMMANDS: list[tuple[str, Command, str]] = [
    ("metrics", metrics.metrics, JOBS),
    ("list", looking.list_jobs, JOBS),
    ("show", looking.show, JOBS),
    ("wait", looking.wait, JOBS),
    ("retry", changing.retry, JOBS),
    ("cancel", changing.cancel, JOBS),
    ("types", types.types, JOBS),
    ("worker", worker.worker, RUN),
    ("dev", dev.dev, RUN),
    ("doctor", doctor.doctor, PLUMBING),
    ("shell-init", about.shell_init, PLUMBING),
    ("version", about.version, PLUMBING),
    ("help", about.show_help, PLUMBING),
]
DEAD_LETTERS: list[tuple[str, Command]] = [
    ("list", dead_letters.list_dead),
    ("show", dead_letters.show_dead),
    ("retry", dead_letters.retry_dead),
]
CLASSES = {"metrics": metrics.MetricsCommand}


def add(
    app: typer.Typer,
    name: str,
    function: Command,
    panel: str,
    cls: type[PlainCommand] = PlainCommand,
) -> None:
    """Add one command with the global options."""
    app.command(name, cls=cls, rich_help_panel=panel)(command(function))


def group(**options: Any) -> typer.Typer:
    """A group of commands in the house style."""
    settings: dict[str, Any] = {
        "cls": PlainGroup,
        "no_args_is_help": True,
        "add_completion": False,
        "rich_markup_mode": "rich" if fancy(sys.stdout) else None,
        "pretty_exceptions_enable": False,
        "context_settings": {"help_option_names": ["--help", "-h"], "max_content_width": 100},
    }
    return typer.Typer(**(settings | options))


def _root(ctx: typer.Context, **values: Any) -> None:
    """Background jobs for asyncio on Redis or Valkey."""
    take_globals(ctx, values)


def _enqueue(ctx: typer.Context, **values: Any) -> None:
    """Add one job; its options come from the job's payload."""
    take_globals(ctx, values)


def _dlq(ctx: typer.Context, **values: Any) -> None:
    """Dead letters: jobs that failed for good."""
    take_globals(ctx, values)


def _config(ctx: typer.Context, **values: Any) -> None:
    """The settings of this program."""
    take_globals(ctx, values)
