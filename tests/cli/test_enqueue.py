"""`enqueue JOB`: options from payloads, payloads from options."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.cli.conftest import Cli

Work = Callable[[], None]


def payload(cli: Cli, *words: str) -> dict[str, Any]:
    """The payload that a dry run shows."""
    done = cli("enqueue", *words, "--dry-run")
    assert done.code == 0, done.err
    shown: dict[str, Any] = done.json["job"]["payload"]
    return shown


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--template", "bye"], "template", "bye"),
        (["--copies", "3"], "copies", 3),
        (["--no-track"], "track", False),
        (["--track"], "track", True),
        (["--tone", "cold"], "tone", "cold"),
        (["--level", "2"], "level", 2),
        (["--language", "de"], "language", "de"),
        (["--tags", "a", "--tags", "b"], "tags", ["a", "b"]),
        (["--when", "2026-12-01T09:00:00+01:00"], "when", "2026-12-01T09:00:00+01:00"),
        (["--params", '{"n": 1}'], "params", {"n": 1}),
        (["--address", '{"city": "Ulm"}'], "address", {"city": "Ulm"}),
        (["--payload-queue", "mine"], "queue", "mine"),
        (["--either", "5"], "either", 5),
        (["--either", "five"], "either", "five"),
        ([], "template", "welcome"),
    ],
)
def test_an_option_of_each_type(words: list[str], field: str, value: object, cli: Cli) -> None:
    assert payload(cli, "email", "--to", "a@b", *words)[field] == value


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "--to: Field required"),
        (["--to", "nobody"], "--to: String should match pattern '.+@.+'"),
        (["--to", "a@b", "--params", "{"], "--params: expected JSON text"),
        (["--to", "a@b", "--params", '{"n": "x"}'], "--params.n: Input should be a valid integer"),
        (["--to", "a@b", "--address", "{}"], "--address.city: Field required"),
        (["--to", "a@b", "--payload-queue", "q", "--data", '{"queu": 1}'], "--queu: unknown field"),
        (["--data", '{"queue": 3, "to": "a@b"}'], "--payload-queue: Input should be a valid str"),
    ],
)
def test_a_wrong_payload_is_told_by_option(words: list[str], line: str, cli: Cli) -> None:
    done = cli("enqueue", "email", *words)
    assert (done.code, done.out) == (2, "")
    assert any(told.startswith(line) for told in done.err.splitlines()), done.err
    assert "Traceback" not in done.err
    assert cli("list", "-q").out == ""


@pytest.mark.parametrize("words", [["--copies", "x"], ["--tone", "hot"], ["--priority", "high"]])
def test_a_value_of_another_type_is_a_usage_error(words: list[str], cli: Cli) -> None:
    done = cli("enqueue", "email", "--to", "a@b", *words)
    assert (done.code, done.out) == (2, "")
    assert words[0] in done.err or words[0].strip("-") in done.err


def test_data_is_below_the_options(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"to": "a@b", "template": "data", "copies": 7}
    (home / "p.json").write_text(json.dumps(given))
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(given)))
    for source in (json.dumps(given), "@p.json", "-"):
        shown = payload(cli, "email", "--data", source, "--template", "option")
        assert (shown["to"], shown["template"], shown["copies"]) == ("a@b", "option", 7)


@pytest.mark.parametrize("data", ["{", "[1]", "@missing.json", "7"])
def test_data_that_is_no_object(data: str, cli: Cli) -> None:
    done = cli("enqueue", "email", "--data", data)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: --data: ")


def test_the_id_is_the_data_and_the_rest_is_talk(cli: Cli) -> None:
    done = cli("enqueue", "email", "--to", "a@b", "--id", "w:1")
    assert (done.code, done.out) == (0, "w:1\n")
    assert "arq-jobs show w:1" in done.err
    quiet = cli("enqueue", "email", "--to", "a@b", "--id", "w:2", "-q")
    assert (quiet.out, quiet.err) == ("w:2\n", "")


def test_a_taken_id_gives_the_job_that_has_it(cli: Cli) -> None:
    first = cli("enqueue", "email", "--to", "a@b", "--id", "w:1", "--json")
    again = cli("enqueue", "email", "--to", "x@y", "--id", "w:1", "--json")
    assert [done.json["job"]["duplicate"] for done in (first, again)] == [False, True]
    assert again.code == 0


def test_the_job_options_reach_the_job(cli: Cli) -> None:
    words = ["--id", "1", "--queue", "other", "--priority", "9", "--attempts", "4",
             "--timeout", "7s", "--expires", "1h", "--in", "5m"]  # fmt: skip
    assert cli("enqueue", "email", "--to", "a@b", *words).code == 0
    job = cli("show", "1", "--json").json["job"]
    assert (job["queue"], job["priority"], job["state"]) == ("other", 9, "delayed")
    assert job["options"] == {"attempts": 4, "timeout": 7000, "expires": 3_600_000}
    due = datetime.fromisoformat(job["due_at"]) - datetime.now(UTC)
    assert timedelta(minutes=4) < due <= timedelta(minutes=5)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("2036-12-01T09:00[Europe/Berlin]", "Europe/Berlin"),
        ("2036-12-01T09:00+01:00", "Europe/Berlin"),
        ("2036-12-01T09:00", "Asia/Tokyo"),
    ],
)
def test_a_time_has_a_zone(text: str, zone: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert cli("enqueue", "email", "--to", "a@b", "--id", "1", "--at", text).code == 0
    due = datetime.fromisoformat(cli("show", "1", "--json").json["job"]["due_at"])
    assert due == datetime(2036, 12, 1, 9, tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    "words",
    [
        ["--at", "tomorrow"],
        ["--at", "2036-12-01T09:00[Europe/Berlln]"],
        ["--at", "2036-12-01T09:00+01:00[Europe/Berlin]"],
        ["--in", "5x"],
        ["--in", "5m", "--at", "2036-12-01T09:00"],
        ["--attempts", "0"],
        ["--priority", "0"],
        ["--id", ""],
    ],
)
def test_an_option_that_cannot_be(words: list[str], cli: Cli) -> None:
    done = cli("enqueue", "email", "--to", "a@b", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert cli("list", "-q").out == ""


def test_a_dry_run_sends_nothing_and_hides_secrets(cli: Cli) -> None:
    done = cli("enqueue", "email", "--to", "a@b", "--password", "hunter2", "--in", "5m",
               "--dry-run")  # fmt: skip
    assert done.code == 0
    assert done.json["dry_run"] is True
    assert done.json["job"]["payload"]["password"] == "***"
    assert "hunter2" not in done.out + done.err
    assert cli("list", "-q").out == ""


def test_waiting_prints_the_result(cli: Cli, work: Work) -> None:
    """The job is there already, so the waiting call finds its end."""
    words = ["enqueue", "add", "40", "--id", "sum"]
    cli(*words)
    work()
    cli("retry", "sum")
    done = cli(*words, "--wait-timeout", "100ms")
    assert done.code == 124
    work()
    done = cli("wait", "sum")
    assert (done.code, done.out) == (0, "42\n")


@pytest.mark.parametrize(
    ("words", "result"),
    [
        (["1"], "3"),
        (["1", "10"], "11"),
        (["1", "10", "100", "1000"], "1111"),
        (["--a", "1", "--b", "5"], "6"),
        (["5", "--a", "1"], "6"),
        (["--data", '{"a": 20}'], "22"),
        (["7", "--data", '{"b": 20}'], "27"),
    ],
)
def test_a_plain_function_takes_positions_and_names(
    words: list[str], result: str, cli: Cli, work: Work
) -> None:
    assert cli("enqueue", "add", *words, "--id", "sum").code == 0
    work()
    assert cli("wait", "sum").out == result + "\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "--a: Field required"),
        (["x"], "--a: Input should be a valid integer"),
        (["1", "--data", '{"c": 1}'], "--c: unknown field"),
        (["1", "2", "x"], "--more: Input should be a valid integer"),
    ],
)
def test_a_plain_function_is_checked_too(words: list[str], line: str, cli: Cli) -> None:
    done = cli("enqueue", "add", *words)
    assert (done.code, done.out) == (2, "")
    assert line in done.err


def test_too_many_positions(cli: Cli) -> None:
    done = cli("enqueue", "flaky", "one", "two")
    assert (done.code, done.out) == (2, "")
    assert "too many" in done.err


def test_the_help_of_a_job(cli: Cli) -> None:
    text = cli("enqueue", "email", "--help").out
    assert "Send one e-mail [really]." in text
    assert "Payload:" in text
    assert "Job options:" in text
    for expected in (
        "--to TEXT",
        "Who gets it. (required)",
        "--track / --no-track",
        "<warm|cold>",
        "(repeat for more)",
        "--params JSON",
        "--payload-queue",
        "(default: welcome)",
        "--wait-timeout",
    ):
        assert expected in text


def test_the_jobs_are_listed(cli: Cli) -> None:
    text = cli("enqueue", "--help").out
    assert "Jobs:" in text
    for name in ("email", "flaky", "add", "many"):
        assert f"  {name} " in text


def test_an_unknown_job(cli: Cli) -> None:
    done = cli("enqueue", "emial", "--to", "a@b")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: no job function is called 'emial' (did you mean 'email'?)")
