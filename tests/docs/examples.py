"""Finds the examples in the documentation and runs them.

A fenced block marked `console` is a session: lines that begin with `$ ` are commands, what follows is their
output, in which `...` stands for anything. A block without output lines only has to succeed; a command whose
last words are `# exits N` has to exit with N. A block marked `python` is run as a program. A block with the
word `shown` after its language is shown and not run: the reason stands in the prose beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
EXITS = re.compile(r"\s+# exits (?P<code>\d+)$")


@dataclass(frozen=True)
class Command:
    """One command of a session, with what it should print."""

    line: str
    exit_code: int = 0
    expected: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Example:
    """One runnable block of a page."""

    page: Path
    line_number: int
    language: str
    body: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line_number}"


def find_pages() -> list[Path]:
    """Every page a reader may meet, README first."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def find_examples(page: Path) -> list[Example]:
    """The blocks of a page that are run."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        words = match["info"].split()
        if words and words[0] in {"console", "python"} and "shown" not in words[1:]:
            line_number = text.count("\n", 0, match.start()) + 1
            found.append(Example(page, line_number, words[0], match["body"]))
    return found


def split_session(body: str) -> list[Command]:
    """The commands of a `console` block."""
    commands: list[Command] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            exits = EXITS.search(line)
            text = EXITS.sub("", line[2:])
            commands.append(Command(text, int(exits["code"]) if exits else 0))
        elif commands:
            commands[-1].expected.append(line)
    return commands


def output_matches(expected: list[str], actual: str) -> bool:
    """Whether the output is as shown, `...` standing for anything and blank ends not counting."""
    wanted = "\n".join(expected).strip()
    if not wanted:
        return True
    pattern = ".*".join(re.escape(part) for part in wanted.split("..."))
    return re.fullmatch(pattern, actual.strip(), re.DOTALL) is not None
