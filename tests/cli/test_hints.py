"""Every command line that a hint, a message, a page or a guide names is one that can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from homefire.cli.main import build

ROOT = Path(__file__).resolve().parents[2]
PLACES = [
    *(ROOT / "src").rglob("*.py"),
    *(ROOT / "src").rglob("*.html"),
    *(path for path in (ROOT / "docs").rglob("*.md") if path.name != "LOG.md"),
    ROOT / "README.md",
]
_TICKED = re.compile(r"`((?:homefire|\.venv/bin/homefire)(?: [^`]*)?)`")
_SHELL = re.compile(r"^\$ (?:[A-Z_]+=\S+ )*((?:\.venv/bin/)?homefire(?: .*)?)$", re.MULTILINE)
_CODE = re.compile(r"<code>(homefire[^<]*)</code>")
_MADE_UP = {"NAME", "COMMAND", "hello", "<name>", "WORD"}
"""A command that a plug-in brings, in the guide that tells how."""
GROUP_HINTS = re.compile(r"homefire (\w+) …")


def named_in(text: str) -> Iterator[str]:
    """The command lines in a text; pieces of an f-string stand for a word each."""
    for pattern in (_TICKED, _SHELL, _CODE):
        for found in pattern.findall(text):
            yield re.sub(r"\{[^{}]*\}", "WORD", found.partition(" #")[0].strip()).removeprefix(".venv/bin/")


def problem_of(line: str) -> str | None:
    """What is wrong with a command line; None where it can be typed."""
    if GROUP_HINTS.fullmatch(line):
        word = line.split()[1]
        return None if word in TREE.commands and hasattr(TREE.commands[word], "commands") else "no such group"
    try:
        words = shlex.split(line.replace("…", "WORD"))[1:]
    except ValueError as error:
        return str(error)
    here: Any = TREE
    options = _options(here)
    num_words = 0
    pending = list(words)
    while pending:
        word = pending.pop(0)
        if word in ("|", "&&", ">", "<"):
            break
        if word.startswith("-") and word != "-":
            name, _, value = word.partition("=")
            if name in ("--help", "-h", "--install-completion"):
                return None
            if name not in options:
                return f"{name} is not an option of {here.name}"
            if not options[name] and not value and pending:
                pending.pop(0)
        elif hasattr(here, "commands"):
            if word in _MADE_UP:
                return None
            if word not in here.commands:
                return f"{here.name} has no command {word}"
            here = here.commands[word]
            options = {**options, **_options(here)}
        else:
            num_words += 1
    if hasattr(here, "commands"):
        return None if here is TREE else "a group only lists its commands"
    return _wrong_number(here, num_words) if num_words else None


def _wrong_number(command: Any, num_words: int) -> str | None:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    least = sum(one.required for one in arguments)
    most = 99 if any(one.nargs == -1 for one in arguments) else len(arguments)
    return None if least <= num_words <= most else f"{command.name} takes {least} to {most} words"


def _options(command: Any) -> dict[str, bool]:
    """Option → whether it is a flag."""
    return {
        name: bool(one.is_flag)
        for one in command.params
        if one.param_type_name == "option"
        for name in (*one.opts, *one.secondary_opts)
    }


TREE: Any = get_command(build())


@pytest.mark.parametrize("path", PLACES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_named_can_be_typed(path: Path) -> None:
    text = re.sub(r"\"\s*\n\s*f?\"", "", path.read_text(encoding="utf-8"))
    found = {line: problem_of(line) for line in named_in(text)}
    assert {line: problem for line, problem in found.items() if problem is not None} == {}


def test_a_command_that_does_not_exist_is_noticed() -> None:
    for line in (
        "homefire tokens create", "homefire runs", "homefire versions promote v001 --force", "homefire runs shwo x",
        "homefire versions compare v001", "homefire nothing …",
    ):  # fmt: skip
        assert problem_of(line) is not None, line
    for line in (
        "homefire", "homefire up --set chat.max_tokens=9", "homefire runs …", "homefire correct PROMPT ANSWER",
        "homefire versions promote WORD --override --why WORD", "homefire ask --model WORD \"Hello\"",
        "homefire versions verify", "homefire --home /x status",
    ):  # fmt: skip
        assert problem_of(line) is None, line
    assert list(named_in('hint="See `homefire runs show {run}`."')) == ["homefire runs show WORD"]


def test_there_is_something_to_look_at() -> None:
    lines = [line for path in PLACES for line in named_in(path.read_text(encoding="utf-8"))]
    assert len(lines) > 100
