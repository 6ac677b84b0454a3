"""What a dialect says becomes message parts, whole: nothing is lost, nothing is added, and it takes linear time."""

from __future__ import annotations

import json
import sys
from typing import Any, get_args

import msgspec
import pytest

from homefire.api.anthropic import AnthropicMessages
from homefire.api.native_chat import NativeChat
from homefire.api.ollama import OllamaChat, keep_alive_s
from homefire.api.openai import OpenAIChat
from homefire.api.translation import CallHistory
from homefire.chat.request import ChatRequest, Ended, Principal, Started
from homefire.errors import InvalidRequest, UnsupportedParameter
from homefire.types import Message, Reasoning, StopReason, Text, Timings, ToolCall, ToolResult, Usage

HI = Message("user", "hi")
STARTED = Started(turn_id="t", session_id="s", model="default", served_model="ember", route_reason="")
TRANSLATORS: dict[str, Any] = {
    "openai": OpenAIChat(),
    "anthropic": AnthropicMessages(),
    "ollama": OllamaChat(None),  # type: ignore[arg-type]  # asked only for num_ctx
    "native": NativeChat(default_model="default"),
}


def translated(dialect: str, messages: Any, **fields: Any) -> ChatRequest:
    body = {"model": "default", "messages": messages, **fields}
    if dialect == "anthropic":
        body.setdefault("max_tokens", 40)
    result = TRANSLATORS[dialect](json.dumps(body).encode(), Principal())
    request: ChatRequest = result[0]
    return request


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(**fields: Any) -> dict[str, Any]:
    return {"role": "assistant", **fields}


def result_of(call_id: str, text: str, **fields: Any) -> Message:
    return Message("tool", (ToolResult(call_id, (Text(text),) if text else (), **fields),))


# One history in each dialect's words: a thought, text and two calls; their results in the other order; a question.

ASKED = Message(
    "assistant",
    (
        Reasoning("Two places."),
        Text("Let me see."),
        ToolCall("call_1", "weather", {"city": "Rome", "days": 2}),
        ToolCall("call_2", "clock", {}),
    ),
)
TALK = (HI, ASKED, result_of("call_2", "noon"), result_of("call_1", "sunny"), Message("user", "And?"))


def openai_call(call_id: str, name: str, arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": call_id, "type": "function", "function": function}


WORDS: dict[str, Any] = {
    "openai": [
        user("hi"),
        said(
            content=[{"type": "text", "text": "Let me "}, {"type": "text", "text": "see."}],
            reasoning_content="Two places.",
            tool_calls=[
                openai_call("call_1", "weather", {"city": "Rome", "days": 2}),
                openai_call("call_2", "clock", {}),
            ],
        ),
        {"role": "tool", "tool_call_id": "call_2", "content": "noon", "name": "clock"},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "sunny"}]},
        user("And?"),
    ],
    "anthropic": [
        user([{"type": "text", "text": "hi"}]),
        said(
            content=[
                {"type": "thinking", "thinking": "Two places.", "signature": ""},
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Rome", "days": 2}},
                {"type": "tool_use", "id": "call_2", "name": "clock", "input": {}},
            ]
        ),
        user([{"type": "tool_result", "tool_use_id": "call_2", "content": "noon"}]),
        user(
            [
                {
                    "type": "tool_result",
                    "tool_use_id": "call_1",
                    "content": [{"type": "text", "text": "sunny"}],
                    "is_error": False,
                },
                {"type": "text", "text": "And?"},
            ]
        ),
    ],
    "ollama": [
        user("hi"),
        said(
            content="Let me see.",
            thinking="Two places.",
            tool_calls=[
                {"function": {"name": "weather", "arguments": {"city": "Rome", "days": 2}}},
                {"function": {"name": "clock", "arguments": {}}},
            ],
        ),
        {"role": "tool", "tool_name": "clock", "content": "noon"},
        {"role": "tool", "content": "sunny"},
        user("And?"),
    ],
    "native": msgspec.to_builtins(TALK),
}


@pytest.mark.parametrize("dialect", WORDS)
def test_the_same_history_is_the_same_in_every_dialect(dialect: str) -> None:
    assert translated(dialect, WORDS[dialect]).messages == TALK


