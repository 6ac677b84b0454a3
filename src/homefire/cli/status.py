"""`homefire status`: one screen about a running server."""

from __future__ import annotations

from typing import Any

import typer

from homefire.cli.command import Call, command
from homefire.cli.format import Field, counted, duration, labels, number, rows, size

RESIDENT = (
    Field("loaded", "name"),
    Field("state", "state"),
    Field("memory", "memory_bytes", size),
    Field("requests", "active"),
    Field("restarts", "num_restarts"),
    Field("context", "context_length", number),
)


def register(app: typer.Typer) -> None:
    """Add `status` to the command tree."""
    command(app, "status")(status)


def status(call: Call) -> Any:
    """Show the server, who is live, what is loaded, what is being trained, and the disk."""
    from homefire.cli.corrections import unlearned_lines
    from homefire.cli.runs import table_of_runs

    found = call.client.get("/v1/status")
    disk, queue = found["disk"], found["queue"]
    waiting = f": {found['waiting_reason']}" if found.get("waiting_reason") else ""
    failure = f". {found['database_failure']}" if found.get("database_failure") else ""
    pending = counted(found["num_pending_examples"], "correction")
    call.out.fields(
        [
            ("server", f"{call.client.url}, version {found['version']}, process {found['pid']}"),
            ("up for", f"{duration(found['uptime_s'])}, {size(found['rss_bytes'])} of memory"),
            ("home", f"{found['home']}, {size(disk['free_bytes'])} of {size(disk['total_bytes'])} free"),
            ("database", f"{found['database']}{failure}"),
            ("live", str(found["live"])),
            ("requests", f"{queue['active']} running, {queue['waiting']} waiting"),
            ("corrections", f"{pending} not yet trained{waiting}"),
            *((f"{name} failed", why) for name, why in found["failures"].items()),
        ]
    )
    call.out.line()
    call.out.table(
        labels(RESIDENT),
        rows(RESIDENT, found["resident"]),
        empty="No model is loaded; the first request loads one.",
    )
    call.out.line()
    table_of_runs(call, found["runs"], empty="Nothing was trained yet.")
    unlearned_lines(call, found)
    return found
