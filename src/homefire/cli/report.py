"""How an error reaches the person or the program that ran a command.

For people: three lines on standard error (what happened, why, what to do). For programs (`--json`): one line
`{"error": {"code", "message", "hint", "details"}}` on standard output, which also ends a stream of lines. Never
a traceback for what was foreseen.
"""

from __future__ import annotations

import sys
from typing import Any

from homefire.cli.format import plain
from homefire.cli.output import json_text, paint, printable
from homefire.errors import HomefireError

_HINTS = {
    4: "List what there is with the group's `list` command.",
    5: "See the present state with `homefire status`.",
    6: "Give the key with --key or HOMEFIRE_API_KEY.",
    7: "Wait a moment and repeat the command.",
    8: "Repeat the command; `homefire doctor` checks the engine.",
    9: "Run `homefire doctor`.",
}


def as_object(error: HomefireError) -> dict[str, Any]:
    """The error as JSON shows it."""
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "hint": hint_of(error),
            "details": error.details,
        }
    }


def hint_of(error: HomefireError) -> str:
    """What to do: the error's own words, or those for its exit code."""
    return error.hint or _HINTS.get(error.exit_code, "See `homefire --help`, or run `homefire doctor`.")


def show(error: HomefireError, *, as_json: bool) -> None:
    """Print an error where its reader looks for it."""
    if as_json:
        sys.stdout.write(json_text(as_object(error)) + "\n")
        sys.stdout.flush()
        return
    figures = ", ".join(
        f"{name} = {plain(value)}" for name, value in error.details.items() if value is not None
    )
    lines = (
        ("error", error.message),
        ("why", f"{error.code}: {figures}" if figures else error.code),
        ("do", hint_of(error)),
    )
    for name, text in lines:
        label = paint(name, "bold red" if name == "error" else "", sys.stderr)
        sys.stderr.write(f"{label}: {printable(' '.join(str(text).split()))}\n")
    sys.stderr.flush()
