"""Every exit code and every kind of trouble: one line what, one line what to do, no traceback."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import Client, errors
from jobs.cli.codes import Code, Problem, code_of, hint_of
from jobs.cli.context import Cli as Context
from jobs.cli.server import talk
from tests.cli.conftest import Cli, Program, Result
from tests.helpers.servers import MakeServer

Work = Callable[[], None]


def assert_told(done: Result, code: int, what: str, hint: str) -> None:
    """One line what, one line what to do."""
    first, *rest = [line for line in done.err.splitlines() if line.startswith(("error", "  try"))]
    assert done.code == code
    assert what in first
    assert not hint or any(hint in line for line in rest), done.err
    assert done.out == ""
    assert "Traceback" not in done.err


@pytest.fixture
def nobody() -> str:
    """The address of a port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"redis://:hunter2@127.0.0.1:{free.getsockname()[1]}"


COMMANDS = [
    ["metrics"], ["list"], ["show", "1"], ["wait", "1"], ["retry", "1"], ["cancel", "1"],
    ["dlq", "list"], ["dlq", "show", "1"], ["dlq", "retry", "--all", "--yes"],
    ["enqueue", "add", "1"], ["bench"],
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS)
def test_3_a_server_that_is_away(words: list[str], cli: Cli, nobody: str) -> None:
    done = cli(*words, "--redis", nobody)
    assert_told(done, 3, "no server answers at 127.0.0.1:", "arq-jobs doctor")
    assert "hunter2" not in done.err


@pytest.mark.parametrize("words", COMMANDS)
def test_3_no_server_at_all(words: list[str], cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBS_REDIS_URL")
    assert_told(cli(*words), 3, "no Redis or Valkey server is configured", "arq-jobs dev")


def test_3_a_worker_without_its_server(cli: Cli, nobody: str) -> None:
    done = cli("worker", "--redis", f"{nobody}/0?conn_retries=0")
    assert_told(done, 3, "no server answers at 127.0.0.1:", "arq-jobs doctor")
    assert "hunter2" not in done.err


def test_2_a_worker_on_a_server_that_loses_jobs(cli: Cli, make_server: MakeServer) -> None:
    server = make_server(config={"maxmemory-policy": "allkeys-lru"})
    assert_told(cli("worker", "--redis", server.url), 2, "expected 'noeviction'", "")


def test_3_a_wrong_password(cli: Cli, make_server: MakeServer) -> None:
    server = make_server(config={"requirepass": "right"})
    url = server.url.replace("right", "hunter2")
    done = cli("metrics", "--redis", url)
    assert_told(done, 3, "refuses", "arq-jobs doctor")
    assert "hunter2" not in done.err


@pytest.mark.parametrize("url", ["http://x", "redis://h:port", "redis://h?colour=red"])
def test_2_an_address_that_is_none(url: str, cli: Cli) -> None:
    done = cli("metrics", "--redis", url)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: the address of the server")


APPS = {
    "missing": ("nowhere:WorkerSettings", None, "there is no module 'nowhere'", "--app"),
    "no attribute": ("app:Other", "x = 1", "has no 'Other'", "--app"),
    "no class": ("app:x", "x = 1", "expected a settings class", "--app"),
    "breaks": ("app:X", "1 / 0", "ZeroDivisionError: division by zero", "--debug"),
    "syntax": ("app:X", "def", "SyntaxError", "--debug"),
    "needs more": ("app:X", "import no_such_thing", "No module named 'no_such_thing'", "--debug"),
    "exits": ("app:X", "raise SystemExit('EMAIL_HOST is missing')", "EMAIL_HOST", "repair"),
}


@pytest.mark.parametrize("words", [["types"], ["enqueue", "x"], ["worker"]])
@pytest.mark.parametrize("case", APPS)
def test_2_an_application_that_cannot_be_loaded(
    case: str, words: list[str], cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, code, what, hint = APPS[case]
    name = f"app_{'_'.join([*case.split(), *words])}"
    if code is not None:
        (home / f"{name}.py").write_text(code + "\n")
        spec = spec.replace("app", name)
    monkeypatch.setenv("JOBS_APP", spec)
    assert_told(cli(*words), 2, what, hint)


def test_2_two_functions_of_one_name(cli: Cli, home: Path) -> None:
    code = "async def a(ctx): ...\nb = a\n\n\nasync def a(ctx): ...\nclass S: functions = [a, b]\n"
    (home / "twice.py").write_text(code)
    done = cli("types", "--app", "twice:S")
    assert done.code == 2
    assert "two functions are called 'a'" in done.err


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["list", "--nonsense"], ["show"], ["list", "--limit", "0"], ["list", "x"],
     ["list", "--state", "gone"], ["worker", "-c", "0"],
     ["help", "nonsense"], ["shell-init", "tcsh"]],
)  # fmt: skip
def test_2_wrong_words(words: list[str], cli: Cli) -> None:
    done = cli(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert "  try: " in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("words", [["wait", "1", "--timeout", "soon"], ["metrics", "--watch=-1s"]])
def test_2_a_wrong_duration(words: list[str], cli: Cli) -> None:
    done = cli(*words)
    assert (done.code, done.out) == (2, "")
    assert f"`{words[-1].strip('-').partition('=')[0]}`" in done.err or "`timeout`" in done.err


def test_1_a_defect_is_one_line_and_a_trace_on_demand(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("jobs.cli.metrics._read", breaks)
    assert_told(cli("metrics"), 1, "ZeroDivisionError: oops", "--debug")
    assert "Traceback" in cli("metrics", "--debug").err
    assert "Traceback" in cli("--debug", "metrics").err


def test_130_interrupted_while_waiting(program: Program, cli: Cli) -> None:
    cli("enqueue", "add", "1", "--id", "1")
    process = program.start("enqueue", "add", "1", "--id", "1", "--wait")
    program.wait_for("waiting …")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in program.errors()


def test_an_interrupt_behind_the_work_counts_too(redis_url: str) -> None:
    """Ctrl-C while the connection is closed: `metrics --watch` would go on as if nothing was."""

    async def work(client: Client) -> None:
        assert await client.ping()
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        talk(Context(app="", redis=redis_url), None, work)


def test_a_closed_pipe_is_no_drama(program: Program) -> None:
    """`arq-jobs types | head -1` with a reader that is gone."""
    process = program.start("types", "--json")
    assert process.stdout is not None
    process.stdout.close()
    process.wait(30)
    assert "Traceback" not in program.errors()
    assert "Exception" not in program.errors()
    process.stdout = None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ServerAway("x"), 3),
        (errors.EnqueueUnknown("x"), 3),
        (errors.ServerRefused("x"), 3),
        (errors.JobNotFound("q", "1"), 4),
        (errors.WrongState("x"), 6),
        (errors.DuplicateJob("q", "1"), 6),
        (errors.ResultTimeout("x"), 124),
        (errors.JobFailed("ValueError", "x"), 1),
        (errors.JobCancelled("JobCancelled", "x"), 1),
        (errors.InvalidPayload("f", []), 2),
        (errors.PayloadTooLarge("f", 2, 1), 2),
        (errors.UnknownFunction("f"), 2),
        (errors.ConfigurationError("x"), 2),
        (Problem("x", code=Code.partial), 5),
        (KeyboardInterrupt(), 130),
        (ValueError("x"), 1),
    ],
)
def test_the_code_of_an_error(error: BaseException, code: int) -> None:
    assert code_of(error) == code
    assert isinstance(hint_of(error), str)
