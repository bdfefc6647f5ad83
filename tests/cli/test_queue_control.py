"""`pause`, `resume`, `drain`, `clean`, `obliterate`: what is done to queues, and refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Cli

Work = Callable[[], None]


def states(cli: Cli) -> dict[str, str]:
    """The state of every job."""
    return {job["id"]: job["state"] for job in cli("list", "--json").json["jobs"]}


@pytest.fixture
def waiting(cli: Cli) -> list[str]:
    """A waiting and a delayed job, and one in the queue `email`."""
    cli("enqueue", "add", "1", "--id", "now")
    cli("enqueue", "add", "1", "--id", "later", "--in", "1h")
    cli("enqueue", "email", "--to", "a@b.c", "--id", "mail")
    return ["now", "later", "mail"]


# -- pause --------------------------------------------------------------------------------


def test_a_paused_queue_keeps_its_jobs(waiting: list[str], cli: Cli, work: Work) -> None:
    done = cli("pause", "email", "--reason", "the provider is down")
    assert (done.code, done.out) == (0, "email\n")
    assert "email paused" in done.err
    work()
    assert states(cli) == {"now": "completed", "later": "delayed", "mail": "waiting"}
    again = cli("pause", "email")
    assert (again.code, again.out) == (0, "")
    assert "was paused before" in again.err
    assert cli("resume", "email").out == "email\n"
    work()
    assert states(cli)["mail"] == "completed"


def test_what_is_not_paused(waiting: list[str], cli: Cli) -> None:
    done = cli("resume", "email")
    assert (done.code, done.out) == (6, "")
    assert "queue 'email' is not paused" in done.err
    assert cli("resume", "--all").code == 6
    cli("pause", "email")
    done = cli("resume", "email", "default", "--json")
    assert done.code == 5
    assert done.json["queues"] == [
        {"queue": "email", "done": True}, {"queue": "default", "done": False},
    ]  # fmt: skip


def test_one_function_is_paused(waiting: list[str], cli: Cli, work: Work) -> None:
    cli("enqueue", "secret", "--key", "k", "--id", "secret")
    assert "default (add only) paused" in cli("pause", "default", "--function", "add").err
    work()
    assert states(cli)["now"] == "waiting"
    assert states(cli)["secret"] == "completed"
    assert cli("resume", "default").code == 6
    assert cli("resume", "default", "--function", "add").code == 0
    work()
    assert states(cli)["now"] == "completed"


def test_everything_is_paused(waiting: list[str], cli: Cli, work: Work) -> None:
    assert cli("pause", "--all", "--dry-run").code == 0
    assert cli("resume", "--all").code == 6
    done = cli("pause", "--all", "--json")
    assert {queue["queue"] for queue in done.json["queues"]} >= {"default", "email"}
    work()
    assert states(cli) == {"now": "waiting", "later": "delayed", "mail": "waiting"}
    assert {"default", "email"} <= set(cli("resume", "--all").out.split())


@pytest.mark.parametrize(
    ("words", "code"), [([], 2), (["email", "--all"], 2), (["emial"], 4), (["email", "emial"], 4)]
)
def test_which_queues_must_be_said(
    words: list[str], code: int, waiting: list[str], cli: Cli
) -> None:
    done = cli("pause", *words)
    assert done.code == code
    assert cli("resume", "email").code == 6, "none was paused"


# -- drain, clean, obliterate -------------------------------------------------------------


def test_a_queue_is_drained_after_a_yes(waiting: list[str], cli: Cli) -> None:
    assert cli("drain", "default").code == 6
    done = cli("drain", "default", "--dry-run", "--delayed")
    assert (done.code, done.out) == (0, "2\n")
    assert len(states(cli)) == 3
    assert cli("drain", "default", "--yes", "--json").json["removed"] == 1
    assert states(cli).keys() == {"later", "mail"}
    assert cli("drain", "default", "--delayed", "--yes").out == "1\n"
    done = cli("drain", "default")
    assert (done.code, done.out) == (0, "0\n"), "nothing to ask about"
    assert cli("drain", "defualt").code == 4


def test_old_jobs_are_cleaned(waiting: list[str], cli: Cli, work: Work) -> None:
    work()
    assert cli("clean", "default", "--state", "completed", "--older", "7d", "--yes").out == "0\n"
    done = cli("clean", "default", "--state", "completed")
    assert done.code == 6
    assert "clean default: remove 1 completed jobs" in done.err
    assert cli("clean", "default", "--state", "completed", "--dry-run").out == "1\n"
    assert cli("clean", "default", "--state", "completed", "--yes").out == "1\n"
    assert "now" not in states(cli)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--state"),
        (["--state", "active"], "not active"),
        (["--state", "broken"], "there is no state"),
        (["--state", "failed", "--older", "long"], "older_than"),
        (["--state", "failed", "--limit", "0"], "--limit"),
    ],
)
def test_what_is_not_cleaned(words: list[str], told: str, waiting: list[str], cli: Cli) -> None:
    done = cli("clean", "default", *words, "--yes")
    assert done.code == 2
    assert told in done.err


def test_a_queue_is_deleted_under_its_name(waiting: list[str], cli: Cli) -> None:
    for words in ([], ["--confirm", "emial"], ["--yes"]):
        done = cli("obliterate", "email", *words)
        assert done.code in {2, 6}
        assert done.out == ""
    assert cli("obliterate", "email", "--dry-run").out == "1\n"
    assert states(cli).keys() == {"now", "later", "mail"}
    done = cli("obliterate", "email", "--confirm", "email")
    assert (done.code, done.out) == (0, "1\n")
    assert states(cli).keys() == {"now", "later"}
    assert cli("obliterate", "elsewhere", "--confirm", "elsewhere").code == 4
