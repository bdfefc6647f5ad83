"""`enqueue many`: every line is sent or told."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs import Client, ServerError
from tests.cli.conftest import Cli

GOOD = ['{"job": "email", "to": "a@b"}', '{"job": "add", "a": 1}', '{"job": "flaky"}']
BAD = {
    '{"job": "email", "to": "x"}': "--to: String should match",
    '{"job": "email", "to": "a@b", "password": "hunter2", "copies": "many"}': "--copies: Input",
    "nonsense": "no JSON",
    "[1]": "expected a JSON object",
    '{"job": "emial", "to": "a@b"}': "did you mean 'email'?",
    '{"to": "a@b"}': "no job:",
    '{"job": "add", "a": 1, "c": 2}': "--c: unknown field",
}


def write(home: Path, *lines: str, name: str = "jobs.jsonl") -> str:
    (home / name).write_text("\n".join(lines) + "\n")
    return name


def ids(cli: Cli) -> list[str]:
    return sorted(cli("list", "-q", "--limit", "1000").out.split())


def test_good_lines_are_sent(cli: Cli, home: Path) -> None:
    done = cli("enqueue", "many", write(home, GOOD[0], "", *GOOD[1:]), "--json")
    assert done.code == 0
    assert done.json == {"schema": "jobs/v1", "enqueued": 3, "duplicates": 0, "rejected": 0}
    listed = cli("list", "--json").json["jobs"]
    assert {job["function"]: job["queue"] for job in listed} == {
        "email": "email", "add": "default", "flaky": "default",
    }  # fmt: skip


def test_bad_lines_are_told_and_the_others_sent(cli: Cli, home: Path) -> None:
    done = cli("enqueue", "many", write(home, GOOD[0], *BAD, GOOD[1]), "--errors", "rejects.jsonl")
    assert done.code == 5
    for number, (line, reason) in enumerate(BAD.items(), 2):
        assert f"line {number}: " in done.err, line
        assert reason in done.err
    assert "2 enqueued, 0 duplicates, 7 rejected" in done.err
    assert "hunter2" not in done.out + done.err
    rejects = [json.loads(line) for line in (home / "rejects.jsonl").read_text().splitlines()]
    assert [entry["line"] for entry in rejects] == list(range(2, 9))
    assert len(ids(cli)) == 2


def test_rejects_can_be_repaired_and_sent(cli: Cli, home: Path) -> None:
    cli("enqueue", "many", write(home, next(iter(BAD))), "--errors", "rejects.jsonl")
    entry = json.loads((home / "rejects.jsonl").read_text())
    repaired = json.dumps(entry["data"] | {"to": "a@b"})
    assert cli("enqueue", "many", write(home, repaired)).code == 0


@pytest.mark.parametrize("words", [["--all-or-nothing"], ["--dry-run"]])
def test_nothing_is_sent_on_demand(words: list[str], cli: Cli, home: Path) -> None:
    done = cli("enqueue", "many", write(home, GOOD[0], *BAD), *words)
    assert done.code == (2 if "--all-or-nothing" in words else 5)
    assert ids(cli) == []


def test_only_bad_lines_are_an_error(cli: Cli, home: Path) -> None:
    assert cli("enqueue", "many", write(home, *BAD)).code == 2
    assert cli("enqueue", "many", write(home, *BAD), "--no-validate").code == 2
    assert ids(cli) == []


def test_without_validation_lines_are_checked_on_their_way(cli: Cli, home: Path) -> None:
    done = cli("enqueue", "many", write(home, *GOOD, *BAD), "--no-validate", "--errors", "r.jsonl")
    assert done.code == 5
    assert "3 enqueued, 0 duplicates, 7 rejected" in done.err
    assert len((home / "r.jsonl").read_text().splitlines()) == 7


def test_one_job_for_all_lines(cli: Cli, home: Path) -> None:
    done = cli("enqueue", "many", write(home, '{"a": 1}', '{"a": 2}'), "--job", "add", "--in", "5m")
    assert done.code == 0
    listed = cli("list", "--json").json["jobs"]
    assert [(job["function"], job["state"]) for job in listed] == [("add", "delayed")] * 2
    assert "did you mean 'add'" in cli("enqueue", "many", "jobs.jsonl", "--job", "adds").err


def test_standard_input(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(GOOD).encode()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    assert cli("enqueue", "many", "-").code == 0
    assert len(ids(cli)) == 3


def test_a_table(cli: Cli, home: Path) -> None:
    table = [
        "key,to,copies,tags,params,track,either",
        'k1,a@b,3,"[""x"", ""y""]","{""n"": 1}",false,5',
        '"k 2",c@d,,news,,,"five, six"',
    ]
    name = write(home, *table, name="jobs.csv")
    done = cli("enqueue", "many", name, "--job", "email", "--id-column", "key")
    assert done.code == 0, done.err
    first = cli("show", "k1", "--json").json["job"]["kwargs"]
    assert (first["copies"], first["tags"], first["params"]) == (3, ["x", "y"], {"n": 1})
    assert (first["track"], first["either"]) == (False, 5)
    second = cli("show", "k 2", "--json").json["job"]["kwargs"]
    assert (second["copies"], second["tags"], second["either"]) == (1, ["news"], "five, six")


def test_a_table_with_more_cells_than_columns(cli: Cli, home: Path) -> None:
    done = cli("enqueue", "many", write(home, "a,b", "1,2,3", "4,5", name="t.csv"), "--job", "add")
    assert done.code == 5
    assert "line 2: more values than the header has columns" in done.err


def test_the_same_ids_again_are_duplicates(cli: Cli, home: Path) -> None:
    name = write(home, '{"a": 1, "k": "x"}', '{"a": 2, "k": "y"}', '{"a": 3}')
    words = ["enqueue", "many", name, "--job", "add", "--id-column", "k"]
    first, again = cli(*words), cli(*words)
    assert "2 enqueued, 0 duplicates, 1 rejected" in first.err
    assert "0 enqueued, 2 duplicates, 1 rejected" in again.err
    assert ids(cli) == ["x", "y"]


def test_resuming_leaves_out_the_first_lines(cli: Cli, home: Path) -> None:
    name = write(home, *(f'{{"a": {n}, "k": "k{n}"}}' for n in range(1, 6)))
    words = ["enqueue", "many", name, "--job", "add", "--id-column", "k", "--resume-from", "4"]
    assert cli(*words).code == 0
    assert ids(cli) == ["k4", "k5"]


def test_a_break_says_where_to_go_on(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server goes away after the first batch."""
    name = write(home, *(f'{{"a": {n}, "k": "k{n}"}}' for n in range(1, 601)))
    real, calls = Client.enqueue_many, []

    async def breaks(self: Client, requests: list[object]) -> object:
        calls.append(len(requests))
        if len(calls) > 1:
            raise ServerError("the server went away")
        return await real(self, requests)  # type: ignore[arg-type]

    monkeypatch.setattr(Client, "enqueue_many", breaks)
    words = ["enqueue", "many", name, "--job", "add", "--id-column", "k"]
    done = cli(*words)
    assert done.code == 3
    assert "--resume-from 501" in done.err
    monkeypatch.undo()
    assert calls == [500, 100]


def test_a_rate_slows_the_sending(cli: Cli, home: Path) -> None:
    name = write(home, *['{"a": 1}'] * 5)
    began = time.monotonic()
    assert cli("enqueue", "many", name, "--job", "add", "--rate", "10/s").code == 0
    assert time.monotonic() - began >= 0.4
    assert len(ids(cli)) == 5


@pytest.mark.parametrize(
    "words",
    [
        ["missing.jsonl"],
        ["jobs.jsonl", "--format", "xml"],
        ["jobs.jsonl", "--rate", "fast"],
        ["jobs.jsonl", "--all-or-nothing", "--no-validate"],
        ["jobs.jsonl", "--errors", "no/such/folder/r.jsonl"],
        ["latin.jsonl"],
    ],
)
def test_what_cannot_be(words: list[str], cli: Cli, home: Path) -> None:
    write(home, *GOOD)
    (home / "latin.jsonl").write_bytes('{"job": "flaky", "note": "ü"}'.encode("latin-1"))
    done = cli("enqueue", "many", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert ids(cli) == []
