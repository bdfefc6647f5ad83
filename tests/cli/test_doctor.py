"""`doctor`, `config show`, `version`: what is, and what will go wrong."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import doctor
from tests.cli.conftest import Cli
from tests.helpers.servers import MakeServer


def checks(cli: Cli, *words: str) -> dict[str, dict[str, Any]]:
    return {check["topic"]: check for check in cli("doctor", "--json", *words).json["checks"]}


def test_a_healthy_place(cli: Cli) -> None:
    done = cli("doctor", "--json")
    assert (done.code, done.json["ok"]) == (0, True)
    found = checks(cli)
    topics = "application server version role eviction persistence clock memory python shell"
    assert found.keys() >= {*topics.split(), "round trip", "event loop"}
    assert found["eviction"]["level"] == "OK"
    assert "p50" in found["round trip"]["text"]
    assert "p99" in found["round trip"]["text"]


def test_a_table_for_people(cli: Cli) -> None:
    lines = cli("doctor").out.splitlines()
    assert lines[0].split() == ["CHECK", "FINDING", "REPAIR"]
    assert {line.split()[0] for line in lines[1:]} <= {"OK", "WARN"}


def test_no_server(cli: Cli) -> None:
    done = cli("doctor", "--redis", "redis://:hunter2@127.0.0.1:1")
    assert done.code == 1
    assert "FAIL  server" in done.out
    assert "hunter2" not in done.out + done.err


def test_no_application(cli: Cli) -> None:
    found = checks(cli, "--app", "nowhere:Settings")
    assert found["application"]["level"] == "FAIL"
    assert "--app" in found["application"]["repair"]
    assert found["server"]["level"] == "OK"
    assert cli("doctor", "--app", "nowhere:Settings").code == 1


def test_a_server_that_evicts(cli: Cli, make_server: MakeServer) -> None:
    server = make_server(config={"maxmemory-policy": "allkeys-lru", "maxmemory": "64mb"})
    done = cli("doctor", "--redis", server.url, "--json")
    found = {check["topic"]: check for check in done.json["checks"]}
    assert done.code == 1
    assert found["eviction"]["level"] == "FAIL"
    assert found["memory"]["text"].endswith("used of 64.00M")


def test_a_replica(cli: Cli, make_server: MakeServer) -> None:
    primary = make_server()
    replica = make_server(config={"replicaof": f"127.0.0.1 {primary.port}"})
    found = checks(cli, "--redis", replica.url)
    assert found["role"]["level"] == "FAIL"


def test_jobs_and_nobody_who_runs_them(cli: Cli) -> None:
    cli("enqueue", "add", "1")
    found = checks(cli)["queue default"]
    assert (found["level"], found["text"]) == ("WARN", "1 jobs and no live worker")
    assert found["repair"] == "arq-jobs worker --queues default"


def test_the_clocks_differ(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "time", lambda: time.time() + 5)
    found = checks(cli)["clock"]
    assert found["level"] == "WARN"
    assert re.search(r"-(49|50)\d\d ms", found["text"])


def test_without_uvloop(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    assert checks(cli)["event loop"]["level"] == "WARN"


@pytest.mark.parametrize(("shell", "level"), [("/bin/bash", "WARN"), ("/bin/weird", "OK")])
def test_the_builtin_of_the_shell(
    shell: str, level: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/jobs")
    monkeypatch.setenv("SHELL", shell)
    found = checks(cli)["shell"]
    assert found["level"] == level
    assert ("shell-init bash" in found["repair"]) == (level == "WARN")


# -- config show ----------------------------------------------------------------------------------


def settings(cli: Cli, *words: str) -> dict[str, tuple[str, str]]:
    rows = cli("config", "show", "--json", *words).json["settings"]
    return {row["name"]: (row["value"], row["source"]) for row in rows}


def test_values_have_sources_and_no_secrets(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "hunter2")
    monkeypatch.setenv("REDIS_URL", "redis://u:hunter2@elsewhere:1/3?password=hunter2")
    found = settings(cli)
    assert found["app"][1] == "JOBS_APP"
    assert found["server"][1] == "JOBS_REDIS_URL"
    assert found["REDIS_URL"] == ("redis://***@elsewhere:1/3", "environment")
    assert found["worker.max_tries"] == ("2", "tests.cli.sample_app:WorkerSettings")
    given = settings(cli, "--redis", "redis://u:hunter2@other:7")
    assert given["server"] == ("other:7", "--redis")
    assert given["server.password"] == ("***", "--redis")
    assert "hunter2" not in str(found) + str(given) + cli("config", "show").out


@pytest.mark.parametrize(
    ("environment", "app", "source"),
    [
        ({}, "", "WorkerSettings.redis_settings"),
        ({"REDIS_URL": "redis://two:1"}, "", "WorkerSettings.redis_settings"),
        ({"JOBS_REDIS_URL": "redis://one:1"}, "", "JOBS_REDIS_URL"),
        ({"REDIS_URL": "redis://two:1"}, "none", "REDIS_URL"),
        ({"REDIS_HOST": "three"}, "none", "REDIS_HOST"),
    ],
)
def test_which_server_wins(
    environment: dict[str, str],
    app: str,
    source: str,
    cli: Cli,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = (
        "from arq.connections import RedisSettings\n"
        "class WorkerSettings:\n    redis_settings = RedisSettings('app-host')\n"
    )
    (home / "with_server.py").write_text(code)
    monkeypatch.delenv("JOBS_REDIS_URL")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = settings(cli, "--app", app or "with_server:WorkerSettings")
    assert found["server"][1].endswith(source)


def test_the_versions(cli: Cli) -> None:
    versions = cli("version", "--json").json["versions"]
    assert versions.keys() >= {"arq-jobs", "arq", "redis", "pydantic"}
    assert "arq " in cli("version").out


# -- config validate ------------------------------------------------------------------------------


def test_settings_that_a_worker_could_begin_with(cli: Cli) -> None:
    done = cli("config", "validate", "--redis", "redis://127.0.0.1:1")  # nothing is asked of it
    assert done.code == 0
    assert "is valid" in done.err
    told = cli("config", "validate", "--json").json
    assert (told["ok"], told["server"], told["queues"] > 0) == (True, "JOBS_REDIS_URL", True)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("max_jobs = 0", "`max_jobs` is a whole number from 1 to 100,000, not 0"),
        ("queues = ['email']", "`queues` are `Queue`s: write Queue('email')"),
        ("job_completion_wait = 'soon'", "job_completion_wait"),
    ],
)
def test_settings_that_no_worker_takes(
    line: str, sentence: str, cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = f"async def one(ctx): ...\nclass WorkerSettings:\n    functions = [one]\n    {line}\n"
    (home / "wrong.py").write_text(body)
    monkeypatch.setenv("JOBS_APP", "wrong")
    done = cli("config", "validate")
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err
    assert "Traceback" not in done.err
