"""From the words of a command line to an exit code; the one place where errors become text."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from jobs.cli.codes import Code, code_of, hint_of
from jobs.cli.completing import VARIABLE, asked_words
from jobs.cli.context import DEFAULT_APP, PROGRAM, Cli, fancy
from jobs.errors import JobsError


def run(args: Sequence[str], *, app: str | None = None) -> int:
    """Run one command; its exit code."""
    words = list(args)
    if VARIABLE in os.environ:
        return _complete(words, app)
    if "--no-color" in words or os.environ.get("CLICOLOR") == "0":
        os.environ["NO_COLOR"] = "1"
    chosen = _early_app(words) or os.environ.get("JOBS_APP") or app or DEFAULT_APP
    cli = Cli(app=chosen, again=lambda more: run(more, app=chosen))
    try:
        return _invoke(words, cli)
    except BaseException as error:  # noqa: BLE001 -- the one place where errors become text
        return _end(error, debug="--debug" in words)


def _early_app(words: list[str]) -> str | None:
    """The value of `--app`, which decides what `enqueue JOB` may be before its options are read."""
    for n, word in enumerate(words):
        if word == "--":
            break
        if word.startswith("--app="):
            return word.partition("=")[2]
        if word == "--app":
            return words[n + 1] if n + 1 < len(words) else None
    return None


def _invoke(words: list[str], cli: Cli) -> int:
    from jobs.cli.tree import root

    more: dict[str, Any] = {"standalone_mode": False, "obj": cli, "complete_var": VARIABLE}
    code = root(rich=fancy(sys.stdout)).main(words, prog_name=program(), **more)
    return int(code or 0)


def _complete(words: list[str], app: str | None) -> int:
    """Answer a shell that asks what may follow; whatever goes wrong, it is not told aloud."""
    from typer._completion_classes import completion_init  # offered only with an own option

    completion_init()
    chosen = _early_app(asked_words()) or os.environ.get("JOBS_APP") or app or DEFAULT_APP
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        try:
            return _invoke(words, Cli(app=chosen))
        except SystemExit as end:
            return int(end.code or 0)
        except Exception:  # noqa: BLE001 -- the line is not finished, so it may be wrong
            return Code.ok


def program() -> str:
    """The name under which the program was called."""
    called = Path(sys.argv[0])
    if called.parts[-2:] == ("jobs", "__main__.py"):
        return "python -m jobs"
    return called.name if called.name in {"jobs", PROGRAM} else PROGRAM


def _end(error: BaseException, *, debug: bool) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else Code.failed
    if debug:
        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):
        _silence_stdout()
        return Code.failed
    return _explain(error)


def _explain(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return Code.interrupted
    if isinstance(error, JobsError):
        _tell(str(error), getattr(error, "lines", []), hint_of(error))
        return code_of(error)
    if isinstance(error, typer.Abort):
        _tell("", ["aborted"], "")
        return Code.interrupted
    if hasattr(error, "format_message"):  # what Typer says about the words it was given
        return _usage(error)
    _tell(
        f"{type(error).__name__}: {error}",
        [],
        "this is a defect of the command line or the application: --debug shows the trace",
    )
    return Code.failed


def _usage(error: BaseException) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message(), err=True)  # type: ignore[attr-defined]
        return Code.usage
    message: str = error.format_message()  # type: ignore[attr-defined]
    wrong = getattr(error, "option_name", None)
    ctx = getattr(error, "ctx", None)
    if wrong and type(error).__name__ == "NoSuchOption":
        message = f"no such option: {wrong}{_meant(wrong, ctx)}"
    path = ctx.command_path if ctx else PROGRAM
    _tell(message, [], f"`{path} --help`")
    return Code.usage


def _meant(wrong: str, ctx: object) -> str:
    """The option of the command that is nearest to a wrong one."""
    command = getattr(ctx, "command", None)
    known = [
        name
        for parameter in getattr(command, "params", ())
        for name in (*parameter.opts, *parameter.secondary_opts)
        if not parameter.hidden
    ]
    near = get_close_matches(wrong, [*known, "--help"], n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _tell(what: str, lines: list[str], hint: str) -> None:
    """One line what, one line what to do."""
    if what:
        lines = [f"error: {what}", *lines]
    if hint:
        lines.append(f"  try: {hint}")
    with suppress(BrokenPipeError):
        for line in lines:
            typer.echo(line, err=True)


def _silence_stdout() -> None:
    """The reader of our output is gone, as in `arq-jobs list | head`: end without a trace."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
