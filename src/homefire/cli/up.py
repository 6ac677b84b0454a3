"""`homefire up`: the server, in the foreground.

Imports what the server needs and nothing of the other commands: what is imported here stays in memory.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from homefire.cli.address import Address, Running, home_root, running_server
from homefire.cli.command import Call, command

START_TIMEOUT_S = 15.0
_POLL_S = 0.1


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
) -> Any:
    """Start the server. Ctrl-C stops it after the answers that are coming.

    Where this home's server runs already, its address is printed and nothing is changed.
    """
    overrides = read_assignments(assignments or [])
    if host is not None:
        overrides["server.host"] = host
    if port is not None:
        overrides["server.port"] = str(port)
    running = _running(call)
    if running is None:
        from homefire.cli.serve import run_server
        from homefire.errors import HomeInUse

        try:
            run_server(call, overrides)
        except HomeInUse:
            # It may have been started a moment ago, and not listen yet.
            running = _running(call, within_s=START_TIMEOUT_S)
            if running is None:
                raise
        else:
            return None
    call.out.line(f"Homefire runs already: {running.url} (process {running.pid}).")
    if overrides:
        call.out.note("the options that were given change nothing; stop that server first")
    home = str(home_root(call.shared.home, os.environ))
    return {"url": running.url, "pid": running.pid, "home": home, "already_running": True}


def _running(call: Call, *, within_s: float = 0.0) -> Running | None:
    """The server of this home that answers, if one does within this time."""
    root = home_root(call.shared.home, os.environ)
    deadline_s = time.monotonic() + within_s
    while True:
        found = running_server(root)
        if found is not None and _answers(root):
            return found
        if time.monotonic() >= deadline_s:
            return None
        time.sleep(_POLL_S)


def _answers(root: Path) -> bool:
    from homefire.cli.client import Client

    with Client(Address(None, None, root, "up")) as client:
        return client.is_up()


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
