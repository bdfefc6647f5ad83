"""docs/coverage.md names tests that exist, and every row that works names one."""

from __future__ import annotations

import re

import pytest

from tests.helpers.source import ROOT

ROW = re.compile(
    r"^\| ([AB]\d+) \| .*? \| (works|partly|not yet) \| (.*?) \| ?(.*?) ?\|$", re.MULTILINE
)
ROWS = ROW.findall((ROOT / "docs" / "coverage.md").read_text(encoding="utf-8"))
#: Rows of the seeds that this release is to have; the others are about the web and durable steps.
SEEDS = [*range(1, 100), *range(113, 129)]
#: Rows whose test has another name: those that were there before the rule.
OLDER = range(1, 25)


def test_every_row_of_the_seeds_is_there_in_order() -> None:
    names = [name for name, *_ in ROWS]
    assert [name for name in names if name[0] == "A"] == [f"A{number}" for number in SEEDS]
    others = [int(name[1:]) for name in names if name[0] == "B"]
    assert others == sorted(set(others))


@pytest.mark.parametrize(("row", "state", "tests", "remark"), ROWS, ids=[row[0] for row in ROWS])
def test_the_tests_of_a_row_exist(row: str, state: str, tests: str, remark: str) -> None:
    named = re.findall(r"`([^`]+)`", tests)
    assert named or state == "not yet", f"{row} says {state!r} and names no test"
    assert state == "works" or remark or int(row[1:]) in OLDER, f"{row} does not say why"
    for name in named:
        path, _, function = name.partition("::")
        file = ROOT / "tests" / path
        assert file.is_file(), f"{row} names {path}, which is no file"
        if function:
            assert f"def {function}(" in file.read_text(encoding="utf-8"), f"{row}: {name}"


@pytest.mark.parametrize(
    ("row", "tests"),
    [
        (row, tests)
        for row, state, tests, _ in ROWS
        if state == "works" and not (row[0] == "A" and int(row[1:]) in OLDER)
    ],
)
def test_a_row_that_works_has_a_test_named_after_it(row: str, tests: str) -> None:
    number = row.lower()
    assert re.search(rf"test_(?:\w+_)?{number}(?:_|\b)", tests), f"{row}: {tests}"
