"""`homefire up`: the server, in the foreground.

Imports what the server needs and nothing of the other commands: what is imported here stays in memory.
"""

from __future__ import annotations

from typing import Annotated

import typer

from homefire.cli.command import Call, command


def register(app: typer.Typer) -> None:
    """Add `up` to the command tree."""
    command(app, "up")(up)


def up(
    call: Call,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on (server.host).")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port (server.port); 0 takes a free one.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any setting; may be given several times."),
    ] = None,
) -> None:
    """Start the server. Ctrl-C stops it after the answers that are coming."""
    from homefire.cli.serve import run_server

    overrides = read_assignments(assignments or [])
    if host is not None:
        overrides["server.host"] = host
    if port is not None:
        overrides["server.port"] = str(port)
    run_server(call, overrides)


def read_assignments(assignments: list[str]) -> dict[str, str]:
    """`["chat.max_tokens=64"]` → `{"chat.max_tokens": "64"}`. InvalidRequest for anything else."""
    from homefire.errors import InvalidRequest

    overrides: dict[str, str] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or "." not in key:
            raise InvalidRequest(
                f"--set {assignment} is not of the form section.key=value.",
                hint="For example --set chat.max_tokens=64.",
            )
        overrides[key.strip()] = value.strip()
    return overrides
