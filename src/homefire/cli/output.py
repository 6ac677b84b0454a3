"""What a command prints: tables and fields for people, one JSON document for programs.

Promises: with `--json` standard output holds JSON and nothing else; escape sequences in text that a model or
a file produced never reach a terminal; a pipe gets plain aligned text without colour. `rich` is imported
only when a terminal is written to (it costs 60 ms).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STYLES = {
    "done": "green", "answered": "green", "pass": "green", "running": "cyan", "queued": "blue",
    "paused": "yellow", "warn": "yellow", "stopped": "yellow", "skipped": "yellow",
    "failed": "red", "refused": "red", "stranded": "red", "live": "green", "fail": "red", "yes": "green", "no": "red",
}  # fmt: skip


def printable(text: str) -> str:
    """`text` without control characters (a model must not be able to drive the reader's terminal)."""
    return _CONTROL.sub("", text)


class Output:
    """Where one command's results go. `json` decides between a document and prose."""

    def __init__(self, *, json: bool, stream: TextIO | None = None, notes: TextIO | None = None) -> None:
        self.json = json
        self.stream = stream if stream is not None else sys.stdout
        self.notes = notes if notes is not None else sys.stderr
        self._console: Console | None = None

    @property
    def is_terminal(self) -> bool:
        """True where colours and live progress make sense."""
        return not self.json and self.stream.isatty()

    @property
    def console(self) -> Console:
        """Rich's console on this output (imports rich)."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(file=self.stream, highlight=False)
        return self._console

    def document(self, value: Any) -> None:
        """The one JSON document of a command."""
        self._write(json.dumps(value, ensure_ascii=False, indent=2))

    def record(self, value: Any) -> None:
        """One line of a JSON stream (`--json` of commands that follow something)."""
        self._write(json.dumps(value, ensure_ascii=False, separators=(",", ":")))

    def line(self, text: str = "", *, style: str | None = None) -> None:
        """A line of prose; silent under `--json`."""
        if self.json:
            return
        if self.is_terminal:
            from rich.text import Text

            self.console.print(Text(printable(text), style=style or ""), soft_wrap=True)
        else:
            self._write(text)

    def piece(self, text: str) -> None:
        """A piece of streamed text, at once and without a newline; silent under `--json`."""
        if not self.json:
            self.stream.write(printable(text) if self.is_terminal else text)
            self.stream.flush()

    def note(self, text: str) -> None:
        """An aside for people, on standard error, so that a pipe gets the result alone."""
        if not self.json:
            if self.notes.isatty():
                self.notes.write(f"\x1b[2m{printable(text)}\x1b[0m\n")
            else:
                self.notes.write(text + "\n")
            self.notes.flush()

    def fields(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Aligned `name  value` lines; silent under `--json`."""
        if self.json:
            return
        rows = [(name, printable(value)) for name, value in pairs]
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            first, *rest = value.split("\n")
            if self.is_terminal:
                from rich.text import Text

                text = Text.assemble((name.ljust(width), "dim"), "  ", (first, _STYLES.get(first, "")))
                self.console.print(text, soft_wrap=True)
            else:
                self._write(f"{name.ljust(width)}  {first}".rstrip())
            for more in rest:
                self._write(" " * (width + 2) + more)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
        """A table; `empty` is what to say when there are no rows. Silent under `--json`."""
        if self.json:
            return
        if not rows:
            self.line(empty)
            return
        cells = [[printable(cell).replace("\n", " ") for cell in row] for row in rows]
        if self.is_terminal:
            self._rich_table(columns, cells)
            return
        widths = [max(len(line[index]) for line in [columns, *cells]) for index in range(len(columns))]
        for line in [[column.upper() for column in columns], *cells]:
            self._write(
                "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            )

    def _rich_table(self, columns: Sequence[str], cells: list[list[str]]) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold dim", padding=(0, 2, 0, 0))
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in cells:
            table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
        self.console.print(table)

    def _write(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()
