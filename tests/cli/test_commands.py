from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from homefire.api.native_types import Report
from homefire.training.progress import Progress
from homefire.types import Text, ToolCall
from tests.cli.conftest import Command
from tests.cli.fake_server import RUN, FakeServer, run_view


def test_status_is_one_screen(homefire: Command) -> None:
    result = homefire("status")
    assert result.code == 0
    for words in (
        "version 0.1.0, process 7",
        "1 min 1 s, 70.0 MB of memory",
        "v001",
        "1 correction not yet",
        "ready",
    ):
        assert words in result.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runs", "list"), "2026-11-1"),
        (("runs", "list", "--state", "done"), "8.0 s"),
        (("runs", "show", RUN), "mode = full"),
        (("runs", "pause", RUN, "--why", "later"), "paused"),
        (("runs", "start"), "homefire runs watch"),
        (("queue", "list"), "2 corrections will be in the next run"),
        (("versions", "list"), "homefire versions rollback` goes back to ember"),
        (("versions", "show", "v001"), "sha256:bbbb"),
        (("versions", "compare", "v001", "v002"), "skill add              6 of 6  5 of 6"),
        (("versions", "promote", "v002"), "v002 answers from now on (before: v001)"),
        (("versions", "rollback"), "ember answers again (before: v001)"),
        (("versions", "delete", "v002", "--yes"), "v002 is deleted"),
        (("versions", "verify"), "v002: whole"),
        (("models", "list"), "375,648"),
        (("models", "show", "ember"), "'ember' → 'ember'"),
        (("models", "add", "/tmp/model"), "It can be taught"),
        (("models", "check", "ember"), "Warning: It gives the same answers."),
        (("models", "remove", "ember", "--yes"), "ember is removed"),
        (("models", "verify", "ember"), "every hash matches"),
        (("sessions", "list"), "Hello"),
        (("sessions", "show", "session_1"), "homefire:\nHello"),
        (("sessions", "export", "session_1"), "# Hello"),
    ],
)
def test_each_command_says_what_it_did_and_speaks_json(
    homefire: Command, arguments: tuple[str, ...], words: str
) -> None:
    prose = homefire(*arguments)
    assert prose.code == 0, prose.err
    assert words in prose.out
    assert "\x1b" not in prose.out
    programs = homefire(*arguments, "--json")
    assert programs.code == 0
    assert isinstance(programs.document, dict)


def test_a_comparison_shows_what_differs_and_nothing_else(homefire: Command) -> None:
    different = homefire("versions", "compare", "v001", "v002").out.splitlines()
    assert different[0] == "Weights: 11 of 35 tensors differ: layer 0."
    assert [line.split("  ")[0] for line in different[2:]] == [
        "score protected ratio",
        "skill add",
        "examples of its own",
    ]
    same = homefire("versions", "compare", "v001", "v001").out.splitlines()
    assert same == ["Weights: all 35 tensors are the same.", "Nothing else differs."]


def test_reasons_are_sent_where_they_are_recorded(homefire: Command, server: FakeServer) -> None:
    homefire("runs", "pause", RUN, "--why", "later")
    assert server.state.sent("POST", f"/v1/runs/{RUN}/pause") == [{"why": "later"}]
    homefire("versions", "rollback", "--to", "ember", "--why", "worse")
    assert server.state.sent("POST", "/v1/versions/rollback") == [{"to": "ember", "why": "worse"}]
    homefire("versions", "promote", "v002", "--override", "--why", "I know")
    assert server.state.sent("POST", "/v1/versions/v002/promote") == [{"override": True, "why": "I know"}]


def test_a_broken_version_is_reported_with_exit_code_20(homefire: Command, server: FakeServer) -> None:
    server.state.report = Report(False, ["model.safetensors differs"], 9, 10)
    result = homefire("versions", "verify")
    assert result.code == 20
    assert "v001: BROKEN: model.safetensors differs" in result.out
    assert "v002: whole" in result.out
    result = homefire("models", "verify", "ember", "--json")
    assert result.code == 20
    assert result.document["error"]["code"] == "promise_broken"
    assert result.document["error"]["details"]["reports"][0]["problems"] == ["model.safetensors differs"]


def test_nothing_is_deleted_without_a_yes(homefire: Command, server: FakeServer) -> None:
    result = homefire("versions", "delete", "v002")
    assert result.code == 2
    assert "--yes" in result.err
    assert server.state.sent("DELETE", "/v1/versions/v002") == []


