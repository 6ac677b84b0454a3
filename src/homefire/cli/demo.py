"""`homefire demo`: the whole circle."""

from __future__ import annotations

import typer

from homefire.cli.command import Call, command


def register(app: typer.Typer) -> None:
    """Add `demo` to the command tree."""
    command(app, "demo")(demo)


def demo(call: Call) -> None:
    """Show the whole circle."""
