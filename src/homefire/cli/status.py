"""`homefire status`: one screen about a running server."""

from __future__ import annotations

from typing import Any

import typer

from homefire.cli.command import Call, command


def register(app: typer.Typer) -> None:
    """Add `status` to the command tree."""
    command(app, "status")(status)


def status(call: Call) -> None:
    """Show the server, who is live, what is loaded, what is being trained, and the disk."""
    from homefire.cli.corrections import unlearned_lines
    from homefire.cli.runs import table_of_runs

    found = call.client.get("/v1/status")
    if call.json:
        call.out.document(found)
        return
    _show_server(call, found)
    call.out.line()
    _show_resident(call, found["resident"])
    call.out.line()
    table_of_runs(call, found["runs"], empty="Nothing was trained yet.")
    unlearned_lines(call, found)


def _show_server(call: Call, found: dict[str, Any]) -> None:
    from homefire.cli.words import counted, duration, size

    disk, queue = found["disk"], found["queue"]
    waiting = f": {found['waiting_reason']}" if found.get("waiting_reason") else ""
    pending = counted(found["num_pending_examples"], "correction")
    call.out.fields(
        [
            ("server", f"{call.client.address.url}, version {found['version']}, process {found['pid']}"),
            ("up for", f"{duration(found['uptime_s'])}, {size(found['rss_bytes'])} of memory"),
            ("home", f"{found['home']}, {size(disk['free_bytes'])} of {size(disk['total_bytes'])} free"),
            ("live", str(found["live"])),
            ("requests", f"{queue['active']} running, {queue['waiting']} waiting"),
            ("corrections", f"{pending} not yet trained{waiting}"),
        ]
    )


def _show_resident(call: Call, models: list[dict[str, Any]]) -> None:
    from homefire.cli.words import size

    call.out.table(
        ("loaded", "state", "memory", "requests", "restarts", "context"),
        [
            (
                str(model["name"]),
                str(model["state"]),
                size(model["memory_bytes"]) if model.get("memory_bytes") else "-",
                str(model["active"]),
                str(model["num_restarts"]),
                f"{model['context_length']:,}" if model.get("context_length") else "-",
            )
            for model in models
        ],
        empty="No model is loaded; the first request loads one.",
    )
