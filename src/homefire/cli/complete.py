"""Names for the shell's Tab key, asked from the running server.

A completion must never disturb the line that is being typed: with no server, or a slow one, there is
nothing to offer, silently and within a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

_TIMEOUT_S = 1.0


def complete_model(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Models, versions and aliases."""
    return _names(
        context, incomplete, "/v1/homefire/models", "models", lambda row: (row["name"], row.get("kind", ""))
    )


def complete_version(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Versions."""
    return _names(
        context,
        incomplete,
        "/v1/versions",
        "versions",
        lambda row: (row["version"], row.get("description", "")),
    )


def complete_run(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs."""
    return _names(context, incomplete, "/v1/runs", "runs", lambda row: (row["run_id"], row.get("state", "")))


def complete_session(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Sessions."""
    return _names(
        context, incomplete, "/v1/sessions", "sessions", lambda row: (row["session_id"], row.get("title", ""))
    )


def _names(
    context: typer.Context,
    incomplete: str,
    path: str,
    key: str,
    pick: Callable[[dict[str, Any]], tuple[str, str]],
) -> list[tuple[str, str]]:
    from homefire.cli.address import find_server
    from homefire.cli.client import Client
    from homefire.cli.command import Shared
    from homefire.errors import HomefireError

    shared = context.find_root().obj
    shared = shared if isinstance(shared, Shared) else Shared()
    try:
        address = find_server(home=shared.home, url=shared.url, key=shared.key)
        with Client(address, timeout_s=_TIMEOUT_S) as client:
            names = [pick(row) for row in client.get(path)[key]]
    except (HomefireError, KeyError, TypeError):
        return []
    return [(name, about) for name, about in names if name.startswith(incomplete)]
