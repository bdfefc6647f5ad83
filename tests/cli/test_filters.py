"""The options that choose jobs, on every command that takes them; dead letters by them."""

from __future__ import annotations

import csv
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Program

Work = Callable[[], None]


@pytest.fixture
def mixed(cli: Cli, work: Work) -> None:
    """Two dead letters, one completed job, and six that wait, are delayed or belong elsewhere."""
    cli("enqueue", "flaky", "--id", "d1", "--note", "disk full at 17")
    cli("enqueue", "flaky", "--id", "d2", "--note", "disk full at 99")
    cli("enqueue", "flaky", "--id", "d3", "--note", "no route")
    cli("enqueue", "add", "1", "--id", "done")
    work()
    for n in range(3):
        cli("enqueue", "email", "--to", f"u{n}@example.com", "--id", f"m{n}")
    cli("enqueue", "add", "5", "--id", "next")
    cli("enqueue", "add", "6", "--id", "later", "--in", "1h")


def listed(cli: Cli, *words: str) -> list[str]:
    return [job["id"] for job in cli("list", "--json", *words).json["jobs"]]


def states(cli: Cli) -> dict[str, str]:
    return {job["id"]: job["state"] for job in cli("list", "--json").json["jobs"]}


@pytest.mark.usefixtures("mixed")
def test_jobs_are_chosen(cli: Cli) -> None:
    expected: list[tuple[list[str], set[str]]] = [
        (["--query", "state:failed disk"], {"d1", "d2"}),
        (["--error", "no route"], {"d3"}),
        (["--arg", "to=u1@example.com"], {"m1"}),
        (["--arg", "0=5"], {"next"}),
        (["--name", "e*"], {"m0", "m1", "m2"}),
        (["--queue", "em*", "--limit", "2"], {"m0", "m1"}),
        (["--since", "1h", "--by", "finished"], {"d1", "d2", "d3", "done"}),
        (["--until", "1h"], set()),
        (["--tag", "vip"], set()),
        (["--query", "job:add", "--state", "waiting"], {"next"}),
    ]
    found = [(words, set(listed(cli, *words))) for words, _ in expected]
    assert found == expected


@pytest.mark.usefixtures("mixed")
def test_a_long_list_goes_on_by_its_cursor(cli: Cli) -> None:
    found: list[str] = []
    after: list[str] = []
    while True:
        page = cli("list", "--json", "--limit", "2", *after).json
        found += [job["id"] for job in page["jobs"]]
        if page["cursor"] is None:
            break
        after = ["--after", page["cursor"]]
    assert found == listed(cli)
    assert len(found) == 9
    assert "--after " in cli("list", "--limit", "2").err
    assert listed(cli, "--reverse", "--state", "waiting") == ["next", "m2", "m1", "m0"]
    assert listed(cli, "--sort", "id") == sorted(found)


@pytest.mark.usefixtures("mixed")
def test_what_cannot_be_chosen(cli: Cli) -> None:
    expected: list[tuple[list[str], int, str]] = [
        (["--query", "stat:failed"], 2, "did you mean 'state'?"),
        (["--query", "state:faild"], 2, "did you mean 'failed'?"),
        (["--since", "whenever"], 2, "duration"),
        (["--arg", "to"], 2, "FIELD=VALUE"),
        (["--queue", "emial"], 4, "did you mean 'email'?"),
        (["--queue", "x*"], 4, "no queue fits"),
        (["--query", "queue:email", "--queue", "email"], 2, "already"),
        (["--after", "nonsense"], 2, "no cursor"),
        (["--sort", "eneuqued"], 2, "did you mean 'enqueued'?"),
    ]
    for words, code, sentence in expected:
        done = cli("list", *words)
        assert (done.code, done.out) == (code, ""), words
        assert sentence in done.err


# -- actions --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("mixed")
def test_actions_by_filter(cli: Cli) -> None:
    done = cli("cancel", "--name", "email", "--reason", "superseded", "--yes", "--json")
    assert (done.code, done.json["cancelled"], done.json["done"]) == (0, ["m0", "m1", "m2"], 3)
    assert cli("show", "m1", "--json").json["job"]["history"][-1]["reason"] == "superseded"
    assert cli("retry", "--error", "disk full", "--yes").code == 0
    assert cli("promote", "--query", "job:add", "--yes").out == "later\n"
    assert cli("remove", "--state", "completed", "--yes", "--json").json["removed"] == ["done"]
    assert states(cli) == {
        "d1": "waiting", "d2": "waiting", "d3": "failed", "next": "waiting", "later": "waiting",
        "m0": "cancelled", "m1": "cancelled", "m2": "cancelled",
    }  # fmt: skip


@pytest.mark.usefixtures("mixed")
@pytest.mark.parametrize("words", [["cancel"], ["remove"], ["dlq", "retry"], ["dlq", "remove"]])
def test_all_must_be_said_and_confirmed(words: list[str], cli: Cli) -> None:
    before = states(cli)
    done = cli(*words)
    assert (done.code, done.out) == (2, "")
    done = cli(*words, "--all")
    assert (done.code, done.out) == (6, "")
    assert "--yes" in done.err
    shown = cli(*words, "--all", "--dry-run", "--json").json
    assert shown["dry_run"]
    assert shown["total"] == {"cancel": 5, "remove": 9, "retry": 3}[words[-1]] - (
        6 if words == ["dlq", "remove"] else 0
    )
    assert states(cli) == before
    assert cli(*words, "--all", "--yes").code == 0
    assert states(cli) != before


