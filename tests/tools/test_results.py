"""The rows of bench/results can be read, and none is half a merge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.results import AREAS, FOLDER

FIELDS = {
    "what", "value", "unit", "reach", "better", "peer", "peer_value", "command", "machine", "date",
}  # fmt: skip
FILES = sorted(FOLDER.glob("*.json"))


def faults(path: Path) -> list[str]:
    """What is wrong with a file of rows, as sentences."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        return [f"it is not JSON: {error}"]
    found = [f"a row has the fields {sorted(row)}" for row in rows if set(row) != FIELDS]
    names = [row.get("what") for row in rows]
    return found + [f"two rows are about {name}" for name in {n for n in names if names.count(n) > 1}]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_rows_can_be_read_and_are_of_a_known_area(path: Path) -> None:
    assert path.stem in AREAS
    assert faults(path) == []


@pytest.mark.parametrize("bug", ["<<<<<<< HEAD\n[]", '[{"what": "half a row"}]'])
def test_planted_bug_a_broken_file_is_noticed(tmp_path: Path, bug: str) -> None:
    (tmp_path / "learning.json").write_text(bug)
    assert faults(tmp_path / "learning.json")
