"""`limits`: how they stand, and how to open one."""

from __future__ import annotations

from tests.cli.conftest import Cli


def test_no_limits(cli: Cli) -> None:
    done = cli("limits", "list")
    assert (done.code, done.out) == (0, "")
    assert "no limits" in done.err


def test_a_limit_is_reset(cli: Cli) -> None:
    done = cli("limits", "reset", "q", "--json")
    assert (done.code, done.json["forgotten"]) == (0, 0)


def test_a_limit_that_cannot_be(cli: Cli) -> None:
    done = cli("limits", "reset", "queue")
    assert (done.code, done.out) == (2, "")
    assert "a limit is called q" in done.err
