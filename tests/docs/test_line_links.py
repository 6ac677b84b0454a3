"""What is made from the code is current: every generated page, and every link to a line of code."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.docs import all as everything
from tools.docs import events_reference, line_links

from homefire.config.json_schema import published_files
from homefire.store.events import Event

SAMPLE = '''\
"""A module."""
LIMIT = 3
if LIMIT:
    NAME: str = "x"


@decorated
class Outer:
    def run(self):
        def inner():
            pass


async def run():
    """Another one of this name."""
'''


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "sample.py").write_text(SAMPLE, encoding="utf-8")
    return tmp_path / "page.md"


@pytest.mark.parametrize("path", line_links.pages(), ids=lambda path: path.name)
def test_links_to_lines_are_current(path: Path) -> None:
    """When this fails: `make docs`, or a name that a page speaks of is gone."""
    text = path.read_text(encoding="utf-8")
    pointed = line_links.point(path, text)
    assert pointed.lost == ()
    assert pointed.text == text, "run: make docs"


def test_the_page_of_events_is_current() -> None:
    assert events_reference.PAGE.read_text(encoding="utf-8") == events_reference.make_page(), "run: make docs"


def test_make_docs_makes_every_page_that_says_it_is_made() -> None:
    made = {generator.PAGE.name for generator in everything.GENERATORS} | set(published_files())
    says_so = {
        path.name for path in everything.REFERENCE.glob("*.md") if "\nMade from " in path.read_text("utf-8")
    }
    assert says_so == made - {"settings.schema.json"}


@pytest.mark.parametrize(
    ("name", "line"),
    [("LIMIT", 2), ("NAME", 4), ("Outer", 8), ("Outer.run", 9), ("Outer.run.inner", 10), ("run", 14)],
)
def test_a_link_is_moved_to_where_the_name_stands(page: Path, name: str, line: int) -> None:
    pointed = line_links.point(page, f"see [`{name}`](sample.py#L1), then")
    assert pointed == line_links.Pointed(f"see [`{name}`](sample.py#L{line}), then", ())


@pytest.mark.parametrize("name", ["Gone", "Outer.gone", "inner", "run.inner"])
def test_a_name_that_is_gone_is_said_and_its_link_left_alone(page: Path, name: str) -> None:
    text = f"[`{name}`](sample.py#L9)"
    pointed = line_links.point(page, text)
    assert pointed.text == text
    assert pointed.lost == (f"page.md: there is no {name} in sample.py",)


def test_a_file_that_is_gone_is_said(page: Path) -> None:
    assert line_links.point(page, "[`run`](gone.py#L1)").lost == ("page.md: there is no run in gone.py",)


def test_every_kind_of_event_is_on_its_page() -> None:
    text = events_reference.PAGE.read_text(encoding="utf-8")
    for kind in events_reference.kinds():
        assert events_reference.meaning(kind), f"{kind.__name__} says nothing of itself"
        assert f"\n## {events_reference.tag(kind)}\n" in text
    assert set(events_reference.kinds()) == set(Event.__args__)
