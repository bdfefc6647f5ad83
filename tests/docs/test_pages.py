"""Every snippet and every command of the documents is run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from jobs import registry
from tests.docs.runner import Page
from tests.helpers.docs import LANGUAGES, Block, blocks, pages


def runnable(page: str) -> bool:
    return any(not block.skip for block in blocks(page))


@pytest.fixture
def reader(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a reader who has set `REDIS_URL`; what a page declares is forgotten."""
    before = dict(registry.functions)
    monkeypatch.chdir(tmp_path)
    with patch.dict(os.environ, {"REDIS_URL": redis_url}):
        os.environ.pop("JOBS_REDIS_URL", None)
        yield tmp_path
    registry.functions.clear()
    registry.functions.update(before)


@pytest.mark.parametrize("page", pages())
def test_every_block_has_a_runner(page: str) -> None:
    strange = [b.where for b in blocks(page) if b.language not in LANGUAGES | {"hidden"}]
    assert not strange, f"blocks that nothing runs (known: {sorted(LANGUAGES)}): {strange}"


@pytest.mark.timeout(240)  # a page is a dozen programs, one after the other
@pytest.mark.parametrize("page", [page for page in pages() if runnable(page)])
async def test_a_page_does_what_it_says(page: str, reader: Path, redis_url: str) -> None:
    async with Page(reader, redis_url) as reading:
        for block in blocks(page):
            if not block.skip:
                await run(reading, block)


async def run(reading: Page, block: Block) -> None:
    try:
        await reading.run(block)
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{block.where}: {type(error).__name__}: {error}") from error
