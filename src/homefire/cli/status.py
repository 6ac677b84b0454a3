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
    found = call.client.get("/v1/status")
    if call.json:
        call.out.document(found)
        return
    _server(call, found)
    _resident(call, found.get("resident") or [])
    _runs(call, found)


def _server(call: Call, found: dict[str, Any]) -> None:
    from homefire.cli.words import counted, duration, size

    disk = found.get("disk") or {}
    queue = found.get("queue") or {}
    call.out.fields(
        [
            ("server", f"{call.client.address.url}, version {found.get('version')}, pid {found.get('pid')}"),
            ("up for", duration(float(found.get("uptime_s") or 0))),
            ("home", f"{found.get('home')}, {size(disk.get('free_bytes') or 0)} free"),
            ("live", str(found.get("live") or "-")),
            ("requests", f"{queue.get('active', 0)} running, {queue.get('waiting', 0)} waiting"),
            (
                "corrections",
                f"{counted(int(found.get('num_pending_examples') or 0), 'correction')} not yet trained",
            ),
        ]
    )


def _resident(call: Call, models: list[dict[str, Any]]) -> None:
    from homefire.cli.words import size

    call.out.line()
    call.out.table(
        ("loaded", "state", "memory", "requests"),
        [
            (
                str(model.get("name")),
                str(model.get("state") or "-"),
                size(model["memory_bytes"]) if model.get("memory_bytes") else "-",
                str(model.get("active") or 0),
            )
            for model in models
        ],
        empty="No model is loaded; the first request loads one.",
    )


def _runs(call: Call, found: dict[str, Any]) -> None:
    from homefire.cli.runs import table_of_runs

    call.out.line()
    table_of_runs(call, found.get("runs") or [], empty="Nothing was trained yet.")
