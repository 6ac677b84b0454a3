"""pip without its chatter: one line that counts, the rest in a log whose end is shown when it fails.

On a terminal the line is rewritten in place; elsewhere a new line is printed at each quarter. What is counted is
what pip says it has collected, then what it has written into the environment (pip is silent while it does that).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

POLL_S = 0.2
TAIL_LINES = 20
LARGE_BYTES = 20_000_000
"""A download of this size shows how far it is."""
FEW_PACKAGES = 4
_UNITS = {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
_DOWNLOAD = re.compile(r"Downloading \S+ \((?P<size>[\d.]+) (?P<unit>bytes|kB|MB|GB)\)")
_HANDLED = ("Collecting ", "Requirement already satisfied: ")


@dataclass
class Count:
    """How far pip is, read from its output."""

    total: int
    fetched: int = 0
    installed: int = 0
    installing: bool = False
    name: str = ""
    """The package that is being fetched."""
    large_bytes: float = 0
    lines: list[str] = field(default_factory=list)

    def read(self, line: str) -> None:
        """Take in one line of pip's output."""
        self.lines.append(line)
        text = line.strip()
        if text.startswith("Ignoring "):  # a package that this machine does not need
            self.total -= 1
        elif text.startswith(_HANDLED):
            self.fetched = min(self.total, self.fetched + 1)
            self.name = re.split(r"[\s=<>;]", text.split(" ", 1)[1], maxsplit=1)[0]
            self.large_bytes = 0
        elif found := _DOWNLOAD.match(text):
            size_bytes = float(found["size"]) * _UNITS[found["unit"]]
            self.large_bytes = size_bytes if size_bytes >= LARGE_BYTES else 0
        elif text.startswith("Installing collected packages: "):
            self.fetched, self.large_bytes, self.installing = self.total, 0, True

    def describe(self, downloaded_bytes: int = 0) -> str:
        """The count in words."""
        if self.installing:
            return f"{min(self.installed, self.total)} of {self.total} packages installed"
        # The package that is being fetched is not there yet.
        words = f"{max(0, self.fetched - 1)} of {self.total} packages fetched"
        if self.large_bytes:
            here = min(downloaded_bytes, int(self.large_bytes))
            words += f", {self.name}: {here / 1e6:.0f} of {self.large_bytes / 1e6:.0f} MB"
        return words

    def quarter(self, downloaded_bytes: int = 0) -> int:
        """0 to 8: four quarters of fetching, then four of installing; of a few packages, those of a large file."""
        if self.total < FEW_PACKAGES:
            whole_bytes = self.large_bytes
            return min(4, int(4 * downloaded_bytes / whole_bytes)) if whole_bytes else -1
        done = self.installed if self.installing else max(0, self.fetched - 1)
        return min(4, 4 * done // self.total) + (4 if self.installing else 0)


class Line:
    """The line that counts: rewritten on a terminal, else printed again when there is something to tell."""

    def __init__(self, out: TextIO, label: str) -> None:
        self._out, self._label = out, label
        self._terminal = out.isatty()
        self._shown: tuple[str, int] = ("", -1)

    def show(self, words: str, quarter: int) -> None:
        """Show how far it is."""
        if self._terminal:
            if words != self._shown[0]:
                self._out.write(f"\r{self._label} {words}\x1b[K")
        elif quarter > self._shown[1]:
            self._out.write(f"{self._label} {words}\n")
        else:
            return
        self._shown = (words, quarter)
        self._out.flush()

    def end(self, words: str) -> None:
        """The last line; no words where pip failed, and what follows says so."""
        if not words:
            if self._terminal and self._shown[0]:
                self._out.write("\n")
        elif self._terminal:
            self._out.write(f"\r{self._label} {words}\x1b[K\n")
        elif words != self._shown[0]:
            self._out.write(f"{self._label} {words}\n")
        self._out.flush()


@dataclass(frozen=True, slots=True)
class Ended:
    """How pip ended."""

    code: int
    lines: list[str]
    num_packages: int = 0

    @property
    def not_found(self) -> bool:
        """Whether a wheel was nowhere to be found (and nothing worse, such as a wrong hash, happened)."""
        text = "".join(self.lines)
        return "No matching distribution found" in text and "DO NOT MATCH THE HASHES" not in text

    @property
    def tail(self) -> str:
        """The end of what pip said."""
        return "".join(self.lines[-TAIL_LINES:])


def run_counted(command: Sequence[str], *, total: int, line: Line, log: Path, site: Path) -> Ended:
    """Run pip, count, keep all it says in the log (appended); the caller decides what a failure means."""
    count = Count(total)
    before = _installed(site)
    scratch = log.parent / "downloading"
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed: perhaps gigabytes
    scratch.mkdir()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_environment(scratch),
    )
    reader = threading.Thread(target=_read, args=(process, log, count.read), daemon=True)
    reader.start()
    name, before_bytes = "", 0
    try:
        while reader.is_alive():
            reader.join(POLL_S)
            if count.installing:
                count.installed = len(_installed(site) - before)
            if count.name != name:
                name, before_bytes = count.name, _size(scratch)  # pip keeps what it fetched earlier
            if count.fetched:
                here_bytes = _size(scratch) - before_bytes if count.large_bytes else 0
                line.show(count.describe(here_bytes), count.quarter(here_bytes))
    except BaseException:
        process.terminate()
        raise
    finally:
        code = process.wait()
        shutil.rmtree(scratch, ignore_errors=True)
    return Ended(code, count.lines, count.total)


def _read(process: subprocess.Popen[str], log: Path, take: Callable[[str], None]) -> None:
    assert process.stdout is not None
    with process.stdout, log.open("a", encoding="utf-8") as kept:
        for text in process.stdout:
            kept.write(text)
            kept.flush()
            take(text)


def _environment(scratch: Path) -> dict[str, str]:
    # pip downloads into TMPDIR, so the size of a folder of its own tells how far a large file is.
    return {**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(scratch), "NO_COLOR": "1", "COLUMNS": "200"}


def _installed(site: Path) -> set[str]:
    return {entry.name for entry in site.glob("*.dist-info")}


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # pip moves what it has finished
    return total
