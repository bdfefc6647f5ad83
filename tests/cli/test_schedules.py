"""`schedules`: every command of the group, in this process and against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from jobs import Schedule, schedule
from tests.cli import sample_app
from tests.cli.conftest import Cli, Program

Work = Callable[[], None]


@pytest.fixture
def stored(cli: Cli) -> None:
    """One schedule by cron and one by interval."""
    words = ("--cron", "0 9 * * 1", "--tz", "Europe/Berlin", "--data", '{"a": 1}')
    assert cli("schedules", "add", "weekly", "add", *words).code == 0
    assert cli("schedules", "add", "often", "flaky", "--every", "1h", "--limit", "9").code == 0


def one(cli: Cli, name: str) -> Any:
    return cli("schedules", "show", name, "--json").json["schedule"]


@pytest.mark.usefixtures("stored")
def test_schedules_are_listed(cli: Cli) -> None:
    done = cli("schedules", "list")
    header, *rows = done.out.splitlines()
    assert header.split() == ["NAME", "JOB", "QUEUE", "RULE", "STATE", "NEXT", "LAST", "RUNS"]
    assert rows[0].split()[:5] == ["often", "flaky", "default", "every", "1"]
    assert "0 9 * * 1 in Europe/Berlin  active  in " in rows[1]
    assert cli("schedules", "list", "-q").out.split() == ["often", "weekly"]
    names = [s["name"] for s in cli("schedules", "list", "--json").json["schedules"]]
    assert names == ["often", "weekly"]
    assert cli("schedules", "list", "--queue", "email", "-q").out == ""


def test_without_schedules_the_next_step_is_told(cli: Cli) -> None:
    done = cli("schedules", "list")
    assert (done.code, done.out) == (0, "")
    assert "schedules add NAME JOB" in done.err


@pytest.mark.usefixtures("stored")
def test_one_is_shown(cli: Cli) -> None:
    found = one(cli, "weekly")
    assert (found["rule"], found["payload"]) == ("0 9 * * 1 in Europe/Berlin", {"a": 1})
    assert (found["misfire"], found["overlap"], found["from_code"]) == ("once", "allow", False)
    text = cli("schedules", "show", "often").out
    assert "rule       every 1 h\n" in text
    assert "limit      9\n" in text


def test_every_option_is_stored(cli: Cli) -> None:
    done = cli(
        *("schedules", "add", "full", "email", "--every", "5m", "--queue", "other"),
        *("--start", "2126-01-01T00:00[UTC]", "--end", "2126-02-01T00:00[UTC]"),
        *("--offset", "5s", "--jitter", "30s", "--misfire", "all", "--window", "1h"),
        *("--overlap", "queue", "--data", '{"to": "a@b", "password": "geheim"}'),
        *("--priority", "7", "--attempts", "2", "--timeout", "9s"),
    )
    assert (done.code, done.out) == (0, "full\n")
    assert "in queue 'other': every 5 m; next 2126-01-01T00:00:05+00:00" in done.err
    found = one(cli, "full")
    assert (found["jitter"], found["window"], found["offset"]) == ("30 s", "1 h", "5 s")
    assert (found["misfire"], found["overlap"], found["priority"]) == ("all", "queue", 7)
    assert (found["payload"]["to"], found["payload"]["password"]) == ("a@b", "***")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["s", "flaky"], 2, "one of `cron` (or `pattern`, the same) and `every`"),
        (["s", "ad", "--every", "5m"], 2, "no job function is called 'ad' (did you mean 'add'?)"),
        (["s", "add", "--cron", "61 * * * *", "--data", '{"a": 1}'], 2, "the minute of '61"),
        (["s", "add", "--every", "5m"], 2, "a: Field required"),
        (["s", "add", "--every", "5m", "--data", "[]"], 2, "expected a JSON object"),
        (["s", "add", "--every", "5m", "--data", '{"a":1}', "--overlap", "no"], 2, "'allow'"),
    ],
)
def test_what_cannot_be_is_not_added(words: list[str], code: int, sentence: str, cli: Cli) -> None:
    done = cli("schedules", "add", *words)
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err
    assert cli("schedules", "list", "-q").out == ""


def test_a_dry_run_adds_nothing(cli: Cli) -> None:
    done = cli("schedules", "add", "s", "flaky", "--every", "5m", "--dry-run")
    assert done.json["schedule"] | {"misfire": ""} == {
        "name": "s", "job": "flaky", "every": 300_000, "tz": "UTC", "offset": 0,
        "misfire": "", "overlap": "allow", "jitter": 0,
    }  # fmt: skip
    assert cli("schedules", "list", "-q").out == ""


@pytest.mark.usefixtures("stored")
def test_pause_and_resume(cli: Cli) -> None:
    done = cli("schedules", "pause", "weekly", "often")
    assert (done.code, done.out) == (0, "weekly\noften\n")
    assert one(cli, "weekly")["state"] == "paused"
    assert cli("schedules", "next", "weekly").err == "none: the schedule is paused\n"
    again = cli("schedules", "pause", "weekly")
    assert (again.code, again.out) == (6, "")
    assert "the schedule 'weekly' is paused" in again.err
    assert cli("schedules", "resume", "weekly", "--dry-run").err == "weekly would be resumed\n"
    assert cli("schedules", "resume", "weekly").code == 0
    partly = cli("schedules", "resume", "often", "weekly", "--json")
    assert (partly.code, [s["done"] for s in partly.json["schedules"]]) == (5, [True, False])


@pytest.mark.usefixtures("stored")
def test_remove_asks_first(cli: Cli) -> None:
    refused = cli("schedules", "remove", "weekly")
    assert (refused.code, refused.out) == (6, "")
    assert "needs --yes" in refused.err
    assert cli("schedules", "remove", "weekly", "--dry-run").code == 0
    assert cli("schedules", "list", "-q").out.split() == ["often", "weekly"]
    assert cli("schedules", "remove", "weekly", "--yes").out == "weekly\n"
    gone = cli("schedules", "remove", "weekly", "--yes")
    assert gone.code == 4
    assert "there is no schedule 'weekly'" in gone.err


@pytest.mark.usefixtures("stored")
def test_run_now(cli: Cli, work: Work) -> None:
    done = cli("schedules", "run", "weekly")
    assert done.out.startswith("weekly:")
    job_id = done.out.strip()
    assert f"show {job_id}" in done.err
    work()
    assert cli("wait", job_id).out == "3\n"
    assert cli("schedules", "run", "weekli").code == 4


def test_run_now_and_wait_for_the_result(cli: Cli, program: Program) -> None:
    assert cli("schedules", "add", "s", "add", "--every", "1h", "--data", '{"a": 1}').code == 0
    program.start("worker", "--quiet")
    assert cli("schedules", "run", "s", "--wait").out == "3\n"


@pytest.mark.usefixtures("stored")
def test_next_times_are_those_of_the_zone(cli: Cli) -> None:
    done = cli("schedules", "next", "weekly", "-n", "40")
    moments = [datetime.fromisoformat(line) for line in done.out.splitlines()]
    assert len(moments) == 40
    assert {(at.hour, at.weekday()) for at in moments} == {(9, 0)}
    assert len({at.utcoffset() for at in moments}) == 2, "summer and winter"
    assert len(cli("schedules", "next", "often", "--json").json["next"]) == 9


def test_b88_check_needs_no_server(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: Any = sample_app.WorkerSettings
    good = [Schedule("good", "add", {"a": 1}, cron="@daily")]
    monkeypatch.setattr(settings, "schedules", good, raising=False)
    monkeypatch.setenv("JOBS_REDIS_URL", "redis://localhost:1")
    monkeypatch.delattr(sample_app.flaky.function.call, "__jobs_schedules__", raising=False)
    schedule("0 2 * * *", tz="Europe/Berlin")(sample_app.flaky)
    try:
        done = cli("schedules", "check", "-n", "2")
        assert (done.code, len(done.out.splitlines())) == (0, 2)
        assert "flaky: 0 2 * * * in Europe/Berlin; next " in done.out
        bad = [
            *good,
            Schedule("bad", "add", {"a": "x"}, every="1h"),
            Schedule("none", "nobody", every=5),
        ]
        monkeypatch.setattr(settings, "schedules", bad)
        done = cli("schedules", "check", "--json")
        problems = {p["name"]: p["problem"] for p in json.loads(done.out)["problems"]}
        assert done.code == 2
        assert "nobody" in problems["none"]
        assert "bad" in problems
    finally:
        del sample_app.flaky.function.call.__jobs_schedules__  # type: ignore[attr-defined]  # left by `schedule`
