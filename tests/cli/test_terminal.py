"""The command line as a person meets it: a real terminal, with keys pressed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from homefire.training.progress import Progress
from tests.cli.fake_server import RUN, FakeServer

CTRL_C, CTRL_D, ENTER, ALT_ENTER = "\x03", "\x04", "\r", "\x1b\r"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x1b\][^\x07]*\x07")
TIMEOUT_S = 20.0


class Terminal:
    """A command in a pseudo-terminal. What it printed is kept without escape sequences."""

    def __init__(self, *arguments: str, environ: dict[str, str]) -> None:
        self._main, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "homefire", *arguments],
            stdin=child, stdout=child, stderr=child, env=environ, start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
        )  # fmt: skip
        os.close(child)
        self.raw = ""

    @property
    def shown(self) -> str:
        return _ESCAPES.sub("", self.raw)

    def press(self, keys: str) -> None:
        os.write(self._main, keys.encode())

    def expect(self, words: str, *, times: int = 1) -> None:
        deadline_s = time.monotonic() + TIMEOUT_S
        while self.shown.count(words) < times:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not self._read(left_s):
                raise AssertionError(f"{words!r} never came; shown: {self.shown!r}")

    def wait(self) -> int:
        while self._read(TIMEOUT_S):
            pass
        return self._process.wait(TIMEOUT_S)

    def leave(self) -> int:
        """Ctrl-D at the prompt (pressed again where the prompt was not there yet)."""
        while self._process.poll() is None:
            self.press(CTRL_D)
            self._read(0.1)
        return self._process.wait()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._main)

    def _read(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self._main], [], [], timeout_s)
        if not ready:
            return False
        try:
            piece = os.read(self._main, 65536)
        except OSError:
            return False
        if "\x1b[6n" in piece.decode(errors="replace"):
            self.press("\x1b[1;1R")
        self.raw += piece.decode(errors="replace")
        return bool(piece)


def wait_for(condition: Callable[[], bool]) -> None:
    """Return when a thing that another thread does has happened."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never happened"
        threading.Event().wait(0.01)


@pytest.fixture
def environ(server: FakeServer, home: Path) -> dict[str, str]:
    home.mkdir()
    return {
        **os.environ,
        "HOMEFIRE_URL": server.url,
        "HOMEFIRE_HOME": str(home),
        "TERM": "xterm",
        "COLUMNS": "100",
    }


@pytest.fixture
def chat(environ: dict[str, str]) -> Iterator[Terminal]:
    terminal = Terminal("chat", environ=environ)
    try:
        terminal.expect("leaves.")
        terminal.expect(">")
        yield terminal
    finally:
        terminal.close()


def test_enter_sends_and_alt_enter_or_a_backslash_begins_a_new_line(
    chat: Terminal, server: FakeServer
) -> None:
    chat.press("one" + ALT_ENTER + "two\\" + ENTER + "three" + ENTER)
    chat.expect("Hello, I am ember.")
    assert server.state.sent("POST", "/v1/chat")[0]["message"] == "one\ntwo\nthree"
    chat.expect("500 tok/s")
    assert chat.leave() == 0


def test_what_was_typed_is_kept_in_the_home_for_its_owner_only(chat: Terminal, home: Path) -> None:
    chat.press("Hi" + ENTER)
    chat.expect("500 tok/s")
    assert chat.leave() == 0
    history = home / "chat_history"
    assert "+Hi" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


def test_ctrl_c_cancels_the_answer_that_is_coming_and_the_chat_goes_on(
    chat: Terminal, server: FakeServer
) -> None:
    server.state.hold = threading.Event()
    chat.press("Hi" + ENTER)
    chat.expect("Hello,")
    chat.press(CTRL_C)
    chat.expect("cancelled")
    wait_for(lambda: server.state.disconnects == 1)
    server.state.hold.set()
    chat.press("Again" + ENTER)
    chat.expect("Hello, I am ember.")
    chat.press("/quit" + ENTER)
    assert chat.wait() == 0


def test_ctrl_c_during_ask_ends_it_with_130_and_cancels_the_answer(
    environ: dict[str, str], server: FakeServer
) -> None:
    server.state.hold = threading.Event()
    terminal = Terminal("ask", "Hi", environ=environ)
    try:
        terminal.expect("Hello,")
        terminal.press(CTRL_C)
        assert terminal.wait() == 130
    finally:
        terminal.close()
    assert "Traceback" not in terminal.shown


def test_correct_opens_an_editor_on_the_answer_and_shows_the_training(
    chat: Terminal, server: FakeServer
) -> None:
    server.state.progress = [
        Progress(
            run_id=RUN, state="running", phase="training", step=5, max_steps=20, loss=0.5, num_examples=1
        ),
        Progress(run_id=RUN, state="done", phase="done", version="v001", promoted=True),
    ]
    chat.press("Hi" + ENTER)
    chat.expect("500 tok/s")
    chat.press("/correct" + ENTER)
    chat.expect("should have been> Hello, I am ember.")
    chat.press("\x15Hello, you." + ENTER)
    chat.expect("version v001 answers from now on.")
    assert server.state.sent("POST", "/v1/feedback")[0]["text"] == "Hello, you."
    assert chat.leave() == 0


def test_a_model_cannot_drive_the_terminal(environ: dict[str, str], server: FakeServer) -> None:
    server.state.answer = "before \x1b[2J\x1b]0;title\x07 after"
    terminal = Terminal("ask", "Hi", environ=environ)
    try:
        terminal.expect("after")
        assert terminal.wait() == 0
    finally:
        terminal.close()
    assert "\x1b[2J" not in terminal.raw
    assert "\x1b]0" not in terminal.raw


def test_tables_have_colour_on_a_terminal(environ: dict[str, str]) -> None:
    terminal = Terminal("runs", "list", environ=environ)
    try:
        terminal.expect("done")
        assert terminal.wait() == 0
    finally:
        terminal.close()
    assert "\x1b[32mdone" in terminal.raw
