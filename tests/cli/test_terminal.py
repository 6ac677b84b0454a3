"""The command line as a person meets it: a real terminal, with keys pressed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from homefire.training.progress import Progress
from tests.cli.fake_server import RUN, FakeServer, correction_view, run_view

CTRL_C, CTRL_D, ENTER, ALT_ENTER = "\x03", "\x04", "\r", "\x1b\r"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x1b\][^\x07]*\x07")
TIMEOUT_S = 60.0


def _take_terminal() -> None:
    """The child's own terminal; and Ctrl-C works also where these tests run with SIGINT ignored."""
    os.close(os.open(os.ttyname(0), os.O_RDWR))
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Terminal:
    """A command in a pseudo-terminal. What it printed is kept without escape sequences."""

    def __init__(self, *arguments: str, environ: dict[str, str], width: int = 100) -> None:
        self._main, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "homefire", *arguments],
            stdin=child, stdout=child, stderr=child, env=environ, start_new_session=True,
            preexec_fn=_take_terminal,
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
        # A terminal's own width counts, not one that was set for this process.
        **{name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")},
        "HOMEFIRE_URL": server.url,
        "HOMEFIRE_HOME": str(home),
        "TERM": "xterm",
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


def training(*, ends: bool = True) -> list[Progress]:
    """A run that learns, and (with `ends`) its end."""
    last = Progress(run_id=RUN, state="done", phase="done", version="v001", promoted=True)
    return [
        Progress(
            run_id=RUN, state="running", phase="training", step=5, max_steps=20, loss=0.5, num_examples=1
        ),
        *([last] if ends else []),
    ]


def test_the_chat_goes_on_while_a_correction_is_learned(chat: Terminal, server: FakeServer) -> None:
    server.state.progress = training()
    server.state.hold_progress = threading.Event()
    chat.press("Hi" + ENTER)
    chat.expect("500 tok/s")
    chat.press("/correct" + ENTER)
    chat.expect("should have been> Hello, I am ember.")
    chat.press("\x15Hello, you." + ENTER)
    chat.expect("it is being learned; you can keep chatting")
    chat.expect("0/1 learned 5/20")
    chat.press("And you?" + ENTER)
    chat.expect("500 tok/s", times=2)
    assert "answers from now on" not in chat.shown
    server.state.hold_progress.set()
    chat.expect("version v001 answers from now on.")
    assert server.state.sent("POST", "/v1/feedback")[0]["text"] == "Hello, you."
    assert [body["message"] for body in server.state.sent("POST", "/v1/chat")] == ["Hi", "And you?"]
    assert chat.leave() == 0


def test_leaving_says_what_is_still_being_learned(chat: Terminal, server: FakeServer) -> None:
    server.state.progress = training()
    server.state.hold_progress = threading.Event()
    chat.press("Hi" + ENTER)
    chat.expect("500 tok/s")
    chat.press("/correct Hello, you." + ENTER)
    chat.expect("0/1 learned 5/20")
    chat.press("/quit" + ENTER)
    chat.expect("1 correction is still being learned; see `homefire runs list`")
    assert chat.wait() == 0


def test_a_correction_that_fails_in_the_background_says_why(chat: Terminal, server: FakeServer) -> None:
    server.state.progress = training()
    server.state.run = run_view("failed", version=None, promoted=False, why="out of memory")
    server.state.after_run = correction_view("waiting")
    chat.press("Hi" + ENTER)
    chat.expect("500 tok/s")
    chat.press("/correct Hello, you." + ENTER)
    chat.expect("not learned: The run ended as failed: out of memory")
    assert chat.leave() == 0


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "waiting for the first word"),
        ({"is_loading": True}, "loading v001"),
        ({"num_waiting": 3}, "waiting in the queue, place 3 of 3"),
    ],
)
def test_a_wait_is_shown_with_its_reason_and_leaves_no_trace(
    environ: dict[str, str], server: FakeServer, state: dict[str, Any], words: str
) -> None:
    server.state.hold_first = threading.Event()
    for name, value in state.items():
        setattr(server.state, name, value)
    terminal = Terminal("ask", "Hi", environ=environ)
    try:
        terminal.expect(words)
        server.state.hold_first.set()
        assert terminal.wait() == 0
    finally:
        terminal.close()
    after = terminal.raw.rpartition("\r\x1b[2K")[2]
    assert _ESCAPES.sub("", after).splitlines()[0] == "Hello, I am ember."