@pytest.mark.usefixtures("mixed")
def test_what_is_refused(cli: Cli) -> None:
    before = states(cli)
    expected: list[tuple[list[str], int, str]] = [
        (["retry", "d1", "--name", "flaky"], 2, "not both"),
        (["retry", "--state", "waiting", "--yes"], 2, "cannot retry a job that is waiting"),
        (["cancel", "--queue", "emial", "--name", "x", "--yes"], 4, "did you mean"),
        (["dlq", "retry", "--query", "state:completed", "--yes"], 2, "failed jobs"),
        (["dlq", "archive", "--all", "--yes"], 2, "--to"),
        (["dlq", "archive", "--to", "x", "--yes"], 2, "--all"),
        (["dlq", "edit", "d1"], 2, "nothing to change"),
        (["dlq", "edit", "d1", "--set", "note"], 2, "FIELD=VALUE"),
        (["dlq", "edit", "done", "--set", "a=1"], 6, "no dead letter"),
        (["dlq", "export", "--format", "cvs"], 2, "did you mean 'csv'?"),
    ]
    for words, code, sentence in expected:
        done = cli(*words)
        assert (done.code, done.out) == (code, ""), words
        assert sentence in done.err
    assert states(cli) == before


@pytest.mark.usefixtures("mixed")
def test_a_bar_on_a_terminal(cli: Cli, program: Program) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", "cancel", "--name", "email", "--yes"],
        cwd=program.home,
        env=program.environment | {"TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    told = b""
    try:
        while chunk := os.read(ours, 1024):
            told += chunk
    except OSError:
        pass  # the terminal closes with the program
    assert process.wait(30) == 0
    os.close(ours)
    assert b"3/3" in told
    assert b"done to 3 of 3 jobs" in told


# -- dead letters ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("mixed")
def test_dead_letters_are_grouped(cli: Cli) -> None:
    groups = cli("dlq", "group", "--json").json
    assert groups["counted"] == 3
    assert [(g["function"], g["count"]) for g in groups["groups"]] == [("flaky", 2), ("flaky", 1)]
    assert sorted(groups["groups"][0]["ids"]) == ["d1", "d2"]
    done = cli("dlq", "group")
    assert "RuntimeError: disk full at" in done.out
    assert "3 dead letters in 2 groups" in done.err


@pytest.mark.usefixtures("mixed")
def test_dead_letters_by_filter(cli: Cli) -> None:
    assert sorted(cli("dlq", "list", "-q", "--error", "disk").out.split()) == ["d1", "d2"]
    assert cli("dlq", "retry", "--error", "route", "--rate", "100/s", "--yes").out == "d3\n"
    assert cli("dlq", "remove", "d1", "--yes").out == "d1\n"
    assert cli("dlq", "remove", "next", "--yes").code == 6
    left = states(cli)
    assert (left["d2"], left["d3"], "d1" in left) == ("failed", "waiting", False)


@pytest.mark.usefixtures("mixed")
def test_a_dead_letter_is_edited(cli: Cli, work: Work) -> None:
    assert cli("dlq", "edit", "d1", "--set", "note=17", "--json").json["retried"] == ["d1"]
    work()
    job = cli("show", "d1", "--json").json["job"]
    assert (job["error"]["message"], job["payload"]) == ("17", {"note": "17"})
    assert cli("dlq", "edit", "d2", "--set", "nose=x").code == 2
    assert states(cli)["d2"] == "failed"


@pytest.mark.usefixtures("mixed")
def test_dead_letters_are_exported_without_secrets(cli: Cli, work: Work, home: Path) -> None:
    cli("enqueue", "secret", "--key", "hush", "--size", "0", "--id", "s1", "--attempts", "1")
    lines = cli("dlq", "export").out.splitlines()
    assert {json.loads(line)["jobId"] for line in lines} == {"d1", "d2", "d3"}
    assert cli("dlq", "export", "dead.csv", "--error", "disk").code == 0
    with (home / "dead.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["jobId"] for row in rows} == {"d1", "d2"}
    done = cli("dlq", "export", "dead.csv")
    assert done.code == 2
    assert "exists already" in done.err


@pytest.mark.usefixtures("mixed")
def test_dead_letters_are_archived(cli: Cli, home: Path) -> None:
    assert cli("dlq", "archive", "--older", "30d", "--to", "a.jsonl").code == 0
    assert not (home / "a.jsonl").exists()
    done = cli("dlq", "archive", "--all", "--to", "a.jsonl", "--yes", "--json")
    assert (done.code, sorted(done.json["archived"])) == (0, ["d1", "d2", "d3"])
    kept = [json.loads(line) for line in (home / "a.jsonl").read_text().splitlines()]
    assert {entry["id"] for entry in kept} == {"d1", "d2", "d3"}
    assert cli("dlq", "list", "-q").out == ""
