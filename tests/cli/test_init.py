"""`init`: a starter application that really runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.cli.init import FILES
from tests.cli.conftest import Cli, Program
from tests.helpers.source import ROOT


@pytest.fixture
def shop(cli: Cli, home: Path, redis_url: str) -> Iterator[Program]:
    """The program in a folder where `init` has been."""
    assert cli("init", "shop").code == 0
    made = Program(home / "shop", {"JOBS_REDIS_URL": redis_url, "JOBS_APP": ""})
    yield made
    made.end_all()


def test_the_starter_is_written(cli: Cli, home: Path) -> None:
    done = cli("init", "a/b")
    assert done.code == 0
    assert done.out.splitlines() == [f"a/b/{name}" for name in FILES]
    assert done.err.startswith("next: cd a/b && arq-jobs dev")
    assert sorted(path.name for path in (home / "a/b").iterdir()) == sorted(FILES)


def test_this_folder_is_the_default(cli: Cli, home: Path) -> None:
    found = cli("init", "--json").json
    assert [row["path"] for row in found["files"]] == list(FILES)
    assert {row["replaced"] for row in found["files"]} == {False}
    assert (home / "settings.py").exists()


def test_nothing_is_written_over(cli: Cli, home: Path) -> None:
    (home / "Makefile").write_text("mine")
    done = cli("init")
    assert (done.code, done.out) == (6, "")
    assert done.err.splitlines()[1:] == [
        "Makefile", "  try: choose another folder, or --force to write over them",
    ]  # fmt: skip
    assert [path.name for path in home.iterdir()] == ["Makefile"]
    assert (home / "Makefile").read_text() == "mine"
    forced = cli("init", "--force", "--json")
    assert [row["path"] for row in forced.json["files"] if row["replaced"]] == ["Makefile"]
    assert (home / "Makefile").read_text() != "mine"


def test_a_dry_run_writes_nothing(cli: Cli, home: Path) -> None:
    done = cli("init", "new", "--dry-run")
    assert done.code == 0
    assert done.err == "nothing was written (--dry-run)\n"
    assert not (home / "new").exists()


def test_a_file_is_no_folder(cli: Cli, home: Path) -> None:
    (home / "taken").write_text("")
    assert cli("init", "taken").code == 2
    beneath = cli("init", "taken/below")
    assert beneath.code in {1, 2}
    assert "Traceback" not in beneath.err


def test_the_starter_works(shop: Program) -> None:
    """As its user would: look, enqueue, run a worker, read the result."""
    listed = shop("types", "-q")
    assert (listed.code, listed.out.split()) == (0, ["good-morning", "greet"])
    assert (shop("check", "--strict", "--offline").code, listed.err) == (0, "")
    example = shop("schema", "greet", "-q").out
    assert shop("enqueue", "greet", "--data", "-", "--id", "1", given=example).code == 0
    assert shop("enqueue", "greet", "--name", "Ada", "--id", "2").code == 0
    assert shop("worker", "--burst").code == 0
    assert shop("wait", "2").out == "Hello, Ada!\n"
    schedules = shop("schedules", "list", "-q")
    assert schedules.out == "good-morning\n"


def test_the_tests_of_the_starter_pass(shop: Program) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=shop.home,
        env=shop.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_starter_is_clean_and_typed(shop: Program) -> None:
    tools = [["ruff", "check"], ["ruff", "format", "--check"]]
    for words in tools:
        done = subprocess.run(
            [sys.executable, "-m", *words, "--isolated", "--line-length", "100", "."],
            cwd=shop.home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_make_lists_the_targets_of_the_starter(shop: Program) -> None:
    done = subprocess.run(
        ["make"], cwd=shop.home, capture_output=True, text=True, check=True, timeout=20
    )
    for target in ("dev", "worker", "test", "check"):
        assert f"make {target}: " in done.stdout


def test_every_template_is_in_the_package() -> None:
    folder = ROOT / "jobs/cli/starter"
    assert {path.name for path in folder.iterdir()} == set(FILES.values())
