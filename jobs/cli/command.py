"""The frame of every command: the global options, and help texts for terminals and for pipes.

A command is a function whose first parameter is the `Cli`; the others are Typer's. `command`
adds the global options to its signature, so that they may stand before and after its name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from jobs.cli.context import Cli

Command = Callable[..., int | None]

PANEL = "Global options"


def _global(annotation: Any, *names: str, text: str, hidden: bool = True, **more: Any) -> Any:
    option = typer.Option(
        *names, help=text, hidden=hidden, rich_help_panel=PANEL, show_default=False, **more
    )
    return Annotated[annotation, option]


def _globals(*, hidden: bool) -> dict[str, Any]:
    return {
        "app": _global(
            str | None,
            "--app",
            metavar="MODULE:ATTR",
            text="The application's settings (JOBS_APP; settings:WorkerSettings).",
            hidden=hidden,
        ),
        "redis": _global(
            str | None,
            "--redis",
            metavar="URL",
            text="The server (JOBS_REDIS_URL, REDIS_URL, REDIS_HOST).",
            hidden=hidden,
        ),
        "json": _global(bool, "--json", text="One JSON document on standard output.", hidden=False),
        "quiet": _global(
            bool, "--quiet", "-q", text="Data only: no messages, ids alone.", hidden=hidden
        ),
        "verbose": _global(
            int, "--verbose", "-v", text="More messages.", hidden=hidden, count=True
        ),
        "no_color": _global(bool, "--no-color", text="No colours (NO_COLOR).", hidden=hidden),
        "debug": _global(bool, "--debug", text="Show the trace of an error.", hidden=hidden),
    }


GLOBAL_NAMES = tuple(_globals(hidden=True))
_EMPTY = {"app": None, "redis": None, "json": False, "quiet": False, "verbose": 0,
          "no_color": False, "debug": False}  # fmt: skip


def take_globals(ctx: typer.Context, values: dict[str, Any]) -> Cli:
    """Take the global options out of `values`: those given here win over those given before."""
    given = {name: values.pop(name) for name in GLOBAL_NAMES}
    given.pop("no_color")  # taken from the environment, see run.py
    cli: Cli = ctx.obj
    ctx.obj = cli = replace(cli, **{name: value for name, value in given.items() if value})
    return cli


def command(function: Command) -> Command:
    """Give a command the global options; its first parameter becomes the `Cli`."""
    first, *own = inspect.signature(function, eval_str=True).parameters.values()
    del first

    def run(ctx: typer.Context, **values: Any) -> int | None:
        return function(take_globals(ctx, values), **values)

    run.__doc__, run.__name__ = function.__doc__, function.__name__
    return with_signature(run, own)


def with_signature(
    run: Command, parameters: list[inspect.Parameter], *, hidden: bool = True
) -> Command:
    """Make Typer see these parameters, behind the context and before the global options."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    ctx = inspect.Parameter(
        "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    added = [
        inspect.Parameter(name, keyword, annotation=annotation, default=_EMPTY[name])
        for name, annotation in _globals(hidden=hidden).items()
    ]
    own = [parameter.replace(kind=keyword) for parameter in parameters]
    signature = inspect.Signature([ctx, *own, *added])
    run.__signature__ = signature  # type: ignore[attr-defined]  # what `inspect.signature` reads
    run.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return run


class PlainCommand(TyperCommand):
    """A command whose plain help keeps the panels that the help for terminals has."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section a panel."""
        write_panels(self, ctx, formatter)


class PlainGroup(TyperGroup):
    """A group of commands whose plain help keeps its panels."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then one section a panel of options."""
        self.format_commands(ctx, formatter)
        write_panels(self, ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section a panel of commands."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            found = self.get_command(ctx, name)
            if found is not None and not found.hidden:
                panel = getattr(found, "rich_help_panel", None)
                title = panel if isinstance(panel, str) else "Commands"
                panels.setdefault(title, []).append((name, found.get_short_help_str(limit=100)))
        for title, rows in panels.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def write_panels(command: Any, ctx: Any, formatter: Any) -> None:
    """Write the parameters of a command, one section a panel."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        if (record := parameter.get_help_record(ctx)) is not None:
            default = "Arguments" if parameter.param_type_name == "argument" else "Options"
            panel = getattr(parameter, "rich_help_panel", None)
            panels.setdefault(panel if isinstance(panel, str) else default, []).append(record)
    for title, rows in panels.items():
        with formatter.section(title):
            formatter.write_dl(rows)