def test_a_model_is_added_by_its_absolute_path(
    homefire: Command, server: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    homefire("models", "add", "folder", "--name", "mine", "--in-place")
    assert server.state.sent("POST", "/v1/homefire/models") == [
        {"path": str(tmp_path / "folder"), "in_place": True, "name": "mine"}
    ]


def test_an_export_never_overwrites(homefire: Command, tmp_path: Path) -> None:
    target = tmp_path / "talk.json"
    assert homefire("sessions", "export", "session_1", str(target)).code == 0
    assert "session_1" in target.read_text()
    again = homefire("sessions", "export", "session_1", str(target))
    assert again.code == 2
    assert "exists already" in again.err
    assert homefire("sessions", "export", "session_1", str(tmp_path / "no" / "dir.md")).code == 2


def test_empty_lists_say_what_to_do(homefire: Command, server: FakeServer) -> None:
    server.state.models.clear()
    server.state.sessions.clear()
    assert "homefire models add" in homefire("models", "list").out
    assert "homefire chat" in homefire("sessions", "list").out
    assert "Nothing waits" in homefire("queue", "list").out


def test_waiting_reasons_are_shown_in_the_queue(homefire: Command, server: FakeServer) -> None:
    server.state.waiting_reason = "training.auto is off."
    assert "Waiting: training.auto is off." in homefire("queue", "list").out


def test_long_reasons_are_cut_in_lists_only(homefire: Command, server: FakeServer) -> None:
    server.state.run = run_view("failed", why="because " * 30)
    assert "…" in homefire("runs", "list").out
    assert ("because " * 30).strip() in homefire("runs", "show", RUN).out


HOSTILE = "one\x1b[2J\x1b]0;t\x07\x9b31m\u202etwo\u2066\u007f\ttab\u00e4\nnext"


def test_an_exported_file_is_safe_to_show(homefire: Command, server: FakeServer, tmp_path: Path) -> None:
    server.state.content = HOSTILE
    markdown, document = tmp_path / "talk.md", tmp_path / "talk.json"
    assert homefire("sessions", "export", "session_1", str(markdown)).code == 0
    assert homefire("sessions", "export", "session_1", str(document)).code == 0
    piped = homefire("sessions", "export", "session_1").out
    as_json = homefire("sessions", "export", "session_1", "--json").out
    for text in (markdown.read_text(), document.read_text(), piped, as_json):
        assert not set(text) & set("\x1b\x07\x9b\u202e\u2066\x7f\r")
    assert markdown.read_text() == piped == "# one[2J]0;t31mtwo\ttabä\nnext\n"
    assert json.loads(document.read_text())["said"] == json.loads(as_json)["said"] == HOSTILE


def test_programs_get_every_character_escaped_and_none_lost(homefire: Command, server: FakeServer) -> None:
    server.state.answer = HOSTILE
    result = homefire("ask", "Hi", "--json")
    assert "\x9b" not in result.out
    assert result.document["text"] == HOSTILE
    assert "\x1b" not in homefire("ask", "Hi").out


def test_an_error_is_one_line_for_programs_that_read_lines(homefire: Command, server: FakeServer) -> None:
    server.state.run = run_view("failed", version=None, promoted=False, why="out of memory")
    server.state.progress = [Progress(run_id=RUN, state="failed", phase="done")]
    result = homefire("runs", "watch", RUN, "--json")
    assert result.code == 14
    progress, error = (json.loads(line) for line in result.out.splitlines())
    assert progress["state"] == "failed"
    assert error["error"]["code"] == "not_learned"


def test_figures_are_words_and_not_python(homefire: Command, server: FakeServer) -> None:
    server.state.run = run_view(
        recipe={"modes": ["full", "lora"], "stop": None, "shuffle": True, "rate": 0.00012345},
        metrics={"by_skill": {"add": 1, "sub": 0.5}, "none": [], "empty": {}},
        why="",
    )
    shown = homefire("runs", "show", RUN).out
    for words in ("modes = full, lora", "stop = -", "shuffle = yes", "rate = 0.0001234", "by_skill = add 1, sub 0.5",
                  "none = -", "empty = -"):  # fmt: skip
        assert words in shown
    for arguments in (("runs", "show", RUN), ("models", "show", "ember"), ("versions", "show", "v001")):
        text = homefire(*arguments).out
        assert not re.search(r"\bNone\b|\bTrue\b|\bFalse\b|\{'|\['|\(\)", text), text


@pytest.mark.parametrize(
    ("num", "words"),
    [(1, "the oldest message did not fit and was left out"), (2, "the oldest 2 messages did not")],
)
def test_one_is_not_many(homefire: Command, server: FakeServer, num: int, words: str) -> None:
    server.state.num_trimmed_messages = num
    assert words in homefire("ask", "Hi").err


def test_a_message_with_parts_is_shown_in_words(homefire: Command, server: FakeServer) -> None:
    server.state.content = (Text("I look."), ToolCall("c1", "look_up", {"what": "key"}))
    shown = homefire("sessions", "show", "session_1").out
    assert 'I look.\n\nCalls `look_up`:\n\n```json\n{\n  "what": "key"\n}\n```' in shown
