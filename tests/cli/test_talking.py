from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from homefire.errors import EngineCrashed, QueueFull
from homefire.training.progress import Progress
from tests.cli.conftest import Command
from tests.cli.fake_server import EARLIER, RUN, FakeServer, correction_view, report, run_view


def steps() -> list[Progress]:
    """A run from the queue to its promotion."""
    return [
        Progress(run_id=RUN, state="queued", phase="waiting"),
        Progress(
            run_id=RUN, state="running", phase="training", step=5, max_steps=20, loss=0.5, num_examples=1
        ),
        Progress(
            run_id=RUN, state="running", phase="training", step=6, max_steps=20, loss=0.4, num_examples=1
        ),
        Progress(
            run_id=RUN, state="running", phase="gating", step=20, max_steps=20, num_probed=3, num_probes=9
        ),
        Progress(
            run_id=RUN, state="done", phase="done", step=20, max_steps=20, version="v001", promoted=True
        ),
    ]


def test_the_answer_alone_goes_to_standard_output(homefire: Command) -> None:
    for arguments in (("ask", "Hi"), ("ask", "Hi", "--no-stream")):
        result = homefire(*arguments)
        assert (result.code, result.out, result.err) == (0, "Hello, I am ember.\n", "")


def test_a_question_can_come_from_standard_input(homefire: Command, server: FakeServer) -> None:
    homefire("ask", "-", stdin="What is\n2 + 3?\n")
    assert server.state.sent("POST", "/v1/chat")[0]["message"] == "What is\n2 + 3?"
    assert homefire("ask", "-", stdin="  \n").code == 2


def test_every_option_of_ask_is_sent_and_nothing_else(
    homefire: Command, server: FakeServer, tmp_path: Path
) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    homefire(
        "ask", "Hi", "-m", "ember", "-s", "session_1", "--system", "Be brief.", "--max-tokens", "9",
        "--temperature", "0.5", "--seed", "3", "--json-schema", str(schema),
    )  # fmt: skip
    homefire("ask", "Hi")
    first, second = server.state.sent("POST", "/v1/chat")
    assert first == {
        "message": "Hi", "model": "ember", "session_id": "session_1", "system": "Be brief.", "max_tokens": 9,
        "temperature": 0.5, "seed": 3, "json_schema": {"type": "object"}, "channel": "cli", "stream": True,
    }  # fmt: skip
    assert second == {"message": "Hi", "channel": "cli", "stream": True}


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_schema_that_is_none_is_refused_before_anything_is_asked(
    homefire: Command, server: FakeServer, tmp_path: Path, content: str | None
) -> None:
    schema = tmp_path / "schema.json"
    if content is not None:
        schema.write_text(content)
    assert homefire("ask", "Hi", "--json-schema", str(schema)).code == 2
    assert server.state.sent("POST", "/v1/chat") == []


def test_an_answer_that_was_cut_or_trimmed_is_never_shown_without_saying_so(
    homefire: Command, server: FakeServer
) -> None:
    server.state.stop_reason = "length"
    server.state.num_trimmed_messages = 4
    result = homefire("ask", "Hi")
    assert "cut off by the token limit" in result.err
    assert "the oldest 4 messages did not fit" in result.err


def test_ask_gives_programs_the_whole_answer(homefire: Command) -> None:
    document = homefire("ask", "Hi", "--json").document
    assert document["text"] == "Hello, I am ember."
    assert document["served_model"] == "ember"
    assert document["usage"]["completion_tokens"] == 5


def test_an_engine_that_dies_in_the_middle_is_an_error_after_the_partial_answer(
    homefire: Command, server: FakeServer
) -> None:
    server.state.error_after_deltas = EngineCrashed("The engine died.")
    result = homefire("ask", "Hi")
    assert result.code == 8
    assert "error: The engine died." in result.err


def test_chat_in_a_pipe_takes_one_line_a_turn_in_one_session(homefire: Command, server: FakeServer) -> None:
    result = homefire("chat", stdin="Hi\n\nAgain\n/quit\nnever\n")
    assert result.code == 0
    assert result.out == "Hello, I am ember.\n" * 2
    assert "ember · 500 tok/s · 5 tokens" in result.err
    first, second = server.state.sent("POST", "/v1/chat")
    assert "session_id" not in first
    assert (second["message"], second["session_id"]) == ("Again", "session_1")


def test_thumbs_and_corrections_judge_the_last_answer(homefire: Command, server: FakeServer) -> None:
    server.state.progress = steps()
    result = homefire("chat", stdin="Hi\n/good\n/bad\n/correct Hello, you.\n")
    assert server.state.sent("POST", "/v1/feedback") == [
        {"turn_id": "turn_1", "verdict": "good"},
        {"turn_id": "turn_1", "verdict": "bad"},
        {"turn_id": "turn_1", "verdict": "correction", "text": "Hello, you."},
    ]
    assert "version v001 answers from now on" in result.out


