"""`retry`, `promote`, `change`, `duplicate`, `remove`: what is done to single jobs, and refused."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli

Work = Callable[[], None]


@pytest.fixture
def dead(cli: Cli, work: Work) -> list[str]:
    """Three dead letters, in the order of their ends."""
    for job_id in ("d1", "d2", "d3"):
        cli("enqueue", "flaky", "--id", job_id)
        work()
    return ["d1", "d2", "d3"]


@pytest.fixture
def later(cli: Cli) -> list[str]:
    """Three delayed jobs, the last in another queue."""
    for job_id in ("l1", "l2"):
        cli("enqueue", "add", "1", "--id", job_id, "--in", "1h")
    cli("enqueue", "email", "--to", "a@b.c", "--id", "l3", "--in", "1h")
    return ["l1", "l2", "l3"]


def editor(home: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """An editor that is a shell script; $1 is the file."""
    path = home / "editor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("EDITOR", str(path))
    return path


def shown(cli: Cli, job_id: str) -> dict[str, Any]:
    """Everything about a job."""
    job: dict[str, Any] = cli("show", job_id, "--json").json["job"]
    return job


def states(cli: Cli) -> dict[str, str]:
    """The state of every job."""
    return {job["id"]: job["state"] for job in cli("list", "--json").json["jobs"]}


# -- retry --------------------------------------------------------------------------------


def test_the_last_that_failed_before_a_moment(dead: list[str], cli: Cli) -> None:
    at = shown(cli, "d3")["finished_at"]
    done = cli("retry", "--last", "1", "--before", at, "--dry-run")
    assert (done.code, done.out) == (0, "d2\n")
    assert set(states(cli).values()) == {"failed"}
    assert cli("retry", "--last", "1", "--before", at).code == 6, "it asks for --yes"
    assert cli("retry", "--last", "1", "--before", at, "--yes").out == "d2\n"
    assert cli("retry", "--all-failed", "--before", at, "--yes").out == "d1\n"
    assert states(cli) == {"d1": "waiting", "d2": "waiting", "d3": "failed"}


def test_one_more_attempt(dead: list[str], cli: Cli, work: Work) -> None:
    cli("retry", "d1", "--keep-attempts")
    cli("retry", "d2")
    work()
    assert len(shown(cli, "d1")["history"]) == 3
    assert len(shown(cli, "d2")["history"]) == 4


def test_with_another_payload(dead: list[str], cli: Cli) -> None:
    assert cli("retry", "d1", "--data", '{"note": "mended"}').code == 0
    assert shown(cli, "d1")["payload"] == {"note": "mended"}
    done = cli("retry", "d2", "--data", '{"nte": "mended"}')
    assert done.code == 2
    assert "did you mean 'note'" in done.err
    assert states(cli)["d2"] == "failed"
    assert cli("retry", "d2", "d3", "--data", "{}").code == 2


def test_with_the_payload_in_an_editor(
    dead: list[str], cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(home, monkeypatch, f'stat -c %a "$1" > {home}/mode; sed -i s/boom/mended/ "$1"')
    cli("retry", "d1", "--data", '{"note": "boom"}')
    cli("cancel", "d1")
    assert cli("retry", "d1", "--edit").code == 0
    assert shown(cli, "d1")["payload"] == {"note": "mended"}
    assert (home / "mode").read_text() == "600\n", "nobody else reads it"


@pytest.mark.parametrize(
    ("script", "code", "told"),
    [
        ("exit 3", 6, "ended with 3"),
        ('echo > "$1"', 6, "the payload is empty"),
        ('echo "{" > "$1"', 2, "is no JSON"),
        ('echo "[]" > "$1"', 2, "expected a JSON object"),
        ('echo "{\\"x\\": 1}" > "$1"', 2, "unknown field"),
    ],
)
def test_an_editor_that_comes_to_nothing(
    script: str, code: int, told: str, dead: list[str], cli: Cli, home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    editor(home, monkeypatch, script)
    done = cli("retry", "d1", "--edit")
    assert done.code == code
    assert told in done.err
    assert set(states(cli).values()) == {"failed"}


def test_without_an_editor(dead: list[str], cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EDITOR", "VISUAL"):
        monkeypatch.delenv(name, raising=False)
    assert "set EDITOR" in cli("retry", "d1", "--edit").err
    monkeypatch.setenv("EDITOR", "/nowhere/editor")
    assert "cannot be started" in cli("retry", "d1", "--edit").err
    assert cli("retry", "d1", "--edit", "--data", "{}").code == 2


@pytest.mark.parametrize(
    "words",
    [["--before", "2030-01-01T00:00Z"], ["d1", "--last", "1"], ["d1", "--all-failed"], []],
)
def test_which_jobs_must_be_said(words: list[str], cli: Cli) -> None:
    assert cli("retry", *words).code == 2


# -- promote ------------------------------------------------------------------------------


def test_delayed_jobs_are_promoted(later: list[str], cli: Cli) -> None:
    done = cli("promote", "l1", "--dry-run")
    assert (done.code, done.out) == (0, "l1\n")
    assert states(cli)["l1"] == "delayed"
    assert cli("promote", "l1").out == "l1\n"
    done = cli("promote", "l1", "l2", "nobody", "--json")
    assert done.code == 5
    assert [job["done"] for job in done.json["jobs"]] == [False, True, False]
    assert cli("promote", "l1").code == 6
    assert cli("promote", "nobody").code == 4
    assert states(cli) == {"l1": "waiting", "l2": "waiting", "l3": "delayed"}


def test_all_delayed_jobs_are_promoted(later: list[str], cli: Cli) -> None:
    assert cli("promote", "--all").code == 6
    assert sorted(cli("promote", "--all", "--dry-run").out.split()) == later
    assert cli("promote", "--all", "--queue", "email", "--yes").out == "l3\n"
    done = cli("promote", "--all", "--yes", "--json")
    assert sorted(done.json["promoted"]) == ["l1", "l2"]
    assert cli("promote", "--all").code == 0, "nothing to ask about"
    for words in ([], ["l1", "--all"]):
        assert cli("promote", *words).code == 2


# -- remove -------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["remove", "cancel", "promote"])
def test_ids_and_all_contradict_each_other(verb: str, later: list[str], cli: Cli) -> None:
    done = cli(verb, "l1", "--all", "--yes")
    assert (done.code, done.out) == (2, "")
    assert set(states(cli).values()) == {"delayed"}


def test_jobs_are_removed_after_a_yes(dead: list[str], later: list[str], cli: Cli) -> None:
    assert cli("remove", "d1", "l1").code == 6
    assert cli("remove", "d1", "l1", "--dry-run").out == "d1\nl1\n"
    assert len(states(cli)) == 6
    done = cli("remove", "d1", "l1", "--yes")
    assert (done.code, done.out) == (0, "d1\nl1\n")
    assert "d1 was failed, now removed" in done.err
    assert states(cli).keys() == {"d2", "d3", "l2", "l3"}
    assert cli("remove", "d1", "--yes").code == 4
    assert cli("remove", "d2", "d1", "--yes").code == 5


# -- change -------------------------------------------------------------------------------


def test_a_delayed_job_is_changed(later: list[str], cli: Cli) -> None:
    done = cli("change", "l1", "--priority", "1", "--at", "2035-01-01T00:00Z", "--json")
    assert done.code == 0
    assert done.json["job"]["due_at"] == "2035-01-01T00:00:00Z"
    assert shown(cli, "l1")["priority"] == 1
    assert cli("change", "l1", "--data", '{"a": 5}').out == "l1\n"
    assert shown(cli, "l1")["payload"] == {"a": 5}
    assert "it is waiting" in cli("change", "l1", "--in", "0").err


def test_the_payload_of_a_waiting_job_is_edited(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("enqueue", "email", "--to", "a@b.c", "--id", "e")
    editor(home, monkeypatch, 'sed -i s/a@b.c/d@e.f/ "$1"')
    assert cli("change", "e", "--edit", "--dry-run").code == 0
    assert shown(cli, "e")["payload"]["to"] == "a@b.c"
    assert cli("change", "e", "--edit").code == 0
    assert shown(cli, "e")["payload"]["to"] == "d@e.f"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2),
        (["--priority", "0"], 2),
        (["--in", "soon"], 2),
        (["--in", "1m", "--at", "2035-01-01T00:00Z"], 2),
        (["--data", "[]"], 2),
        (["--data", '{"b": 1}'], 2),
    ],
)
def test_a_change_that_is_none(words: list[str], code: int, later: list[str], cli: Cli) -> None:
    before = shown(cli, "l1")
    assert cli("change", "l1", *words).code == code
    assert shown(cli, "l1") == before


def test_an_ended_job_is_not_changed(dead: list[str], cli: Cli) -> None:
    done = cli("change", "d1", "--priority", "1")
    assert done.code == 6
    assert "only jobs that wait" in done.err
    assert cli("change", "nobody", "--priority", "1").code == 4


# -- duplicate ----------------------------------------------------------------------------


def test_a_job_is_copied(dead: list[str], cli: Cli) -> None:
    copy = cli("duplicate", "d1").out.strip()
    assert shown(cli, copy)["state"] == "waiting"
    words = ("--id", "x", "--in", "1h", "--data", '{"note": "other"}', "--json")
    done = cli("duplicate", "d1", *words)
    assert (done.json["id"], done.json["copy_of"]) == ("x", "d1")
    job = shown(cli, "x")
    assert (job["state"], job["payload"]) == ("delayed", {"note": "other"})
    assert cli("duplicate", "d1", "--id", "x").code == 6
    assert cli("duplicate", "nobody").code == 4
    before = states(cli)
    assert cli("duplicate", "d1", "--dry-run").code == 0
    assert states(cli) == before


def test_what_would_be_cancelled(later: list[str], cli: Cli) -> None:
    done = cli("cancel", "l1", "l2", "--dry-run", "--json")
    assert done.json["dry_run"] is True
    assert set(states(cli).values()) == {"delayed"}
    assert cli("cancel", "l1", "l2", "--reason", "no").code == 0
    assert shown(cli, "l2")["history"][-1]["reason"] == "no"
