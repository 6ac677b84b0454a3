"""Figures as people read them: sizes, durations, moments, counts.

Pure functions without imports beyond the standard library; every command formats through them, so that the
same figure looks the same everywhere.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


def size(num_bytes: float) -> str:
    """`1506232` → `1.5 MB` (decimal units, as disks are sold)."""
    value = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def duration(seconds: float) -> str:
    """`0.034` → `34 ms`, `3.21` → `3.2 s`, `125` → `2 min 5 s`, `7300` → `2 h 1 min`."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days"


def moment(at_s: float | None) -> str:
    """Seconds since the epoch in the reader's own time zone: `2026-11-20 20:31:05`; `-` when it never was."""
    return "-" if at_s is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """`1 turn`, `2 turns`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def share(value: float | None) -> str:
    """`0.954` → `95.4 %`; `-` when it was not measured."""
    return "-" if value is None else f"{value * 100:.1f} %"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, if any is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


def clipped(text: str, width: int) -> str:
    """One line of at most `width` characters; a cut is shown by `…`."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: max(width - 1, 0)] + "…"


def plain(value: Any) -> str:
    """A value of a JSON document in words: `-` for none, `yes` and `no`, lists with commas."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(one)}" for name, one in sorted(value.items())) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(plain(one) for one in value) or "-"
    return str(value)


def pairs(values: Mapping[str, Any]) -> str:
    """`name = value`, one a line."""
    return "\n".join(f"{name} = {plain(value)}" for name, value in sorted(values.items())) or "-"


def lines(values: Iterable[str]) -> str:
    """One a line, `-` for none."""
    return "\n".join(values) or "-"


def number(value: int) -> str:
    """`375648` → `375,648`."""
    return f"{value:,}"


@dataclass(frozen=True, slots=True)
class Field:
    """One figure of a JSON document: how it is called, where it is, and how people read it.

    Without a `key` the whole document is shown by `form`; what is missing, None or "" is shown as `-`.
    """

    label: str
    key: str = ""
    form: Callable[[Any], str] = plain

    def of(self, document: Mapping[str, Any]) -> str:
        """The figure as text."""
        if not self.key:
            return self.form(document)
        value = document.get(self.key)
        return "-" if value is None or value == "" else self.form(value)


def named(fields: Iterable[Field], document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, text) of each field."""
    return [(field.label, field.of(document)) for field in fields]


def rows(fields: Iterable[Field], documents: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """The cells of a table: a row for each document."""
    shown = tuple(fields)
    return [[field.of(document) for field in shown] for document in documents]


def labels(fields: Iterable[Field]) -> list[str]:
    """The heads of a table's columns."""
    return [field.label for field in fields]
