"""Docstrings, messages and guides keep to plain English: each phrase refused here has a plain one beside it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFUSED = {
    r"See the module\.": "say what it is for, or delete it",
    r"(?<!there )\b(?:is|are|was|were) no (?!(?:longer|more)\b)": "is not a, are not",
    r"\bbut for\b": "except",
    r"\bhonou?rs (?:a )?flush\b": "fsync",
    r"\b(?:[Mm]end(?:s|ed)?|[Hh]eal(?:s|ed)?)\b": "repair",
    r"\blets? go of\b": "release, evict, unload",
    r"\b[Nn]ever stands?\b": "is never",
    r"\b(?:where|how) (?:it|this|each one|a run|everything) stands\b": "its state, its progress",
    r"\bmore gently\b": "at a lower rate",
    r"\b(?:its|their) turn came\b": "was next in the queue",
    r"\bin hand\b": "current",
    r"\bneighbours? stay\b": "the others stay",
    r"\banew\b": "again, rebuilt, starts over",
    r"\ball the same\b": "anyway",
    r"\bof (?:its|their) own accord\b": "by itself",
    r"\b[Ss]tands?\b(?! (?:for|in)\b)": "is",
}
"""A pattern, and what to write instead."""
MAY_USE_REPR = {"store/log.py", "trainer/control.py"}
"""Modules in which `!r` is not shown to people: it is hashed, or quotes raw input in a worker's log."""


def pages() -> list[Path]:
    generated = ROOT / "docs" / "reference"
    found = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"]
    found = [page for page in found if generated not in page.parents and page.name != "LOG.md"]
    found.append(generated / "formats.md")  # the one page there that is written by hand
    return found + list((ROOT / "src" / "homefire" / "web" / "templates").glob("*.html"))


def modules() -> list[Path]:
    return sorted((ROOT / "src" / "homefire").rglob("*.py"))


def prose_of(module: str) -> str:
    """All strings of a module, docstrings and messages alike, a blank line between each two."""
    texts = [
        node.value
        for node in ast.walk(ast.parse(module))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return "\n\n".join(texts)


def slips(text: str) -> Iterator[str]:
    joined = re.sub(r"[ \t]*\n[ \t]*(?=\S)", " ", text)
    for pattern, instead in REFUSED.items():
        for match in re.finditer(pattern, joined, re.IGNORECASE if "there" in pattern else 0):
            around = joined[max(0, match.start() - 40) : match.end() + 40]
            yield f"“{match[0]}” in “…{around}…”: write {instead}"


def test_guides_are_plain_english() -> None:
    found = {str(page.relative_to(ROOT)): list(slips(page.read_text(encoding="utf-8"))) for page in pages()}
    assert not {page: lines for page, lines in found.items() if lines}


def test_docstrings_and_messages_are_plain_english() -> None:
    found = {
        str(path.relative_to(ROOT)): list(slips(prose_of(path.read_text("utf-8")))) for path in modules()
    }
    assert not {module: lines for module, lines in found.items() if lines}


def reprs(module: str) -> list[int]:
    """The lines with `!r` in an f-string."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(module))
        if isinstance(node, ast.FormattedValue) and node.conversion == ord("r")
    ]


def test_messages_quote_names_without_pythons_repr() -> None:
    """Use `homefire.errors.quoted`."""
    found = {
        str(path.relative_to(ROOT / "src" / "homefire")): reprs(path.read_text("utf-8")) for path in modules()
    }
    assert not {name: lines for name, lines in found.items() if lines and name not in MAY_USE_REPR}


@pytest.mark.parametrize(
    "text",
    [
        '"""See the module."""',
        '"""A folder that is no version."""',
        '"""Everything but for the cache."""',
        '"""A disk that\n    honours flush."""',
        '"""Mends the blobs."""',
        'raise NotFound("Secrets never stand in the file.")',
    ],
)
def test_planted_phrases_are_noticed(text: str) -> None:
    assert list(slips(prose_of(text)))


@pytest.mark.parametrize(
    "text", ['"""There is no such run."""', '"""It is no longer there."""', '"""Amended."""']
)
def test_plain_phrases_are_left_alone(text: str) -> None:
    assert not list(slips(prose_of(text)))


def test_a_planted_repr_is_noticed() -> None:
    assert reprs('raise NotFound(f"There is no run {run_id!r}.")') == [1]
