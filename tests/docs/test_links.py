"""Every link between the pages, and from the pages to lines of code, leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.docs.line_links import find_line

from tests.docs.examples import find_pages

LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)|!\[[^\]]*\]\((?P<image>[^)\s]+)\)")
CODE_LINE = re.compile(r"^L(?P<line>\d+)$")


def broken_links(page: Path, text: str) -> list[str]:
    """The links of a page that lead nowhere. The text of a link to a line names what is defined there."""
    broken = []
    for match in LINK.finditer(text):
        target = match["target"] or match["image"]
        if re.match(r"^[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            broken.append(target)
        elif code := CODE_LINE.match(fragment):
            name = re.sub(r"[`()]", "", match[0].split("](")[0].lstrip("["))
            line = find_line(file, name) if file.suffix == ".py" else None
            if line != int(code["line"]):
                broken.append(f"{target}: {name!r} stands on line {line}")
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
    assert broken_links(page, "[`no_such_name`](test_links.py#L1)")
    right = find_line(page, "broken_links")
    assert right is not None
    assert not broken_links(page, f"[`broken_links`](test_links.py#L{right})")
    assert broken_links(page, f"[`broken_links`](test_links.py#L{right + 1})")