def test_neighbouring_results_of_anthropic_stay_one_message_and_text_between_them_keeps_its_place() -> None:
    first = {"type": "tool_result", "tool_use_id": "a", "content": "x", "is_error": True}
    second = {"type": "tool_result", "tool_use_id": "b"}
    text = {"type": "text", "text": "and"}
    calls = said(content=[{"type": "tool_use", "id": i, "name": "f", "input": {}} for i in "ab"])
    together = translated("anthropic", [user("hi"), calls, user([first, second, text])]).messages
    both = Message("tool", (ToolResult("a", (Text("x"),), is_error=True), ToolResult("b", ())))
    assert together[2:] == (both, Message("user", "and"))
    apart = translated("anthropic", [user("hi"), calls, user([first, text, text, second])]).messages
    assert apart[2:] == (
        result_of("a", "x", is_error=True),
        Message("user", "andand"),
        result_of("b", ""),
    )


def test_a_thoughts_signature_is_kept() -> None:
    block = {"type": "thinking", "thinking": "Hm.", "signature": "proof"}
    (_, answer, _) = translated("anthropic", [user("hi"), said(content=[block]), user("x")]).messages
    assert answer == Message("assistant", (Reasoning("Hm.", "proof"),))


def test_the_older_functions_of_openai_are_calls_with_ids_of_their_own() -> None:
    turns = [
        (
            said(content=None, function_call={"name": name, "arguments": "{}"}),
            {"role": "function", "name": name},
        )
        for name in ("f", "g", "f")
    ]
    history = [{**message, "content": message.get("content", "x")} for pair in turns for message in pair]
    history = [{**message, "content": None} if "function_call" in message else message for message in history]
    messages = translated("openai", [user("hi"), *history]).messages
    calls = [part for message in messages for part in message.parts if isinstance(part, ToolCall)]
    results = [part for message in messages for part in message.parts if isinstance(part, ToolResult)]
    assert [call.call_id for call in calls] == ["call_1", "call_2", "call_3"]
    assert [result.call_id for result in results] == ["call_1", "call_2", "call_3"]


def test_a_result_without_an_id_belongs_to_the_oldest_open_call_of_its_name() -> None:
    calls = CallHistory()
    ids = [calls.add(name) for name in ("f", "g", "f")]
    assert [calls.close_first("f"), calls.close_first(None), calls.close_first("f")] == [
        ids[0],
        ids[1],
        ids[2],
    ]
    assert calls.close_first(None) is None
    given = calls.add("h", "mine")
    calls.close(given)
    assert calls.close_first("h") is None


@pytest.mark.parametrize("part", [0, 1])
def test_attachments_are_refused_by_their_place(part: int) -> None:
    attachment = {"type": "attachment", "sha256": "0" * 64, "media_type": "image/png", "size_bytes": 1}
    text = {"type": "text", "text": "What is this?"}
    content = [attachment, text] if part == 0 else [text, attachment]
    with pytest.raises(UnsupportedParameter) as refused:
        translated("native", [user(content)])
    assert refused.value.details["param"] == f"messages[0].content[{part}]"


def test_a_field_of_a_native_message_is_never_ignored() -> None:
    with pytest.raises(UnsupportedParameter) as refused:
        translated("native", [{**user("hi"), "name": "ada"}])
    assert refused.value.details["param"] == "messages[0].name"


@pytest.mark.parametrize("dialect", TRANSLATORS)
def test_numbers_of_any_size_pass_through_arguments_or_are_refused(dialect: str) -> None:
    """Whatever arguments hold, the request is translated or the field is to blame."""
    for text in ("123456789012345678901234567890", "1e400", "[" * 2000 + "]" * 2000):
        raw = f'{{"x":{text}}}'
        call = {
            "openai": {"id": "a", "type": "function", "function": {"name": "f", "arguments": raw}},
            "anthropic": {"type": "tool_use", "id": "a", "name": "f", "input": "RAW"},
            "ollama": {"id": "a", "function": {"name": "f", "arguments": "RAW"}},
            "native": {"type": "tool_call", "call_id": "a", "name": "f", "arguments": "RAW"},
        }[dialect]
        answer = said(content=[call]) if dialect in ("anthropic", "native") else said(tool_calls=[call])
        body = {"model": "default", "messages": [user("hi"), answer, user("x")]}
        if dialect == "anthropic":
            body["max_tokens"] = 5
        encoded = json.dumps(body).replace('"RAW"', raw).encode()
        try:
            request, _ = TRANSLATORS[dialect](encoded, Principal())
        except InvalidRequest as error:
            blamed = error.details.get("param", "messages")
        else:
            blamed = "messages"
            msgspec.json.encode(request.messages)
        assert "messages" in blamed


