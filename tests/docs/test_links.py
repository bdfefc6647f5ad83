"""No link of the documents leads nowhere, and every page can be reached from the first one."""

from __future__ import annotations

import pytest

from tests.helpers.docs import OTHERS, anchors, links, pages
from tests.helpers.source import ROOT


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page: str) -> None:
    for target, anchor in links(page):
        assert (ROOT / target).exists(), f"{page} links to {target}, which does not exist"
        if anchor and target.endswith(".md"):
            assert anchor in anchors(target), f"{page} links to {target}#{anchor}: no such heading"


def test_every_page_is_reached_from_the_index() -> None:
    seen: set[str] = set()
    todo = ["README.md"]
    while todo:
        page = todo.pop()
        if page in seen or not page.endswith(".md") or not (ROOT / page).exists():
            continue
        seen.add(page)
        todo += [target for target, _ in links(page)]
    assert set(pages()) | {name for name in OTHERS if (ROOT / name).exists()} <= seen
