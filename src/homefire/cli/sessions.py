"""`homefire sessions …`: conversations that were held."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from homefire.cli import arguments
from homefire.cli.arguments import Limit, SessionName, path_of
from homefire.cli.command import Call, command, group
from homefire.cli.format import Field, clipped, labels, moment, rows
from homefire.cli.output import json_text, printable

Format = Literal["md", "json"]
COLUMNS = (
    Field("session", "session_id"),
    Field("last turn", "updated_at_s", moment),
    Field("turns", "num_turns"),
    Field("from", "channel"),
    Field("title", "title", lambda title: clipped(title, 60)),
)


def commands() -> typer.Typer:
    """The group `sessions`."""
    sessions = group("Conversations: list, read, export.")
    command(sessions, "list")(show_list)
    command(sessions, "show")(show)
    command(sessions, "export")(export)
    return sessions


def show_list(call: Call, limit: Limit = 50) -> Any:
    """List conversations, the latest first."""
    found = call.client.get("/v1/sessions", limit=limit)
    call.out.table(
        labels(COLUMNS),
        rows(COLUMNS, found["sessions"]),
        empty="No conversation was held yet. Start one with `homefire chat`.",
    )
    return found


def show(call: Call, session: SessionName) -> Any:
    """Print one conversation."""
    import msgspec

    from homefire.sessions.transcript import transcript
    from homefire.types import Message

    found = call.client.get(path_of("/v1/sessions", arguments.session_id(call, session)))
    for message in found["messages"]:
        said = msgspec.convert({"role": message["role"], "content": message["content"]}, Message)
        name = {"user": "you", "assistant": "homefire"}.get(said.role, said.role)
        call.out.line(f"{name}:", style="bold" if name == "you" else "bold cyan")
        call.out.line(transcript(said.content))
        call.out.line()
    return found


def export(
    call: Call,
    session: SessionName,
    file: Annotated[Path | None, typer.Argument(help="Where to write; standard output without one.")] = None,
    form: Annotated[
        Format | None, typer.Option("--format", "-f", help="By the file's ending, or md.")
    ] = None,
) -> Any:
    """Export one conversation as Markdown or JSON.

    What could drive a terminal is left out of Markdown and written as escapes in JSON.
    """
    return export_session(call, arguments.session_id(call, session), file=file, form=form)


def export_session(call: Call, session_id: str, *, file: Path | None, form: Format | None) -> Any:
    """Write a session (by the file's ending where `form` is None); None prints it.

    An existing file is not overwritten: InvalidRequest. Returns the document for programs.
    """
    from homefire.errors import InvalidRequest

    if form is None:
        form = "json" if call.json or (file is not None and file.suffix == ".json") else "md"
    path = path_of("/v1/sessions", session_id, "export")
    if form == "json":
        found = call.client.get(path, format=form)
        text = json_text(found, indent=2)
    else:
        text = printable(call.client.text(path, format=form)).rstrip("\n")
        found = {"session_id": session_id, "format": form, "text": text}
    if file is None:
        call.out.line(text)
        return found
    target = file.expanduser()
    try:
        with target.open("x", encoding="utf-8") as opened:
            opened.write(text + "\n")
    except FileExistsError as error:
        raise InvalidRequest(
            f"{target} exists already.", hint="Name another file.", path=str(target)
        ) from error
    except OSError as error:
        raise InvalidRequest(
            f"{target} cannot be written: {error.strerror}.", hint="Name another file.", path=str(target)
        ) from error
    call.out.line(f"Written to {target}.")
    return {"session_id": session_id, "path": str(target), "format": form}
