"""The quickstart runs as a script, with a server of its own or a given one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.source import ROOT


@pytest.mark.parametrize("own", [True, False], ids=["embedded", "given"])
def test_it_prints_the_result(tmp_path: Path, redis_url: str, own: bool) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for name in ("JOBS_REDIS_URL", "REDIS_URL", "REDIS_HOST"):
        environment.pop(name, None)
    if not own:
        environment["REDIS_URL"] = redis_url
    script = ROOT / "examples" / "quickstart.py"
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "Hello, Ada! This was attempt 1 of 3.\n", done.stderr
    assert done.returncode == 0