def test_the_other_slash_commands(homefire: Command, server: FakeServer, tmp_path: Path) -> None:
    target = tmp_path / "talk.md"
    lines = [
        "/route",
        "/model ember",
        "Hi",
        "/route",
        "/regenerate",
        f"/export {target}",
        "/new",
        "Hi",
        "/help",
        "/model",
    ]
    result = homefire("chat", stdin="\n".join(lines))
    assert result.code == 0
    bodies = server.state.sent("POST", "/v1/chat")
    assert [body["model"] for body in bodies] == ["ember"] * 3
    assert bodies[1]["replaces_turn_id"] == "turn_1"
    assert "message" not in bodies[1]
    assert "session_id" not in bodies[2]
    assert target.read_text() == "# Hello\n"
    for words in ("ember: 'default' → 'ember'", "/correct [TEXT]", f"Written to {target}"):
        assert words in result.out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/good", "no answer yet"),
        ("/correct x", "no answer yet"),
        ("/regenerate", "no answer yet"),
        ("/export", "nothing to export"),
        ("/model embr", "no model 'embr'"),
        ("/god", "no command /god"),
    ],
)
def test_a_mistake_in_chat_is_explained_and_the_conversation_goes_on(
    homefire: Command, line: str, words: str
) -> None:
    result = homefire("chat", stdin=f"{line}\nHi\n")
    assert result.code == 0
    assert words in result.err
    assert result.out == "Hello, I am ember.\n"


def test_an_error_of_the_server_does_not_end_the_chat(homefire: Command, server: FakeServer) -> None:
    server.state.chat_error = QueueFull("Too many wait.")
    result = homefire("chat", stdin="Hi\nHi\n")
    assert result.code == 0
    assert result.err.count("error: Too many wait.") == 2


def test_chat_gives_programs_one_line_a_turn(homefire: Command) -> None:
    result = homefire("chat", "--json", stdin="Hi\nHi\n")
    assert len(result.out.splitlines()) == 2
    assert all('"text":"Hello, I am ember."' in line for line in result.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (("What?", "That."), "/v1/corrections", {"prompt": "What?", "answer": "That."}),
        (
            ("--last", "That."),
            "/v1/feedback",
            {"turn_id": "turn_1", "verdict": "correction", "text": "That."},
        ),
        (
            ("--turn", "t9", "That."),
            "/v1/feedback",
            {"turn_id": "t9", "verdict": "correction", "text": "That."},
        ),
        (("What?", "-"), "/v1/corrections", {"prompt": "What?", "answer": "from stdin"}),
    ],
)
def test_a_correction_names_a_prompt_the_last_answer_or_a_turn(
    homefire: Command, server: FakeServer, arguments: tuple[str, ...], path: str, body: dict[str, Any]
) -> None:
    result = homefire("correct", *arguments, "--no-wait", stdin="from stdin\n")
    assert result.code == 0
    assert "Written down" in result.out
    assert server.state.sent("POST", path) == [body]


@pytest.mark.parametrize(
    "arguments", [("one",), ("--last", "a", "b"), ("--last", "--turn", "t", "a"), ("", "x")]
)
def test_a_correction_that_is_unclear_is_refused(homefire: Command, arguments: tuple[str, ...]) -> None:
    assert homefire("correct", *arguments).code == 2


def test_there_may_be_no_last_answer(homefire: Command, server: FakeServer) -> None:
    server.state.sessions.clear()
    assert homefire("correct", "--last", "x").code == 4


def test_waiting_for_a_correction_shows_each_phase_once_and_ends_with_the_verdict(
    homefire: Command, server: FakeServer
) -> None:
    server.state.progress = steps()
    result = homefire("correct", "What?", "That.", "--wait")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[:4] == [
        "queued",
        "training · loss 0.500 · 0/1 learned 5/20",
        "training · loss 0.400 · 0/1 learned 6/20",
        "gating 3/9",
    ]
    assert lines[-1].startswith("Learned after ")
    assert lines[-1].endswith("version v001 answers from now on.")


def test_programs_get_the_progress_as_json_lines(homefire: Command, server: FakeServer) -> None:
    server.state.progress = steps()
    result = homefire("runs", "watch", RUN, "--json")
    assert result.code == 0
    assert len(result.out.splitlines()) == len(steps())


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (
            run_view("failed", version=None, promoted=False, why="out of memory"),
            "ended as failed: out of memory",
        ),
        (
            run_view("refused", promoted=False, gate_passed=False, gate_report=report("v001", passed=False)),
            "the correction was not learned. It was not learned after 9 steps. A shorter answer helps.",
        ),
        (
            run_view(),
            "Version v001 is live without this correction. It was not learned after 9 steps.",
        ),
    ],
)
def test_a_run_that_taught_nothing_exits_with_14_and_the_reason(
    homefire: Command, server: FakeServer, run: Any, words: str
) -> None:
    server.state.progress = steps()
    server.state.run = run
    server.state.after_run = correction_view(
        "refused", why="It was not learned after 9 steps.", helps="A shorter answer helps.", run_id=RUN
    )
    result = homefire("correct", "What?", "That.", "--wait")
    assert result.code == 14
    assert words in " ".join(result.err.split())


def test_waiting_ends_where_no_run_will_come(homefire: Command, server: FakeServer) -> None:
    server.state.run = run_view(run_id=EARLIER)
    server.state.waiting_reason = "training.auto is off."
    result = homefire("correct", "What?", "That.", "--wait")
    assert result.code == 14
    assert "training.auto is off." in result.err
