"""Every script's header is its contract, and no script walks the whole keyspace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.source import ROOT, python_files

LUA = ROOT / "jobs" / "store" / "lua"
SCRIPTS = sorted(LUA.glob("*.lua"))
LIBRARY = sorted(LUA.glob("lib/*.lua"))

FLAGS = {"allow-oom", "no-writes", "allow-stale"}
"""Flags in use; none means: refused on a full server. `allow-cross-slot-keys` is not
among them: a queue lives in one slot."""

WALKS = re.compile(r"""call\(\s*['"](KEYS|SCAN|RANDOMKEY|FLUSHALL|FLUSHDB)['"]""", re.IGNORECASE)

every_script = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
every_file = pytest.mark.parametrize("path", SCRIPTS + LIBRARY, ids=lambda path: path.stem)


def header(path: Path) -> list[str]:
    """The shebang and the comment lines right below it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next((n for n, line in enumerate(lines) if n and not line.startswith("--")), len(lines))
    return lines[:end]


def body(path: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8").splitlines()[len(header(path)) :])


def declared(path: Path, word: str) -> list[str]:
    """The words behind `-- <word>:` in the header."""
    found = [line for line in header(path) if line.startswith(f"-- {word}:")]
    return [item for line in found for item in line.partition(":")[2].split()]


def test_there_are_scripts() -> None:
    assert SCRIPTS


@every_script
def test_a_script_says_how_it_may_run(path: Path) -> None:
    """Without a shebang a script runs in an old mode: on a full server, and across slots."""
    shebang = header(path)[0]
    assert (match := re.fullmatch(r"#!lua(?: flags=([\w,-]+))?", shebang)), shebang
    assert set((match[1] or "").split(",")) <= FLAGS | {""}


@every_script
def test_a_script_begins_with_a_sentence_of_purpose(path: Path) -> None:
    purpose = header(path)[1]
    assert re.match(r"-- [A-Z].{15,}", purpose), purpose


@every_script
@pytest.mark.parametrize("word", ["keys", "args", "returns"])
def test_a_script_declares(path: Path, word: str) -> None:
    assert any(line.startswith(f"-- {word}:") for line in header(path)), f"no `-- {word}:` line"


@every_script
def test_arguments_have_types(path: Path) -> None:
    untyped = [arg for arg in declared(path, "args") if not re.fullmatch(r"\w+:[\w*|?]+", arg)]
    assert not untyped


@every_file
def test_a_body_uses_the_names_of_its_header(path: Path) -> None:
    """`ARGV[…]` is for walking a list of any length, with a computed index; `KEYS[…]` is never."""
    assert "KEYS[" not in body(path)
    assert not re.findall(r"ARGV\[\s*\d+\s*\]", body(path))
    if path in SCRIPTS and "ARGV[" in body(path):
        assert any(arg.endswith((":list", ":*")) for arg in declared(path, "args"))


@every_file
def test_no_script_walks_the_keyspace(path: Path) -> None:
    assert not WALKS.search(path.read_text(encoding="utf-8"))


@every_script
def test_every_script_is_loaded_by_some_module(path: Path) -> None:
    sources = (file.read_text(encoding="utf-8") for file in python_files("jobs"))
    assert any(re.search(rf"""["']{path.stem}(\.lua)?["']""", text) for text in sources)


def test_every_part_of_the_library_is_included() -> None:
    """In a header, or inside a function that needs it seldom."""
    lines = [line for path in SCRIPTS for line in path.read_text(encoding="utf-8").splitlines()]
    named = [line.partition(":")[2] for line in lines if line.startswith("-- include:")]
    included = {word for words in named for word in words.split()}
    assert {path.stem for path in LIBRARY} == included
