"""Both type checkers accept what users write and refuse what is wrong, on the same lines."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.source import ROOT

HERE = Path(__file__).parent
#: Two type checkers on a busy machine, perhaps without a cache.
pytestmark = pytest.mark.timeout(300)

Found = dict[int, str]


def marked(path: Path) -> set[int]:
    """The lines that say `# E`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# E")}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Both samples as Python files outside the tree, where no other run of a checker sees them."""
    folder = tmp_path_factory.mktemp("typing")
    copies = []
    for name in ("right_uses.py", "wrong_uses.txt"):
        copies.append(folder / f"{Path(name).stem}.py")
        text = (HERE / name).read_text(encoding="utf-8")
        copies[-1].write_text(text.replace("tests.typing.right_uses", "right_uses"))
    return copies


def run(command: list[str], **environment: str) -> str:
    """What a checker says; it ends with 1 when there are errors."""
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | environment
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def mypy_errors(samples: list[Path]) -> dict[str, Found]:
    """The errors of mypy by file and line, with the repository's own settings and cache."""
    command = [sys.executable, "-m", "mypy", "--no-pretty", "--hide-error-context"]
    said = run([*command, *map(str, samples)], MYPYPATH=f"{ROOT}:{samples[0].parent}")
    found: dict[str, Found] = {path.name: {} for path in samples}
    for path, line, text in re.findall(r"^(.+?):(\d+): error: (.+)$", said, re.MULTILINE):
        found.setdefault(Path(path).name, {})[int(line)] = text
    return found


@pytest.fixture(scope="module")
def pyright_errors(samples: list[Path]) -> dict[str, Found]:
    """The errors of basedpyright by file and line."""
    settings = samples[0].parent / "pyrightconfig.json"
    asked: dict[str, Any] = {
        "include": [path.name for path in samples],
        "extraPaths": [str(ROOT)],
        "pythonVersion": "3.11",
        "typeCheckingMode": "standard",
    }
    settings.write_text(json.dumps(asked))
    command = Path(sys.executable).with_name("basedpyright")
    program = str(command) if command.exists() else shutil.which("basedpyright")
    assert program, "basedpyright is among the development dependencies"
    said = run([program, "--outputjson", "-p", str(settings), "--pythonpath", sys.executable])
    found: dict[str, Found] = {path.name: {} for path in samples}
    for problem in json.loads(said)["generalDiagnostics"]:
        if problem["severity"] == "error":
            line = problem["range"]["start"]["line"] + 1
            found[Path(problem["file"]).name][line] = problem["message"]
    return found


@pytest.mark.parametrize("checker", ["mypy_errors", "pyright_errors"])
def test_right_uses_are_accepted(checker: str, request: pytest.FixtureRequest) -> None:
    """With `assert_type` on every result: the type of the awaited result is the return type."""
    assert request.getfixturevalue(checker)["right_uses.py"] == {}


@pytest.mark.parametrize("checker", ["mypy_errors", "pyright_errors"])
def test_wrong_uses_are_refused(checker: str, request: pytest.FixtureRequest) -> None:
    found: Found = request.getfixturevalue(checker)["wrong_uses.py"]
    expected = marked(HERE / "wrong_uses.txt")
    assert len(expected) > 30
    assert {line: text for line, text in found.items() if line not in expected} == {}
    assert expected - found.keys() == set(), "these lines should be errors"
