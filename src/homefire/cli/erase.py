"""`homefire erase`: what was said goes for good."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from homefire.cli import arguments
from homefire.cli.arguments import Why, Yes, path_of
from homefire.cli.command import Call, command
from homefire.cli.format import counted

Subject = Annotated[str, typer.Argument(help="A session, a turn (turn_…) or a message (msg_…), by its id.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "erase")(erase)


def erase(
    call: Call,
    subject: Subject,
    why: Why = None,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go and what would stay.")
    ] = False,
) -> Any:
    """Erase a conversation, a turn or a message, with the corrections that repeat it; say what still holds it.

    It cannot be taken back. The event log keeps that something was there, who erased it, when and why.
    """
    if subject.startswith("turn_"):
        path = path_of("/v1/turns", subject)
    elif subject.startswith("msg_"):
        path = path_of("/v1/messages", subject)
    else:
        path = path_of("/v1/sessions", arguments.session_id(call, subject))
    found = call.client.delete(path, {"dry_run": True})
    if not dry_run and found["num_contents"]:
        question = f"Erase {counted(found['num_messages'], 'message')} for good?"
        if found["corrections"]:
            question = (
                f"{question} {counted(len(found['corrections']), 'correction')} will be withdrawn and erased."
            )
        call.confirm(question, yes=yes)
        found = call.client.delete(path, {"why": why or ""})
    said = "erased" if found["is_done"] else "to erase"
    call.out.line(f"{counted(found['num_contents'], 'content')} {said}.")
    for row in found["corrections"]:
        call.out.line(
            f"  correction {row['example_id'][:12]}"
            + (" (was not learned yet)" if row["was_waiting"] else "")
        )
    for file in found["files"]:
        call.out.line(f"  still holds it, or may: {file}")
    for sentence in found["advice"]:
        call.out.line(sentence)
    return found