def test_a_duration_is_read_as_go_reads_it() -> None:
    assert [keep_alive_s(text) for text in ("5m", "1h30m", "-1s", "0", "1.5s", "100ms")] == [
        300, 5400, -1, 0, 1.5, 0.1,
    ]  # fmt: skip
    assert [keep_alive_s(value) for value in (None, 0, -1, 2.5)] == [None, 0, -1, 2.5]
    for text in ("", "5", "m", "5 m", "5m!", "1d", "٣m", "5m\n"):
        with pytest.raises(InvalidRequest) as refused:
            keep_alive_s(text)
        assert refused.value.details["param"] == "keep_alive"


def long_history(dialect: str, num_turns: int) -> bytes:
    middle = [message for _ in range(num_turns) for message in WORDS[dialect][:-1]]
    body = {"model": "default", "messages": [*middle, user("And?")]}
    if dialect == "anthropic":
        body["max_tokens"] = 5
    return json.dumps(body).encode()


def num_steps(dialect: str, body: bytes) -> int:
    """Calls of functions, Python's and native ones, while a body is translated."""
    steps = 0

    def count(*_: Any) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    try:
        TRANSLATORS[dialect](body, Principal())
    finally:
        sys.setprofile(None)
    return steps


@pytest.mark.parametrize("dialect", WORDS)
def test_translating_takes_steps_in_proportion_to_the_messages(dialect: str) -> None:
    few, many = (num_steps(dialect, long_history(dialect, num_turns)) for num_turns in (100, 400))
    assert few < many < 4.1 * few


def test_open_calls_without_results_cost_no_more_than_their_number() -> None:
    """Planted bug it notices: looking through all open calls for each result."""
    calls = CallHistory()
    steps = 0

    class Counted(dict[str, None]):
        def __contains__(self, key: object) -> bool:
            nonlocal steps
            steps += 1
            return super().__contains__(key)

    calls._open = Counted()
    for number in range(1000):
        calls.add(f"f{number % 7}")
    for number in range(1000):
        calls.close_first(f"f{number % 7}" if number % 2 else None)
    assert steps <= 2000


STOPS = {
    "openai": ("stop", "length", "length", "tool_calls", "stop"),
    "anthropic": ("end_turn", "max_tokens", "model_context_window_exceeded", "tool_use", "end_turn"),
    "ollama": ("stop", "length", "length", "stop", "stop"),
    "native": ("stop", "length", "context", "tool_call", "cancelled"),
}


@pytest.mark.parametrize("dialect", STOPS)
def test_why_an_answer_ended_is_said_in_the_dialects_words(dialect: str) -> None:
    body = {"model": "default", "messages": [user("hi")], "stream": False}
    if dialect == "anthropic":
        body["max_tokens"] = 5
    _, encoder = TRANSLATORS[dialect](json.dumps(body).encode(), Principal())
    for reason, word in zip(get_args(StopReason), STOPS[dialect], strict=True):
        ended = Ended(
            turn_id="t",
            message_id="m",
            text="x",
            stop_reason=reason,
            stop_string=None,
            usage=Usage(prompt_tokens=3, completion_tokens=1),
            timings=Timings(),
        )
        answer = json.loads(encoder.whole(STARTED, [], ended))
        found = (answer.get("choices") or [{}])[0].get("finish_reason")
        assert (found or answer.get("stop_reason") or answer.get("done_reason")) == word
        if dialect != "native":
            assert word.encode() in encoder.ended(ended)
