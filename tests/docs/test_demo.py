"""The block of the demo in the README is what the demo prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.docs import blocks, missing
from tests.helpers.source import ROOT


@pytest.mark.timeout(180)
def test_the_readme_shows_what_the_demo_prints(tmp_path: Path) -> None:
    (shown,) = (b for b in blocks("README.md") if b.skip and "embedded" in b.text)
    shutil.copy(ROOT / "settings.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "jobs", "dev", "--demo", "--once"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert not missing(shown.text, done.stdout), done.stdout + done.stderr
    assert done.returncode == 0
