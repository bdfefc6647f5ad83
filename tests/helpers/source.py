"""The source tree as data: its modules, what they import, and its texts."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "jobs"


@dataclass(frozen=True)
class Import:
    """One import statement's target, resolved to a module of the package or a foreign one."""

    target: str
    named: str
    """The module as written: `jobs` in `from jobs import errors`, whose target is `jobs.errors`."""
    line: int
    for_types: bool
    """Whether it stands under `if TYPE_CHECKING`."""


@dataclass(frozen=True)
class Module:
    """One Python file of the package."""

    name: str
    path: Path
    imports: tuple[Import, ...]

    def where(self, line: int) -> str:
        """The place in words of an editor: path:line."""
        return f"{self.path.relative_to(ROOT)}:{line}"


@cache
def modules() -> dict[str, Module]:
    """Every module of the package by its dotted name."""
    paths = {_dotted(path): path for path in sorted((ROOT / PACKAGE).rglob("*.py"))}
    return {
        name: Module(name, path, tuple(_imports(name, path, paths.keys())))
        for name, path in paths.items()
    }


@cache
def python_files(*folders: str) -> tuple[Path, ...]:
    """Every Python file under the folders; the ones directly in the root for "."."""
    found: list[Path] = []
    for folder in folders:
        pattern = "*.py" if folder == "." else "**/*.py"
        found += sorted((ROOT / folder).glob(pattern))
    return tuple(found)


@cache
def texts() -> dict[str, str]:
    """Every text file that is committed or would be, by its path; empty outside a repository."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found: dict[str, str] = {}
    for name in listed.stdout.splitlines():
        try:
            found[name] = (ROOT / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
    return found


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(name: str, path: Path, known: Iterable[str]) -> Iterator[Import]:
    known = set(known)
    is_package = path.name == "__init__.py"
    for node, for_types in _statements(ast.parse(path.read_text(encoding="utf-8")), False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, alias.name, node.lineno, for_types)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, name, is_package)
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                target = submodule if submodule in known else base
                yield Import(target, base, node.lineno, for_types)


def _statements(node: ast.AST, for_types: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Walk the tree, remembering whether `if TYPE_CHECKING` stands above."""
    yield node, for_types
    guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _statements(child, for_types or (guarded and name == "body"))


def _base(node: ast.ImportFrom, name: str, is_package: bool) -> str:
    """The absolute module of `from X import …`, dots resolved."""
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    up = node.level - 1 if is_package else node.level
    return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])
