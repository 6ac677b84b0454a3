"""The command line between other programs: pipes that close, input that is piped in, streams that are missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from homefire.cli import stdin
from tests.cli.conftest import Command
from tests.cli.fake_server import FakeServer

HOMEFIRE = (sys.executable, "-m", "homefire")


@pytest.fixture
def environ(server: FakeServer, home: Path) -> dict[str, str]:
    return {**os.environ, "HOMEFIRE_URL": server.url, "HOMEFIRE_HOME": str(home)}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("runs", "--help"),
        ("runs",),
        ("config", "show"),
        ("config", "schema"),
        ("runs", "list"),
        ("status", "--json"),
        ("ask", "Hi"),
        ("sessions", "export", "session_1"),
        ("runs", "lisst"),
        ("models", "show", "no", "--json"),
    ],
)
@pytest.mark.parametrize("closed", ["stdout", "both"])
def test_a_reader_that_goes_away_ends_a_command_without_a_word(
    environ: dict[str, str], arguments: tuple[str, ...], closed: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*HOMEFIRE, *arguments],
        env=environ, stdin=subprocess.DEVNULL, stdout=writer,
        stderr=writer if closed == "both" else subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode in (0, 2, 4, 141)
    assert b"Traceback" not in (done.stderr or b"")
    assert b"BrokenPipe" not in (done.stderr or b"")


def test_output_that_nobody_can_take_is_reported_once(environ: dict[str, str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*HOMEFIRE, "runs", "list"],
            env=environ, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 9
    assert done.stderr.startswith("error: The output cannot be written: its disk is full.")
    assert "Exception" not in done.stderr


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_error(environ: dict[str, str], redirection: str) -> None:
    shell = f'exec "$@" {redirection}'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *HOMEFIRE, "ask", "Hi"],
        env=environ,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_locale_without_the_characters_shows_their_codes(
    environ: dict[str, str], server: FakeServer
) -> None:
    server.state.answer = "grün →"
    done = subprocess.run(
        [*HOMEFIRE, "ask", "Hi"],
        env={**environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"gr\\xfcn \\u2192\n"), done.stderr


def ask(environ: dict[str, str], *arguments: str, given: bytes | None) -> int:
    """`homefire ask …` with this on a pipe to its standard input; with `/dev/null` for None."""
    source = {"input": given} if given is not None else {"stdin": subprocess.DEVNULL}
    done = subprocess.run(
        [*HOMEFIRE, "ask", *arguments], env=environ, capture_output=True, timeout=60, check=False, **source
    )  # type: ignore[call-overload]
    return int(done.returncode)


def test_what_is_piped_in_is_put_below_the_question(environ: dict[str, str], server: FakeServer) -> None:
    assert ask(environ, "Sum this up.", given=b"one\r\ntwo \xc3\xa4\n") == 0
    assert ask(environ, given=b"What is\n2 + 3?\n") == 0
    assert ask(environ, "-", given=b"And 4?") == 0
    assert ask(environ, "Alone", given=b"") == 0
    assert ask(environ, "Alone", given=None) == 0
    sent = [body["message"] for body in server.state.sent("POST", "/v1/chat")]
    assert sent == ["Sum this up.\n\none\ntwo ä", "What is\n2 + 3?", "And 4?", "Alone", "Alone"]


def test_a_file_is_read_like_a_pipe(environ: dict[str, str], server: FakeServer, tmp_path: Path) -> None:
    note = tmp_path / "note.md"
    note.write_text("the note\n")
    with note.open() as opened:
        done = subprocess.run([*HOMEFIRE, "ask", "Read"], env=environ, stdin=opened, timeout=60, check=False)
    assert done.returncode == 0
    assert server.state.sent("POST", "/v1/chat")[0]["message"] == "Read\n\nthe note"


@pytest.mark.parametrize(
    ("arguments", "given"),
    [((), b""), ((), None), (("-",), b" \n"), (("-",), None), (("Q",), b"\xff\xfe\x00")],
)
def test_input_without_a_question_or_that_is_not_text_is_refused(
    environ: dict[str, str], server: FakeServer, arguments: tuple[str, ...], given: bytes | None
) -> None:
    assert ask(environ, *arguments, given=given) == 2
    assert server.state.sent("POST", "/v1/chat") == []


def test_a_terminal_is_not_piped_input(monkeypatch: pytest.MonkeyPatch) -> None:
    main, child = os.openpty()
    try:
        with os.fdopen(child, "r") as terminal:
            monkeypatch.setattr(sys, "stdin", terminal)
            assert not stdin.is_given()
    finally:
        os.close(main)
    assert not stdin.is_given(), "it was closed"


def test_a_chat_in_a_pipe_refuses_what_is_not_text(environ: dict[str, str], server: FakeServer) -> None:
    done = subprocess.run(
        [*HOMEFIRE, "chat"], env=environ, input=b"\xff\n", capture_output=True, timeout=60, check=False
    )
    assert b"UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr
    assert server.state.sent("POST", "/v1/chat") == []


@pytest.mark.parametrize(
    "arguments", [("correct", "What?", "That.", "--wait"), ("ask", "Hi"), ("runs", "watch")]
)
def test_ctrl_c_is_never_a_traceback(
    environ: dict[str, str], server: FakeServer, arguments: tuple[str, ...]
) -> None:
    server.state.hold_everything.set()
    process = subprocess.Popen(
        [*HOMEFIRE, *arguments], env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        assert server.state.arrived.wait(30)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        server.state.hold_everything.clear()
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_options_after_two_dashes_are_words(homefire: Command, server: FakeServer) -> None:
    assert homefire("ask", "--", "--json").out == "Hello, I am ember.\n"
    assert homefire("models", "show", "--", "--json").err.startswith("error:")
