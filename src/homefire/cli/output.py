"""What a command prints: tables and fields for people, one JSON document for programs.

Promises: with `--json` standard output holds JSON and nothing else; nothing that a model, a file or a server
says can drive a terminal, now or when a file is shown later; a pipe gets plain aligned text without colour.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u202a-\u202e\u2066-\u2069]")
"""C0 except tab and newline, DEL, C1, and what turns the direction of writing around."""
_STYLES = {
    "done": "green", "answered": "green", "pass": "green", "running": "cyan", "queued": "blue",
    "paused": "yellow", "warn": "yellow", "stopped": "yellow", "skipped": "yellow",
    "failed": "red", "refused": "red", "stranded": "red", "live": "green", "fail": "red", "yes": "green",
    "no": "red",
}  # fmt: skip
_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36}
_GAP = "  "
_MIN_LAST_COLUMN = 16


def printable(text: str) -> str:
    """`text` without what could drive a terminal or turn its lines around."""
    return _UNSAFE.sub("", text)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON in which what is unsafe on a terminal is escaped: safe to show, and nothing is lost."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, default=str)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def width_of(text: str) -> int:
    """Columns that `text` takes on a terminal (East Asian wide characters take two)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )


class Output:
    """Where one command's results go. `json` decides between a document and prose."""

    def __init__(self, *, json: bool, stream: TextIO | None = None, notes: TextIO | None = None) -> None:
        self.json = json
        self.stream = stream if stream is not None else sys.stdout
        self.notes = notes if notes is not None else sys.stderr

    @property
    def is_terminal(self) -> bool:
        """True where colours and live progress make sense."""
        return not self.json and self.stream.isatty()

    @property
    def console(self) -> Console:
        """Rich's console on this output, for progress bars (imports rich: 60 ms)."""
        from rich.console import Console

        return Console(file=self.stream, highlight=False)

    def document(self, value: Any) -> None:
        """The one JSON document of a command."""
        self._write(json_text(value, indent=2))

    def record(self, value: Any) -> None:
        """One line of a JSON stream (`--json` of commands that follow something)."""
        self._write(json_text(value))

    def line(self, text: str = "", *, style: str = "") -> None:
        """A line of prose; silent under `--json`."""
        if not self.json:
            self._write(self._painted(printable(text), style))

    def piece(self, text: str) -> None:
        """A piece of streamed text, at once and without a newline; silent under `--json`."""
        if not self.json:
            self.stream.write(printable(text))
            self.stream.flush()

    def note(self, text: str) -> None:
        """A note for people, on standard error, so that a pipe gets the result alone."""
        if not self.json:
            self.notes.write(paint(printable(text), "dim", self.notes) + "\n")
            self.notes.flush()

    def fields(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Aligned `name  value` lines; silent under `--json`."""
        if self.json:
            return
        rows = [(name, printable(value)) for name, value in pairs]
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            lines = [part for line in value.split("\n") for part in self._wrapped(line, width + len(_GAP))]
            first = self._painted(lines[0], _STYLES.get(lines[0], ""))
            self._write(f"{self._painted(name.ljust(width), 'dim')}{_GAP}{first}".rstrip())
            for more in lines[1:]:
                self._write(" " * (width + len(_GAP)) + more)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
        """A table; `empty` is what to say when there are no rows. Silent under `--json`.

        On a terminal too narrow for it the last column is cut; where that is not enough, each row becomes a
        block of lines.
        """
        if self.json:
            return
        if not rows:
            self.line(empty)
            return
        heads = [printable(column) for column in columns]
        cells = [[printable(cell).replace("\n", " ") for cell in row] for row in rows]
        widths = [max(map(width_of, column)) for column in zip(heads, *cells, strict=True)]
        if self.is_terminal:
            room = self._num_columns - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)
            if room < min(widths[-1], _MIN_LAST_COLUMN):
                self._blocks(heads, cells)
                return
            if widths[-1] > room:
                from homefire.cli.format import clipped

                widths[-1] = room
                cells = [[*row[:-1], clipped(row[-1], room)] for row in cells]
        self._write(self._row([head.upper() for head in heads], widths, ["dim"] * len(heads)))
        for row in cells:
            self._write(self._row(row, widths, [_STYLES.get(cell, "") for cell in row]))

    def _row(self, cells: list[str], widths: list[int], styles: list[str]) -> str:
        padded = [
            self._painted(cell, style) + " " * (width - width_of(cell))
            for cell, width, style in zip(cells, widths, styles, strict=True)
        ]
        return _GAP.join(padded).rstrip()

    def _blocks(self, heads: list[str], rows: list[list[str]]) -> None:
        for number, (first, *rest) in enumerate(rows):
            if number:
                self._write("")
            self._write(self._painted(first, "bold"))
            self.fields(
                (f"  {head}", cell)
                for head, cell in zip(heads[1:], rest, strict=True)
                if cell not in ("", "-")
            )

    @property
    def _num_columns(self) -> int:
        return shutil.get_terminal_size().columns

    def _wrapped(self, line: str, indent: int) -> list[str]:
        room = self._num_columns - indent
        if not self.is_terminal or room < _MIN_LAST_COLUMN:
            return [line]
        return textwrap.wrap(line, room, break_long_words=False, break_on_hyphens=False) or [""]

    def _painted(self, text: str, style: str) -> str:
        return paint(text, style, self.stream)

    def _write(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()


def paint(text: str, style: str, stream: TextIO) -> str:
    """`text` in a style such as `bold red`, where the stream is a terminal that shows colours."""
    if not style or not text or not stream.isatty():
        return text
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    codes = ";".join(str(_CODES[name]) for name in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m"
