"""Survivors that were looked at and accepted, each with its reason (`tests/mutation/accepted.toml`).

An entry that names no mutant of its module any more, or one that a test now catches, is stale, and an error: the
list says what is true of the code as it is.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from tools.mutation.mutants import Mutant

FILE = Path("tests/mutation/accepted.toml")


@dataclass(frozen=True, slots=True)
class Accepted:
    """One accepted survivor: the names of a mutant, and why no test has to catch it."""

    module: str
    place: str
    line: str
    before: str
    after: str
    reason: str

    def matches(self, mutant: Mutant) -> bool:
        """Whether this entry is about this mutant."""
        return self.name == (mutant.module, mutant.place, mutant.line, mutant.before, mutant.after)

    @property
    def name(self) -> tuple[str, ...]:
        """What tells it from the others."""
        return (self.module, self.place, self.line, self.before, self.after)


def load_accepted(root: Path) -> list[Accepted]:
    """Read the list; raises ValueError for an entry without a reason, or with unknown keys."""
    entries = tomllib.loads((root / FILE).read_text()).get("accepted", [])
    for entry in entries:
        if set(entry) != {field.name for field in fields(Accepted)} or not entry["reason"].strip():
            raise ValueError(f"{FILE}: an entry has module, place, line, before, after and a reason: {entry}")
    return [Accepted(**entry) for entry in entries]


def stale(accepted: Iterable[Accepted], mutants: Iterable[Mutant]) -> list[Accepted]:
    """The entries that name none of the mutants."""
    known = {(one.module, one.place, one.line, one.before, one.after) for one in mutants}
    return [one for one in accepted if one.name not in known]
