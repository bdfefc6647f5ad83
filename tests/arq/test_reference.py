"""docs/reference/arq.md names every argument and every defect, and no test that is not there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import arq
import arq.worker
import pytest
from arq.connections import ArqRedis

from tests.helpers.source import ROOT

PAGE = (ROOT / "docs" / "reference" / "arq.md").read_text(encoding="utf-8")
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py"))
DEFECTS = [f"arq-{letter}" for letter in "abcdefghi"] + [
    f"arq-{group}{number}"
    for group, last in {"A": 17, "B": 10, "C": 4, "D": 9, "E": 14}.items()
    for number in range(1, last + 1)
]


@pytest.mark.parametrize(
    "documented",
    [arq.worker.Worker, arq.func, arq.cron, arq.create_pool, ArqRedis.enqueue_job],
    ids=lambda documented: documented.__qualname__,
)
def test_every_argument_is_on_the_page(documented: object) -> None:
    assert callable(documented)
    names = set(inspect.signature(documented).parameters) - {"self", "args", "kwargs", "settings_"}
    missing = {name for name in names if not re.search(rf"\b{name}\b", PAGE)}
    assert missing == set()


def test_every_defect_has_a_row() -> None:
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| arq-")]
    found = re.findall(r"arq-\w+", " ".join(rows))
    assert sorted(found) == sorted(DEFECTS)


def test_every_test_of_the_page_exists_and_every_regression_test_is_on_it() -> None:
    on_page = set(re.findall(r"`(test_arq_\w+)`", PAGE))
    written = set(re.findall(r"def (test_arq_\w+)", TESTS))
    assert on_page == written
