"""`completion`: what a shell offers at the Tab key, asked as the shell asks."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import Client
from jobs.cli import completing
from jobs.cli.run import run
from tests.cli.conftest import Cli, Program
from tests.helpers.waiting import wait_until_sync

Tab = Callable[..., list[str]]
BUDGET_S = completing.BUDGET_S


@pytest.fixture(autouse=True)
def cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what is remembered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    return home / "cache" / "arq-jobs"


@pytest.fixture
def tab(cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tab:
    """What bash would be offered in this process: `tab("enqueue", "em")`."""
    monkeypatch.setattr(completing, "BUDGET_S", 30)  # nobody waits at this Tab key

    def press(*words: str) -> list[str]:
        line = ["arq-jobs", *words]
        monkeypatch.setenv("_ARQ_JOBS_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(line))
        monkeypatch.setenv("COMP_CWORD", str(len(line) - 1))
        capsys.readouterr()
        code = run([])
        monkeypatch.delenv("_ARQ_JOBS_COMPLETE")
        out, err = capsys.readouterr()
        assert (code, err) == (0, "")
        return out.split()

    return press


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["sch"], ["schema", "schedules", "scheduler"]),
        (["schedules", "sh"], ["show"]),
        (["enqueue", "e"], ["email"]),
        (["enqueue", "m"], ["many"]),
        (["enqueue", "email", "--te"], ["--template"]),
        (["enqueue", "email", "--queue", "sl"], ["slow"]),
        (["enqueue", "email", "--tone", ""], ["warm", "cold"]),
        (["schema", "f"], ["flaky"]),
        (["list", "--queue", "em"], ["email"]),
        (["list", "--name", "fl"], ["flaky"]),
        (["pause", ""], ["default", "email", "slow"]),
        (["pause", "email", "sl"], ["slow"]),
        (["worker", "--queues", "email,s"], ["email,slow"]),
        (["config", "show", "--function", "se"], ["secret"]),
        (["enqueue", "nothing", "--x"], []),
    ],
)
def test_what_is_offered(words: list[str], offered: list[str], tab: Tab) -> None:
    assert tab(*words) == offered


def test_the_server_is_asked_for_queues_and_schedules(tab: Tab, redis_url: str) -> None:
    async def fill() -> None:
        async with Client.connect(redis_url) as client:
            await client.schedules.upsert("nightly", "flaky", every="1d", queue="elsewhere")

    asyncio.run(fill())
    assert tab("schedules", "show", "") == ["nightly"]
    assert tab("schedules", "pause", "n") == ["nightly"]
    assert tab("list", "--queue", "else") == ["elsewhere"]


def test_options_before_count(tab: Tab, home: Path, redis_url: str) -> None:
    (home / "other_tab_app.py").write_text(
        "async def other(ctx): ...\nclass WorkerSettings:\n    functions = [other]\n"
    )
    assert tab("--app", "other_tab_app", "enqueue", "o") == ["other"]
    assert tab("--app=other_tab_app", "enqueue", "o") == ["other"]
    assert tab("schema", "--app", "other_tab_app", "o") == ["other"]
    assert tab("--app", "nowhere", "enqueue", "o") == []
    assert tab("--redis", "redis://127.0.0.1:1", "list", "--queue", "em") == ["email"]


def test_a_silent_server_gets_its_budget_and_no_more(
    tab: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("JOBS_REDIS_URL", f"redis://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(completing, "BUDGET_S", BUDGET_S)
        began = time.monotonic()
        assert tab("schedules", "show", "") == []
        assert time.monotonic() - began < 10 * BUDGET_S + 5  # a slow machine's import
        assert tab("list", "--queue", "em") == ["email"]


def test_what_is_remembered(
    tab: Tab, home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application is imported once, again when its code changed; a broken one hides nothing."""
    settings = home / "shop_settings.py"
    code = "async def {0}(ctx): ...\nclass WorkerSettings:\n    functions = [{0}]\n"
    settings.write_text(code.format("first"))
    monkeypatch.setenv("JOBS_APP", "shop_settings")
    assert tab("enqueue", "f") == ["first"]
    (kept,) = cache.iterdir()
    document = json.loads(kept.read_text())
    assert (document["jobs"], document["queues"]) == (["first"], ["default"])
    assert str(settings) in document["files"]

    def fail(_: object) -> None:
        raise AssertionError("imported again")

    with monkeypatch.context() as patch:
        patch.setattr(completing, "_load", fail)
        assert tab("enqueue", "f") == ["first"]
    sys.modules.pop("shop_settings")
    settings.write_text(code.format("further"))
    assert tab("enqueue", "f") == ["further"]
    sys.modules.pop("shop_settings")
    settings.write_text("broken =\n")
    assert tab("enqueue", "f") == ["further"]
    kept.write_text("{}")
    assert tab("enqueue", "f") == []


