"""Every link from the pages leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.docs import line_links

from tests.docs.examples import find_pages

LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)|!\[[^\]]*\]\((?P<image>[^)\s]+)\)")
CODE_LINE = re.compile(r"^L\d+")


def broken_links(page: Path, text: str) -> list[str]:
    """The links of a page that lead nowhere; the line of a link is for test_line_links.py."""
    broken = []
    for match in LINK.finditer(text):
        target = match["target"] or match["image"]
        if re.match(r"^[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            broken.append(target)
        elif CODE_LINE.match(fragment):
            if not line_links.LINK.fullmatch(match[0]):
                broken.append(f"{target}: `make docs` cannot keep a link to a line in this form")
        elif fragment and file.suffix == ".md" and fragment not in anchors(file.read_text(encoding="utf-8")):
            broken.append(target)
    return broken


def anchors(text: str) -> set[str]:
    """The anchors that headings make, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", find_pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_a_broken_link_would_be_noticed() -> None:
    page = Path(__file__)
    assert broken_links(page, "[x](no-such-file.md)")
    assert broken_links(page, "[here](test_links.py#L1)")
    assert not broken_links(page, "[`broken_links`](test_links.py#L1)")
