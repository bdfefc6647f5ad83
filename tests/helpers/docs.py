"""The documents as programs: fenced blocks, hidden directives, and a runner for one page.

What a page's blocks mean, in the order of the page:

- ```python``` whose first line is a comment with a file name (`# settings.py`) is that file of the
  reader's project; any other is run like lines in `python -m asyncio`: top-level `await` works,
  names stay for the blocks below, and `client` is an open client.
- ```sh``` is run line by line in the project's folder. Workers and web servers run until the end
  of the page. `make` targets are looked up, not run.
- ```text``` right below one of these is what it prints: the same lines in the same order, whatever
  the numbers, times and ids; `…` stands for anything, and there may be lines between.
- ```dotenv``` is a piece of `.env`, ```json``` and ```ini``` must parse, ```mermaid``` is drawn.

`<!-- test: skip REASON -->` above a block leaves it out; `<!-- test: exit N -->` says how its last
command ends; `<!-- run: … -->` holds Python that readers need not see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.helpers.source import ROOT

#: Written and checked elsewhere.
OTHERS = {"docs/reference/cli.md", "docs/reference/arq.md", "docs/coverage.md", "docs/decisions.md"}
LANGUAGES = {"python", "sh", "text", "dotenv", "json", "ini", "mermaid"}

_FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<language>[^\s`]*)[^\n]*\n(?P<text>.*?)^(?P=fence)\s*$",
    re.DOTALL | re.MULTILINE,
)
_DIRECTIVE = re.compile(r"<!--\s*(?P<kind>test|run):\s*(?P<text>.*?)\s*-->", re.DOTALL)
_FILE = re.compile(r"^# (?P<name>[\w./-]*\.\w+)\n")


@dataclass(frozen=True)
class Block:
    """One fenced block, or one piece of hidden Python (`language` "hidden")."""

    page: str
    line: int
    language: str
    text: str
    skip: str = ""
    exit_code: int = 0

    @property
    def where(self) -> str:
        """The place in words of an editor."""
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file of the reader's project that this block is."""
        found = _FILE.match(self.text)
        return found["name"] if found and self.language in {"python", "dotenv"} else None


@cache
def pages() -> tuple[str, ...]:
    """Every document that is run, by its path in the repository."""
    found = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    found += [*sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
    names = [path.relative_to(ROOT).as_posix() for path in found]
    return tuple(name for name in names if name not in OTHERS)


def text_of(page: str) -> str:
    """The Markdown of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """The blocks of a page with their directives, in order."""
    return list(parse(page, text_of(page)))


def parse(page: str, text: str) -> Iterator[Block]:
    """The blocks of a text.

    Raises ValueError for a directive that is unknown, or has no block below it.
    """
    pending: tuple[str, int] | None = None
    for match in _tokens(text):
        line = text.count("\n", 0, match.start()) + 1
        if match.re is _FENCE:
            skip, exit_code = _read(pending, page)
            pending = None
            yield Block(page, line + 1, match["language"], match["text"], skip, exit_code)
        elif match["kind"] == "run":
            yield Block(page, line, "hidden", match["text"])
        else:
            pending = match["text"], line
    if pending:
        raise ValueError(f"{page}:{pending[1]}: no block follows the directive {pending[0]!r}")


def _tokens(text: str) -> list[re.Match[str]]:
    fences = list(_FENCE.finditer(text))
    inside = [range(m.start(), m.end()) for m in fences]
    notes = [m for m in _DIRECTIVE.finditer(text) if not any(m.start() in r for r in inside)]
    return sorted([*fences, *notes], key=lambda match: match.start())


def _read(pending: tuple[str, int] | None, page: str) -> tuple[str, int]:
    if pending is None:
        return "", 0
    word, _, rest = pending[0].partition(" ")
    if word == "skip" and rest.strip():
        return rest.strip(), 0
    if word == "exit" and rest.strip().isdigit():
        return "", int(rest)
    raise ValueError(
        f"{page}:{pending[1]}: expected `skip REASON` or `exit N`, found {pending[0]!r}"
    )


def commands(text: str) -> list[str]:
    """The command lines of a shell block: continuations joined, comments left out."""
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    return [line for line in map(str.strip, joined.splitlines()) if line and line[0] != "#"]


def missing(expected: str, printed: str) -> list[str]:
    """The expected lines that were not printed, in order; see the module for what may differ."""
    left = [_plain(line) for line in printed.splitlines()]
    absent: list[str] = []
    for line in filter(str.strip, expected.splitlines()):
        pattern = _pattern(_plain(line))
        found = next((n for n, candidate in enumerate(left) if pattern.fullmatch(candidate)), None)
        if found is None:
            absent.append(line)
        else:
            left = left[found + 1 :]
    return absent


#: The first digit of a job's id tells two years: `U` to `Z` are those from 2023 to 2034.
_VARIES = re.compile(
    r"(?P<any>…)|(?P<time>\d+(?:\.\d+)?\s?(?:ms|s|m|h)\b)|(?P<id>(?<![0-9A-Za-z])[U-Z][0-9A-Za-z]{11}(?![0-9A-Za-z]))|(?P<hex>(?<![0-9A-Za-z])(?=[0-9a-f-]*\d)[0-9a-f-]{8,}(?![0-9A-Za-z]))|(?P<number>\d+(?:\.\d+)*)"
)
_ANY_OF = {
    "any": ".*",
    "time": r"(?:\d+(?:\.\d+)?\s?(?:ms|s|m|h)\s?)+",
    "id": "[0-9A-Za-z]{12}",
    "hex": "[0-9a-f-]+",
    "number": r"\d+(?:\.\d+)*",
}


def _pattern(line: str) -> re.Pattern[str]:
    parts: list[str] = []
    at = 0
    for match in _VARIES.finditer(line):
        parts += [re.escape(line[at : match.start()]), _ANY_OF[match.lastgroup or "any"]]
        at = match.end()
    return re.compile("".join([*parts, re.escape(line[at:])]))


def _plain(line: str) -> str:
    return " ".join(line.split())


def links(page: str) -> Iterator[tuple[str, str]]:
    """Every relative link of a page as (file in the repository, anchor)."""
    text = _FENCE.sub("", text_of(page))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        yield path.resolve().relative_to(ROOT).as_posix(), anchor


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#{1,6} (.+)$", _FENCE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def targets() -> set[str]:
    """The targets of the Makefile."""
    makefile = Path(ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
