"""`make check` finds what nobody uses; its list of exceptions holds nothing that is not one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = ROOT / "tools" / "vulture_allow.py"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["vulture"]


def unused(*paths: Path, exclude: list[str]) -> set[str]:
    """Names that vulture, set up as `make check` sets it up, finds no use of."""
    found = Vulture(ignore_decorators=SETTINGS["ignore_decorators"])
    found.scavenge([str(path) for path in paths], exclude=exclude)
    return {item.name for item in found.get_unused_code(min_confidence=SETTINGS["min_confidence"])}


def test_every_exception_is_needed_and_none_is_missing() -> None:
    """When this fails: a name that is used by now leaves the list; one that is unused is removed or joins it."""
    allowed = set(re.findall(r"\b_\.(\w+)", ALLOWED.read_text(encoding="utf-8")))
    paths = [ROOT / name for name in SETTINGS["paths"]]
    assert unused(*paths, exclude=[str(ALLOWED)]) == allowed


def test_planted_bug_a_function_without_a_caller_is_found(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("class Reader:\n    def by_nothing(self):\n        return self\n")
    assert "by_nothing" in unused(tmp_path, exclude=[])
