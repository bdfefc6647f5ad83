"""Sizes: no long files, no monster functions, more tests than source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.source import ROOT, python_files

MAX_FILE = 400
MAX_FUNCTION = 60
FUNCTION_QUANTILES = {0.50: 7, 0.90: 20, 0.99: 40}

TESTS_TO_SOURCE = 1.3
"""A ratchet: raise it when the suite has grown, never lower it."""

SOURCE = python_files("jobs", "tools", ".")
TESTS = python_files("tests", "benchmarks")


def lines_of(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def functions(path: Path) -> Iterator[tuple[int, str]]:
    """Size and place of each function: first to last line of its body, docstring not counted."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if body:
                size = (body[-1].end_lineno or 0) - body[0].lineno + 1
                yield size, f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


@cache
def sizes() -> list[tuple[int, str]]:
    return sorted(found for path in SOURCE for found in functions(path))


def test_files_are_short() -> None:
    long = {path.relative_to(ROOT): lines_of(path) for path in (*SOURCE, *TESTS)}
    long = {path: lines for path, lines in long.items() if lines > MAX_FILE}
    assert not long, f"files over {MAX_FILE} lines: {long}"


def test_no_function_is_a_monster() -> None:
    monsters = [where for size, where in sizes() if size > MAX_FUNCTION]
    assert not monsters, f"functions over {MAX_FUNCTION} lines: {monsters}"


@pytest.mark.parametrize(("quantile", "limit"), FUNCTION_QUANTILES.items())
def test_functions_are_short(quantile: float, limit: int) -> None:
    position = min(len(sizes()) - 1, int(len(sizes()) * quantile))
    longest = [f"{size} lines: {where}" for size, where in sizes()[position:][-10:]]
    assert sizes()[position][0] <= limit, "the longest ones:\n" + "\n".join(reversed(longest))


def test_there_is_more_test_than_source() -> None:
    source, tests = sum(map(lines_of, SOURCE)), sum(map(lines_of, TESTS))
    assert tests >= TESTS_TO_SOURCE * source, f"{tests} lines of tests for {source} of source"
