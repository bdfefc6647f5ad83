"""docs/coverage.md names tests that exist, and every row that works names one."""

from __future__ import annotations

import re

import pytest

from tests.helpers.source import ROOT

ROW = re.compile(r"^\| (A\d+) \| .*? \| (works|partly|not yet) \| (.*?) \| .* \|$", re.MULTILINE)
ROWS = ROW.findall((ROOT / "docs" / "coverage.md").read_text(encoding="utf-8"))


def test_every_row_from_a1_to_a48_is_there() -> None:
    assert [name for name, _, _ in ROWS] == [f"A{number}" for number in range(1, 49)]


@pytest.mark.parametrize(("row", "state", "tests"), ROWS, ids=[row[0] for row in ROWS])
def test_the_tests_of_a_row_exist(row: str, state: str, tests: str) -> None:
    named = re.findall(r"`([^`]+)`", tests)
    assert named or state == "not yet", f"{row} says {state!r} and names no test"
    for name in named:
        path, _, function = name.partition("::")
        file = ROOT / "tests" / path
        assert file.is_file(), f"{row} names {path}, which is no file"
        if function:
            assert f"def {function}(" in file.read_text(encoding="utf-8"), f"{row}: {name}"
