"""The program as a whole: how it starts, what it imports, its help, its reference."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from jobs.cli.codes import MEANINGS, Code
from jobs.cli.reference import reference
from jobs.cli.tree import build
from tests.cli.conftest import Cli, Program
from tests.helpers.source import ROOT

HEAVY = {"redis", "arq", "httpx", "rich", "jobs.client", "settings"}
TYPER_READS_VALUES_WITH = {"pydantic", "asyncio"}


def commands() -> list[str]:
    """Every command that is not a job."""
    root = typer.main.get_command(build(rich=False))
    found: list[str] = []
    for name, command in root.commands.items():  # type: ignore[attr-defined]  # a group
        children = getattr(command, "commands", {})
        found += [f"{name} {child}" for child in children] if children else [name]
    return found


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], HEAVY | TYPER_READS_VALUES_WITH),
        (["metrics", "--help"], HEAVY),
        (["bench", "--help"], HEAVY),
        (["help", "exit-codes"], HEAVY),
        (["shell-init", "bash"], HEAVY),
        (["completion", "bash"], HEAVY),
        (["check", "--help"], HEAVY),
        (["init", "--help"], HEAVY),
    ],
)
def test_help_imports_nothing_heavy(words: list[str], heavy: set[str]) -> None:
    """Time differs by machine; what is imported does not."""
    code = (
        f"import sys; from jobs.cli.run import run; run({words!r});"
        f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert done.stdout


def test_the_package_of_the_command_line_imports_almost_nothing() -> None:
    code = "import sys; old = set(sys.modules); import jobs.cli; print(set(sys.modules) - old)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "typer" not in done.stdout
    assert "jobs.cli" in done.stdout


def test_the_module_runs_the_program(program: Program) -> None:
    done = program("version", "-q")
    assert (done.code, done.err) == (0, "")
    assert done.out.strip()


def test_the_top_level_script_runs_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cli.py", "help", "exit-codes"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "cli.py"), run_name="__main__")
    assert end.value.code == 0
    assert "cannot" not in capsys.readouterr().err


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help(command: str, cli: Cli) -> None:
    done = cli(*command.split(), "--help")
    assert done.code == 0
    assert done.out.startswith("Usage: arq-jobs " + command)
    assert done.err == ""


def test_the_commands_of_this_issue_are_there() -> None:
    wanted = {"enqueue many", "metrics", "list", "show", "wait", "retry", "cancel", "dlq list",
              "dlq show", "dlq retry", "schedules list", "schedules show", "schedules add",
              "schedules remove", "schedules pause", "schedules resume", "schedules run",
              "schedules next", "schedules check", "types", "worker", "dev", "doctor", "bench",
              "shell-init", "config show", "version", "help",
              "duplicate", "promote", "change", "remove", "pause", "resume", "drain", "clean",
              "obliterate", "schema", "init", "check", "scheduler", "completion"}  # fmt: skip
    assert wanted <= set(commands())


def test_without_words_the_help_is_shown_as_an_error(cli: Cli) -> None:
    done = cli()
    assert (done.code, done.out) == (2, "")
    assert "enqueue" in done.err


def test_help_on_a_command(cli: Cli) -> None:
    assert cli("help", "enqueue", "email").out == cli("enqueue", "email", "--help").out


def test_the_exit_codes_are_explained(cli: Cli) -> None:
    done = cli("help", "exit-codes", "--json")
    assert {entry["code"] for entry in done.json["codes"]} == {0, 1, 2, 3, 4, 5, 6, 124, 130}
    assert set(MEANINGS) == set(Code)
    assert "124  timed out" in cli("help", "exit-codes").out


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["metrcs"], "metrics"),
        (["dlq", "lst"], "list"),
        (["list", "--stat", "failed"], "--state"),
        (["enqueue", "emial"], "email"),
        (["enqueue", "email", "--tmplate", "x"], "--template"),
        (["metrics", "--queue", "emall"], "email"),
    ],
)
def test_what_was_meant(words: list[str], meant: str, cli: Cli) -> None:
    done = cli(*words)
    assert done.code in {2, 4}
    assert "mean" in done.err.lower()
    assert meant in done.err


def test_the_reference_page_is_what_the_program_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    page = Path(ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    assert page == reference(), (
        "write it anew: python -m jobs.cli.reference > docs/reference/cli.md"
    )