def test_a_server_of_the_settings_is_asked_and_not_written_down(
    tab: Tab, home: Path, cache: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "own_server_app.py").write_text(
        "from jobs import RedisSettings\nclass WorkerSettings:\n    functions = [lambda c: c]\n"
        f"    redis_settings = RedisSettings.from_dsn({redis_url!r})\n".replace(
            "[lambda c: c]", "[]"
        )
    )
    monkeypatch.setenv("JOBS_APP", "own_server_app")
    monkeypatch.delenv("JOBS_REDIS_URL")

    async def fill() -> None:
        async with Client.connect(redis_url) as client:
            await client.schedules.upsert("own-one", "flaky", every="1d")

    asyncio.run(fill())
    assert tab("schedules", "show", "") == ["own-one"]
    (kept,) = cache.iterdir()
    assert redis_url not in kept.read_text()
    assert json.loads(kept.read_text())["own_server"] is True


def test_a_folder_that_cannot_be_written(
    tab: Tab, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "taken").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "taken"))
    assert tab("enqueue", "em") == ["email"]


# -- shells ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_its_script(shell: str, cli: Cli) -> None:
    done = cli("completion", shell)
    assert (done.code, done.err) == (0, "")
    assert f"_ARQ_JOBS_COMPLETE=complete_{shell}" in done.out
    assert cli("completion", "tcsh").code == 2


@pytest.mark.parametrize(
    ("shell", "more"),
    [("zsh", {}), ("fish", {"_TYPER_COMPLETE_FISH_ACTION": "get-args"})],
)
def test_what_the_other_shells_ask(shell: str, more: dict[str, str], program: Program) -> None:
    """As their scripts do; the shells themselves are seldom installed."""
    line = {"_TYPER_COMPLETE_ARGS": "arq-jobs enqueue fl"}
    done = program(**{"_ARQ_JOBS_COMPLETE": f"complete_{shell}", **line, **more})
    assert (done.code, done.err) == (0, "")
    assert "flaky" in done.out


BASH = """
source <(arq-jobs completion bash)
COMP_WORDS=(arq-jobs {words})
COMP_CWORD={at}
_arq_jobs_completion arq-jobs
echo "offered: ${{COMPREPLY[*]}}"
complete -p arq-jobs
"""


@pytest.mark.parametrize(
    ("words", "offered"),
    [("enqueue fl", "flaky"), ("schedules show ni", "nightly"), ("queues sh", "show")],
)
def test_bash_itself_completes(words: str, offered: str, program: Program, redis_url: str) -> None:
    async def fill() -> None:
        async with Client.connect(redis_url) as client:
            await client.schedules.upsert("nightly", "flaky", every="1d")

    asyncio.run(fill())
    done: list[subprocess.CompletedProcess[str]] = []

    def is_offered() -> bool:
        """On a busy machine the budget may be over; one presses Tab again."""
        done.append(in_bash(program, words))
        assert done[-1].stderr == ""
        return done[-1].stdout.splitlines()[0] == f"offered: {offered}"

    wait_until_sync(is_offered, description=f"{offered} is offered")
    assert "_arq_jobs_completion" in done[-1].stdout


def test_bash_is_told_nothing_when_the_server_is_away(program: Program) -> None:
    program.environment["JOBS_REDIS_URL"] = "redis://127.0.0.1:1"
    done = in_bash(program, "schedules show ni")
    assert (done.stderr, done.stdout.splitlines()[0]) == ("", "offered: ")
    (program.home / "settings.py").write_text("broken =\n")
    broken = in_bash(program, "enqueue fl")
    assert (broken.stderr, broken.stdout.splitlines()[0]) == ("", "offered: flaky")  # remembered


def in_bash(program: Program, words: str) -> subprocess.CompletedProcess[str]:
    """Run bash's own completion function for a line that begins with `arq-jobs`."""
    script = program.home / "bin" / "arq-jobs"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m jobs "$@"\n')
    script.chmod(0o755)
    path = f"{script.parent}:{program.environment['PATH']}"
    return subprocess.run(
        ["bash", "--norc", "-c", BASH.format(words=words, at=len(words.split()))],
        cwd=program.home,
        env=program.environment | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
