"""`list`, `show`, `wait`, `types`: what there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from jobs.keys import queues_key
from jobs.states import State
from tests.cli.conftest import SAMPLE, Cli

Work = Callable[[], None]


def column(cli: Cli, *words: str) -> list[str]:
    return [job["id"] for job in cli("list", "--json", *words).json["jobs"]]


@pytest.fixture
def several(cli: Cli, work: Work) -> None:
    """One completed, one failed, one delayed and two waiting jobs in two queues."""
    cli("enqueue", "add", "1", "--id", "done")
    cli("enqueue", "flaky", "--id", "dead")
    work()
    cli("enqueue", "flaky", "--id", "later", "--in", "1h")
    cli("enqueue", "email", "--to", "a@b", "--id", "mail")
    cli("enqueue", "add", "2", "--id", "next")


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["next", "mail", "later", "dead", "done"]),
        (["--state", "failed"], ["dead"]),
        (["--state", "failed", "--state", "delayed"], ["later", "dead"]),
        (["--state", "suspended"], []),
        (["--queue", "email"], ["mail"]),
        (["--name", "flaky"], ["later", "dead"]),
        (["--limit", "2"], ["next", "mail"]),
    ],
)
def test_jobs_are_listed(words: list[str], expected: list[str], cli: Cli) -> None:
    assert column(cli, *words) == expected
    assert cli("list", "-q", *words).out.split() == expected


@pytest.mark.usefixtures("several")
def test_a_list_for_people(cli: Cli) -> None:
    done = cli("list")
    header, *rows = done.out.splitlines()
    assert header.split() == ["ID", "JOB", "QUEUE", "STATE", "ATTEMPT", "ENQUEUED", "NOTE"]
    assert any("dead" in row and "RuntimeError: boom" in row for row in rows)
    assert any("later" in row and "due in 59 m" in row for row in rows)
    assert "\x1b" not in done.out


def test_an_empty_list_says_so(cli: Cli) -> None:
    done = cli("list")
    assert (done.code, done.out, done.err) == (0, "", "no such jobs\n")
    assert cli("list", "--json").json["jobs"] == []


def test_an_unknown_queue(cli: Cli) -> None:
    done = cli("list", "--queue", "emial")
    assert done.code == 4
    assert "did you mean 'email'?" in done.err


def test_text_of_a_job_cannot_rewrite_the_terminal(cli: Cli, work: Work) -> None:
    cli("enqueue", "flaky", "--id", "a\x1b[2Jb", "--note", "x\x1b]0;owned\x07\ny")
    work()
    for words in (["list"], ["list", "-q"], ["show", "a\x1b[2Jb"], ["dlq", "list"]):
        done = cli(*words)
        assert "\x1b" not in done.out + done.err
        assert "\x07" not in done.out + done.err


def test_a_job_is_shown_with_every_attempt(cli: Cli, work: Work) -> None:
    cli("enqueue", "flaky", "--id", "1", "--note", "no luck")
    work()
    job: dict[str, Any] = cli("show", "1", "--json").json["job"]
    assert (job["state"], job["payload"], job["attempt"]) == ("failed", {"note": "no luck"}, 2)
    assert [entry["attempt"] for entry in job["history"]] == [1, 2]
    assert job["error"]["message"] == "no luck"
    text = cli("show", "1").out
    for expected in ("attempt 1: ", "attempt 2: ", "RuntimeError: no luck", "raise RuntimeError"):
        assert expected in text


def test_a_result_is_shown(cli: Cli, work: Work) -> None:
    cli("enqueue", "add", "1", "--id", "1")
    work()
    assert cli("show", "1", "--json").json["job"]["result"] == 3
    assert "result     3\n" in cli("show", "1").out


def test_secrets_are_not_shown(cli: Cli) -> None:
    cli("enqueue", "email", "--to", "a@b", "--id", "1", "--password", "hunter2")
    cli("enqueue", "secret", "hunter2", "--id", "2")
    cli("enqueue", "secret", "--key", "hunter2", "--id", "3")
    cli("enqueue", "email", "--to", "a@b", "--id", "4", "--params", '{"api_key": 12345}')
    for words in (["list"], ["list", "--json"], ["show", "1"], ["show", "2"], ["show", "3"],
                  ["show", "1", "--json"], ["show", "2", "--json"], ["show", "4"]):  # fmt: skip
        done = cli(*words)
        assert done.code == 0
        assert "hunter2" not in done.out + done.err
        assert "12345" not in done.out + done.err
    assert cli("show", "1", "--json").json["job"]["kwargs"]["password"] == "***"


def test_a_secret_reaches_its_job(cli: Cli, work: Work) -> None:
    """What is hidden from eyes is not hidden from the function."""
    cli("enqueue", "secret", "--key", "hunter2", "--size", "2", "--id", "1")
    work()
    assert cli("wait", "1").out == "14\n"


def test_a_job_without_its_queue_is_looked_for(cli: Cli) -> None:
    cli("enqueue", "email", "--to", "a@b", "--id", "1")
    assert cli("show", "1", "--json").json["job"]["queue"] == "email"
    assert cli("show", "1", "--queue", "default").code == 4
    assert cli("show", "2").code == 4


def test_an_id_in_two_queues_needs_one_of_them(cli: Cli) -> None:
    cli("enqueue", "email", "--to", "a@b", "--id", "1")
    cli("enqueue", "email", "--to", "a@b", "--id", "1", "--queue", "other")
    done = cli("show", "1")
    assert done.code == 2
    assert "email, other" in done.err
    assert cli("show", "1", "--queue", "other").code == 0


# -- wait -----------------------------------------------------------------------------------------


def test_waiting_for_several(cli: Cli, work: Work) -> None:
    cli("enqueue", "add", "1", "--id", "1")
    cli("enqueue", "add", "2", "--id", "2")
    work()
    done = cli("wait", "1", "2")
    assert (done.code, done.out) == (0, "3\n4\n")
    jobs = cli("wait", "1", "2", "--json").json["jobs"]
    assert [(job["state"], job["result"]) for job in jobs] == [("completed", 3), ("completed", 4)]


def test_waiting_for_a_failed_job(cli: Cli, work: Work) -> None:
    cli("enqueue", "flaky", "--id", "1")
    cli("enqueue", "add", "2", "--id", "2")
    work()
    done = cli("wait", "1", "2")
    assert (done.code, done.out) == (1, "4\n")
    assert "flaky 1 failed: RuntimeError: boom" in done.err


def test_waiting_for_a_cancelled_job(cli: Cli) -> None:
    cli("enqueue", "add", "1", "--id", "1")
    cli("cancel", "1", "--reason", "superseded")
    done = cli("wait", "1", "--json")
    assert done.code == 1
    assert done.json["jobs"][0]["state"] == "cancelled"


def test_waiting_too_long(cli: Cli) -> None:
    cli("enqueue", "add", "1", "--id", "1")
    done = cli("wait", "1", "--timeout", "50ms")
    assert (done.code, done.out) == (124, "")
    assert "timed out" in done.err


def test_waiting_for_nobody(cli: Cli) -> None:
    assert cli("wait", "nobody").code == 4


# -- types ----------------------------------------------------------------------------------------


def test_the_types(cli: Cli) -> None:
    types = {entry["name"]: entry for entry in cli("types", "--json").json["types"]}
    assert set(types) == {"add", "email", "flaky", "secret", "sleep"}
    email = types["email"]
    assert (email["queue"], email["attempts"], email["timeout_ms"]) == ("email", 5, 30_000)
    assert email["backoff"] == "exponential 3 s"
    assert email["schema"]["properties"]["copies"]["type"] == "integer"
    fields = {field["name"]: field for field in email["fields"]}
    assert fields["to"]["required"] is True
    assert fields["queue"]["option"] == "--payload-queue"
    assert types["add"]["schema"]["required"] == ["a"]
    assert (types["add"]["retries"], types["add"]["attempts"]) == (False, 2)


def test_the_types_for_people(cli: Cli) -> None:
    done = cli("types")
    assert done.out.splitlines()[0].split()[:3] == ["JOB", "QUEUE", "ATTEMPTS"]
    assert "exponential 3 s" in done.out
    assert cli("types", "-q").out.split() == ["add", "email", "flaky", "secret", "sleep"]


def test_the_states_of_the_list_are_those_of_the_queue() -> None:
    from jobs.cli.looking import STATES

    assert set(STATES) == set(State) - {State.suspended}


def test_a_queue_that_only_the_server_knows_is_listed(cli: Cli, redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        client.sadd(queues_key(), "foreign")
    names = {entry["queue"] for entry in cli("metrics", "--json").json["queues"]}
    assert names == {"default", "email", "slow", "foreign"}
    assert cli("list", "--queue", "foreign", "--app", SAMPLE).code == 0
