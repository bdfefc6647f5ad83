"""The reference of the command line: `python -m jobs.cli.reference > docs/reference/cli.md`.

It is Typer's own help of every command, as a pipe gets it; a test compares the page with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from jobs.cli.codes import MEANINGS
from jobs.cli.context import PROGRAM, Cli
from jobs.cli.tree import build

WIDTH = 100

INTRODUCTION = f"""\
# Command line

The program is installed as `jobs` and as `{PROGRAM}`. In a shell `jobs` is a builtin of the shell
itself and wins, so this page writes `{PROGRAM}`; `{PROGRAM} shell-init bash` prints a function
that makes `jobs` work. Global options stand before or after the command. Data goes to standard
output, messages to standard error; with `--json` the data is one document with
`"schema": "jobs/v1"`.

`{PROGRAM} enqueue` has a command for each job of the application, with options from its payload:
`{PROGRAM} enqueue JOB --help` lists them. Text, numbers, switches, choices and lists of them are
native options; anything else takes JSON text. A field that has the name of a job option becomes
`--payload-NAME`. `--data` gives the payload as JSON (`@file` reads a file, `-` standard input),
and options win over it.
"""


def reference() -> str:
    """The page in Markdown."""
    root = typer.main.get_command(build(rich=False))
    parts = [INTRODUCTION, *_sections(root, PROGRAM, None), _exit_codes()]
    return "\n".join(parts)


def _sections(command: Any, name: str, parent: Any) -> Iterator[str]:
    settings = {"obj": Cli(app=""), "terminal_width": WIDTH, **command.context_settings}
    ctx = command.context_class(command, info_name=name, parent=parent, **settings)
    text = "\n".join(line.rstrip() for line in command.get_help(ctx).splitlines())
    yield f"## {ctx.command_path}\n\n```text\n{text}\n```\n"
    names = command.list_commands(ctx) if hasattr(command, "commands") else []
    for child in names:
        yield from _sections(command.commands[child], child, ctx)


def _exit_codes() -> str:
    rows = [f"| {int(code)} | {text} |" for code, text in MEANINGS.items()]
    return "\n".join(["## Exit codes", "", "| code | meaning |", "| --: | --- |", *rows, ""])


if __name__ == "__main__":
    typer.echo(reference(), nl=False)
