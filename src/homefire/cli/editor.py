"""The editable prompt of `chat` on a terminal: several lines, history, completion of commands.

Imported only there (prompt_toolkit costs 0.2 s and 12 MB).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout

from homefire.cli.address import home_root
from homefire.cli.background import Background
from homefire.cli.command import Call
from homefire.cli.output import printable

HISTORY_FILE = "chat_history"
_REFRESH_S = 0.3


def make_editor(call: Call, commands: Iterable[str], background: Background) -> Callable[[str, str], str]:
    """A function (prompt, text to begin with) → what was typed. Raises EOFError and KeyboardInterrupt.

    What is learned in the background is shown below the prompt.
    """
    session: PromptSession[str] = PromptSession(
        history=_history(call),
        key_bindings=_bindings(),
        multiline=True,
        completer=WordCompleter(sorted(commands), sentence=True),
        complete_while_typing=False,
        prompt_continuation=". ",
    )

    def edit(prompt: str, begin: str) -> str:
        with patch_stdout(), background.at_prompt():
            busy = background.is_busy
            session.bottom_toolbar = background.toolbar if busy else None
            session.refresh_interval = _REFRESH_S if busy else 0
            return session.prompt(prompt, default=printable(begin))

    return edit


def _bindings() -> KeyBindings:
    """Enter sends; Alt-Enter, or a backslash before Enter, begins a new line."""
    bindings = KeyBindings()

    @bindings.add("enter")
    def _send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.char_before_cursor == "\\":
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings


def _history(call: Call) -> History:
    """In the home, readable by its owner only; in memory where the home is elsewhere or cannot be written."""
    root = home_root(call.shared.home, os.environ)
    file = root / HISTORY_FILE
    try:
        os.close(os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(file))
