"""`homefire chat`: a conversation in the terminal, with corrections that are learned while one watches.

On a terminal: an editable prompt with history; in a pipe: one line is one turn, so that it can be scripted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from homefire.cli.command import Call, command
from homefire.cli.options import ModelOption, SessionOption

if TYPE_CHECKING:
    from homefire.cli.chat_commands import Chat

GREETING = "Enter sends, Alt-Enter starts a new line, /help lists commands, Ctrl-D leaves."


def register(app: typer.Typer) -> None:
    """Add `chat` to the command tree."""
    command(app, "chat")(chat)


def chat(
    call: Call,
    model: ModelOption = None,
    session: SessionOption = None,
) -> None:
    """Talk with a model. /good, /bad and /correct judge the last answer; /help lists everything else.

    Ctrl-C cancels the answer that is coming; at the prompt it leaves. With --json each turn prints one line.
    """
    from homefire.cli.chat_commands import COMMANDS, Chat, Leave
    from homefire.cli.conversation import Conversation

    route = call.client.get("/v1/route", model=model)
    held = Chat(call, Conversation(call.client, model=model, session_id=session))
    if sys.stdin.isatty() and call.out.is_terminal:
        from homefire.cli.editor import make_editor

        held.edit = make_editor(call, [f"/{name}" for name in COMMANDS])
        call.out.note(f"{route.get('served_model') or route.get('model')} answers. {GREETING}")
    try:
        for text in _lines(held):
            held.take(text)
    except Leave:
        return


def _lines(held: Chat) -> Iterator[str]:
    """What the person says, until end of input (or Ctrl-C at the prompt)."""
    if held.edit is None:
        for line in sys.stdin:
            if line.strip():
                yield line.rstrip("\n")
        return
    while True:
        try:
            text = held.edit("> ", "")
        except (EOFError, KeyboardInterrupt):
            return
        if text.strip():
            yield text
