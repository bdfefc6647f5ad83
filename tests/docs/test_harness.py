"""The reader of the documents: what it finds in Markdown, and what it takes for the same output."""

from __future__ import annotations

import pytest

from tests.helpers.docs import commands, missing, parse

PAGE = """
Text.

<!-- test: skip needs a bank -->
```python
pay()
```

<!-- run:
x = 1
-->

```sh
arq-jobs list \\
  --queue email
# a comment
make test
```

```python
# settings.py
y = 2
```
"""


def test_blocks_are_found_with_their_places_and_directives() -> None:
    first, hidden, shell, settings = parse("p.md", PAGE)
    assert (first.skip, first.where, first.text) == ("needs a bank", "p.md:6", "pay()\n")
    assert (hidden.language, hidden.text) == ("hidden", "x = 1")
    assert commands(shell.text) == ["arq-jobs list --queue email", "make test"]
    assert (settings.file, settings.skip) == ("settings.py", "")


@pytest.mark.parametrize("directive", ["skip", "skip  ", "later", "exit soon"])
def test_a_directive_without_a_reason_is_refused(directive: str) -> None:
    with pytest.raises(ValueError, match="expected `skip REASON` or `exit N`"):
        list(parse("p.md", f"<!-- test: {directive} -->\n```sh\nmake run\n```\n"))


def test_a_directive_without_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="no block follows"):
        list(parse("p.md", "<!-- test: skip for a reason -->\n"))


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("42 jobs", "7 jobs"),
        ("took 42 ms", "took 1.5 s"),
        ("id 01a200f366537f6a4d48eb6d", "id 01ffffffffffff6a4d48eb6d"),
        ("id VbftcvCFU1KA", "id VcaaaavPdpaJ"),
        ("a   b", "a b"),
        ("evt_3777f65d3a3e49d7 twice", "evt_aa77f65d3a3e49d7 twice"),
        ("from … to", "from here to there and to"),
        ("first\nlast", "first\nbetween\nlast"),
        ("Valkey 9.1.2", "Valkey 10.0.1"),
    ],
)
def test_numbers_times_ids_and_blanks_may_differ(expected: str, printed: str) -> None:
    assert missing(expected, printed) == []


@pytest.mark.parametrize(
    ("expected", "printed", "absent"),
    [
        ("42 jobs", "42 queues", ["42 jobs"]),
        ("last\nfirst", "first\nlast", ["first"]),
        ("failed", "completed", ["failed"]),
        ("1 job", "one job", ["1 job"]),
        ("a b", "a b c", ["a b"]),
    ],
)
def test_words_and_order_may_not(expected: str, printed: str, absent: list[str]) -> None:
    assert missing(expected, printed) == absent
