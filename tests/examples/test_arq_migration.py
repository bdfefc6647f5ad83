"""The application before and after: two lines differ, and both do the same."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.source import ROOT

FOLDER = ROOT / "examples" / "arq_migration"
CHANGED = {
    "-from arq import create_pool",
    "+from jobs import Worker, create_pool",
    "+arq.worker.Worker = Worker  # type: ignore[misc]",
}


def test_what_changes_is_two_lines() -> None:
    before, after = (
        [line for line in (FOLDER / name).read_text().splitlines()[2:] if line]
        for name in ("before.py", "after.py")
    )
    lines = [
        line for line in difflib.unified_diff(before, after, n=0) if line[:2] not in {"--", "++"}
    ]
    assert {line for line in lines if line[0] != "@"} == CHANGED


@pytest.mark.parametrize("module", ["before", "after"])
def test_both_do_the_same(module: str, redis_url: str) -> None:
    environment = os.environ | {"REDIS_URL": redis_url, "PYTHONPATH": str(ROOT)}
    arq = Path(sys.executable).parent / "arq"
    with subprocess.Popen(
        [arq, f"{module}.WorkerSettings"],
        cwd=FOLDER,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as worker:
        try:
            done = subprocess.run(
                [sys.executable, f"{module}.py"],
                cwd=FOLDER,
                env=environment,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        finally:
            worker.terminate()
    assert done.stdout == f"{len('https://example.com/busy')}\n", done.stderr
