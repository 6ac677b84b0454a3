"""Asking before something is gone."""

from __future__ import annotations

import sys

import typer

from homefire.cli.command import Call
from homefire.errors import InvalidRequest


def confirm(call: Call, question: str, *, yes: bool) -> None:
    """Go on only with `--yes` or a person's consent at a terminal.

    InvalidRequest where nobody can be asked.
    """
    if yes:
        return
    if call.json or not sys.stdin.isatty():
        raise InvalidRequest(
            "This needs a yes, and there is no terminal to ask at.", hint="Give --yes to confirm it."
        )
    typer.confirm(question, abort=True, err=True)
