"""The tree of commands, in the order and the groups of the help text."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from jobs.cli.command import PANEL, PlainCommand, PlainGroup, command, take_globals, with_signature
from jobs.cli.context import fancy


def build() -> typer.Typer:
    """The command line; its help has colours and boxes on a terminal only."""
    from jobs.cli.enqueue import EnqueueGroup

    app = group(help="Background jobs for asyncio on Redis or Valkey.")
    app.callback()(with_signature(_root, [], hidden=False))
    enqueue = group(cls=EnqueueGroup)
    enqueue.callback()(with_signature(_enqueue, []))
    app.add_typer(enqueue, name="enqueue", rich_help_panel="Jobs")
    return app


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
