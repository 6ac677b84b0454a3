"""`homefire chat`: a conversation in the terminal, with corrections that are learned meanwhile.

On a terminal: an editable prompt with history; in a pipe: one line is one turn, so that it can be scripted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from homefire.cli import arguments
from homefire.cli.arguments import ModelOption, SessionOption
from homefire.cli.command import Call, command
from homefire.errors import InvalidRequest

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

    Ctrl-C cancels the answer that is coming; at the prompt it leaves. In a pipe each line is a message, and
    /correct waits until it is learned. With --json each turn prints one line.
    """
    from homefire.cli.chat_commands import COMMANDS, Chat, Leave
    from homefire.cli.conversation import Conversation

    route = call.client.get("/v1/route", model=model)
    session_id = arguments.session_id(call, session) if session is not None else None
    held = Chat(call, Conversation(call.client, model=model, session_id=session_id))
    if sys.stdin is not None and sys.stdin.isatty() and call.out.is_terminal:
        from homefire.cli.background import Background
        from homefire.cli.editor import make_editor

        held.background = Background(call)
        held.edit = make_editor(call, [f"/{name}" for name in COMMANDS], held.background)
        call.out.note(f"{route['served_model']} answers. {GREETING}")
    try:
        for text in _lines(held):
            held.take(text)
    except Leave:
        pass
    if held.background is not None:
        held.background.leave()


def _lines(held: Chat) -> Iterator[str]:
    """What the person says, until end of input (or Ctrl-C at the prompt)."""
    if held.edit is None:
        try:
            for line in sys.stdin or ():
                if line.strip():
                    yield line.rstrip("\n")
        except UnicodeDecodeError as error:
            raise InvalidRequest("Standard input is not UTF-8 text.") from error
        return
    while True:
        try:
            text = held.edit("> ", "")
        except (EOFError, KeyboardInterrupt):
            return
        if text.strip():
            yield text
