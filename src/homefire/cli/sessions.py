"""`homefire sessions …`: conversations that were held."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from homefire.cli.command import Call, command, group
from homefire.cli.complete import complete_session

SessionName = Annotated[
    str, typer.Argument(metavar="SESSION", help="The session's id.", autocompletion=complete_session)
]


def commands() -> typer.Typer:
    """The group `sessions`."""
    sessions = group("Conversations: list, read, export.")
    command(sessions, "list")(show_list)
    command(sessions, "show")(show)
    command(sessions, "export")(export)
    return sessions


def show_list(
    call: Call,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, newest first.")] = 50,
) -> None:
    """List conversations, the latest first."""
    from homefire.cli.words import clipped, moment

    found = call.client.get("/v1/sessions", limit=limit)
    if call.json:
        call.out.document(found)
    call.out.table(
        ("session", "last turn", "turns", "from", "title"),
        [
            (
                str(row["session_id"]),
                moment(row.get("updated_at_s")),
                str(row.get("num_turns", "-")),
                str(row.get("channel") or "-"),
                clipped(str(row.get("title") or ""), 60),
            )
            for row in found["sessions"]
        ],
        empty="No conversation was held yet. Start one with `homefire chat`.",
    )


def show(call: Call, session: SessionName) -> None:
    """Print one conversation."""
    found = call.client.get(f"/v1/sessions/{session}")
    if call.json:
        call.out.document(found)
        return
    for message in found["messages"]:
        name = {"user": "you", "assistant": "homefire"}.get(str(message["role"]), str(message["role"]))
        call.out.line(f"{name}:", style="bold" if name == "you" else "bold cyan")
        call.out.line(str(message["content"]))
        call.out.line()


def export(
    call: Call,
    session: SessionName,
    file: Annotated[Path | None, typer.Argument(help="Where to write; standard output without one.")] = None,
    form: Annotated[
        Literal["md", "json"] | None, typer.Option("--format", "-f", help="By the file's ending, or md.")
    ] = None,
) -> None:
    """Export one conversation as Markdown or JSON."""
    from homefire.cli.export import export_session

    export_session(call, session, file=file, form=form)
