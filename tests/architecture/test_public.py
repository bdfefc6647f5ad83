"""What the world sees: the public names, the lock files, and texts that are true on any machine."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import jobs
from tests.helpers.source import ROOT, texts
from tools.lock import strange_lines

PINNED = (Path(__file__).parent / "public_names.txt").read_text(encoding="utf-8").split()

# The brackets keep this file from containing what it looks for.
MACHINE_PATHS = re.compile(r"(?<![\w.])/([w]ork|[r]oot|[f]arm|tmp/[l]ab)/")
REGISTRY_HOSTS = re.compile(r"[p]ypi\.org|python[h]osted\.org")


def test_the_public_names_are_the_pinned_ones() -> None:
    """A name is a promise: it is added here on purpose, and taken away with a deprecation."""
    assert sorted(jobs.__all__) == sorted(PINNED)


@pytest.mark.parametrize("name", PINNED)
def test_a_public_name_exists_and_is_documented(name: str) -> None:
    value = getattr(jobs, name)
    if inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value):
        assert (value.__doc__ or "").strip(), f"jobs.{name} has no docstring"


@pytest.mark.parametrize("forbidden", [MACHINE_PATHS, REGISTRY_HOSTS], ids=["paths", "hosts"])
def test_no_text_names_a_machine(forbidden: re.Pattern[str]) -> None:
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if forbidden.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda p: p.name
)
def test_a_lock_file_holds_versions_and_hashes_only(path: Path) -> None:
    assert "==" in path.read_text(encoding="utf-8")
    assert not strange_lines(path)


def test_the_wheel_ships_the_package_alone_and_whole(tmp_path: Path) -> None:
    """An installed top-level `settings` or `cli` module would shadow its users' own."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in shipped} == {"jobs"}
    ours = {name for name in texts() if name.startswith("jobs/")}
    assert ours <= shipped
    assert {"jobs/py.typed", "jobs/store/lua/enqueue.lua"} <= shipped