def test_a_wait_that_is_interrupted_leaves_no_trace(environ: dict[str, str], server: FakeServer) -> None:
    server.state.hold_first = threading.Event()
    terminal = Terminal("ask", "Hi", environ=environ)
    try:
        terminal.expect("waiting for the first word")
        terminal.press(CTRL_C)
        assert terminal.wait() == 130
    finally:
        terminal.close()
    assert terminal.raw.rpartition("\x1b[2K")[2].strip("^C\r\n") == ""


LISTS = [("runs", "list"), ("queue", "list"), ("versions", "list"), ("models", "list"), ("sessions", "list"),
         ("status",), ("config", "show", "--origin"), ("versions", "show", "v001"), ("runs", "show", RUN),
         ("models", "show", "ember")]  # fmt: skip


@pytest.mark.parametrize("arguments", LISTS)
def test_everything_can_be_read_at_60_columns(
    environ: dict[str, str], server: FakeServer, arguments: tuple[str, ...]
) -> None:
    """No line is wider, except for one long word (a hash, a path) that stands on its own line."""
    server.state.open_runs = [run_view("queued", why="because " * 20)]
    server.state.run = run_view("failed", why="because " * 20)
    narrow, wide = Terminal(*arguments, environ=environ, width=60), Terminal(*arguments, environ=environ)
    try:
        assert narrow.wait() == wide.wait() == 0
    finally:
        narrow.close()
        wide.close()
    for line in narrow.shown.splitlines():
        is_prose = "`" in line or line.startswith("home /")
        assert is_prose or len(line) <= 60 or len(line.split()) <= 3, line
    cells = {word for word in wide.shown.split() if len(word) > 3 and "…" not in word and not word.isupper()}
    assert cells <= set(narrow.shown.split())


def test_no_colour_where_it_is_not_wanted(environ: dict[str, str]) -> None:
    for wish in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        terminal = Terminal("runs", "list", environ={**environ, **wish})
        try:
            assert terminal.wait() == 0
        finally:
            terminal.close()
        assert "\x1b" not in terminal.raw


@pytest.mark.parametrize(("answer", "code", "num_removed"), [("y", 0, 1), ("n", 130, 0), (CTRL_C, 130, 0)])
def test_a_person_is_asked_before_something_is_gone(
    environ: dict[str, str], server: FakeServer, answer: str, code: int, num_removed: int
) -> None:
    terminal = Terminal("models", "remove", "ember", environ=environ)
    try:
        terminal.expect("Remove ember?")
        terminal.press(answer + ENTER)
        assert terminal.wait() == code
    finally:
        terminal.close()
    assert len(server.state.sent("DELETE", "/v1/homefire/models/ember")) == num_removed
    assert "Traceback" not in terminal.shown


HOSTILE = "before \x1b[2J\x1b]0;title\x07 \x9b31m \u202ereversed\u2066 \rback\x08 after\u00e4"


@pytest.mark.parametrize(
    "arguments", [("ask", "Hi"), ("sessions", "show", "session_1"), ("sessions", "list"), ("runs", "list"),
                  ("runs", "show", RUN), ("sessions", "export", "session_1"), ("ask", "--session", HOSTILE, "x")]
)  # fmt: skip
def test_what_others_wrote_cannot_drive_the_terminal(
    environ: dict[str, str], server: FakeServer, arguments: tuple[str, ...]
) -> None:
    server.state.answer = server.state.content = HOSTILE
    server.state.run = run_view("failed", why=HOSTILE)
    server.state.sessions[:] = [msgspec.structs.replace(server.state.sessions[0], title=HOSTILE)]
    terminal = Terminal(*arguments, environ=environ)
    try:
        terminal.wait()
    finally:
        terminal.close()
    shown = re.sub(r"\x1b\[(?:[0-9;]*m|2K)", "", terminal.raw.replace("\r\n", "\n")).replace("\r", "", 1000)
    assert "\x1b" not in shown
    for harmful in ("\x9b", "\u202e", "\u2066", "\x07", "\x08"):
        assert harmful not in terminal.raw
    assert "\rback" not in terminal.raw


def test_tables_have_colour_on_a_terminal(environ: dict[str, str]) -> None:
    terminal = Terminal("runs", "list", environ=environ)
    try:
        terminal.expect("done")
        assert terminal.wait() == 0
    finally:
        terminal.close()
    assert "\x1b[32mdone" in terminal.raw
