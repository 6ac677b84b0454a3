"""The official clients against `homefire up` with the bundled model: nothing is a stand-in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import ollama
import openai
import pytest

from tests.support.server import LiveServer, running_server

SUM: Any = [{"role": "user", "content": "What is 3 + 4?"}]
SCHEMA = {
    "type": "object",
    "properties": {"sum": {"type": "integer"}},
    "required": ["sum"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running_server(tmp_path_factory.mktemp("end_to_end") / "home") as server:
        yield server


def key_of(server: LiveServer) -> str:
    return (server.home / "credentials" / "api_key").read_text().strip()


def test_all_dialects_give_the_same_right_answer_and_the_same_counts(server: LiveServer) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key_of(server), max_retries=0) as client:
        first = client.chat.completions.create(model="default", messages=SUM, temperature=0)
    with ollama.Client(host=server.url) as local:
        second = local.chat(model="ember", messages=SUM, options={"temperature": 0})
    with anthropic.Anthropic(base_url=server.url, api_key=key_of(server), max_retries=0) as other:
        third = other.messages.create(model="live", max_tokens=40, messages=SUM)
        counted = other.messages.count_tokens(model="live", messages=SUM).input_tokens
    native = server.post("/v1/chat", {"message": "What is 3 + 4?", "temperature": 0})
    assert third.content[0].type == "text"
    texts = {
        first.choices[0].message.content,
        second.message.content,
        third.content[0].text,
        native["text"],
    }
    assert len(texts) == 1
    assert "7" in texts.pop()
    assert first.usage is not None
    cached = third.usage.cache_read_input_tokens or 0
    assert (
        first.usage.prompt_tokens
        == second.prompt_eval_count
        == native["usage"]["prompt_tokens"]
        == third.usage.input_tokens + cached
        == counted
    )


def test_a_stream_of_anthropic_says_at_its_start_what_was_counted_and_what_it_cost(
    server: LiveServer,
) -> None:
    with anthropic.Anthropic(base_url=server.url, api_key=key_of(server), max_retries=0) as client:
        for system in ("", "Answer in one word.", "Be kind. " * 20):
            prompt: Any = {"model": "live", "messages": SUM, "system": system}
            counted = client.messages.count_tokens(**prompt).input_tokens
            with client.messages.stream(max_tokens=5, **prompt) as stream:
                start = next(iter(stream))
                assert start.type == "message_start"
                assert start.message.usage.input_tokens == counted
                usage = stream.get_final_message().usage
            assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == counted


def test_a_full_context_is_told_from_a_token_limit_that_was_met(server: LiveServer) -> None:
    info = httpx.post(f"{server.url}/api/show", json={"model": "ember"}).json()["model_info"]
    (limit,) = (value for name, value in info.items() if name.endswith("context_length"))
    with anthropic.Anthropic(base_url=server.url, api_key=key_of(server), max_retries=0) as client:

        def count(num_words: int) -> int:
            messages: Any = [{"role": "user", "content": "word " * num_words}]
            return client.messages.count_tokens(model="ember", messages=messages).input_tokens

        num_words = limit * 10 // max(1, count(110) - count(100)) - 40
        while count(num_words + 1) < limit - 4:
            num_words += 1
    endless = {"grammar": 'root ::= "' + "ab " * 200 + '"', "model": "ember"}
    full = server.post("/v1/chat", {"message": "word " * num_words, **endless})
    assert full["stop_reason"] == "context"
    short = server.post("/v1/chat", {"message": "word", "max_tokens": 5, **endless})
    assert (short["stop_reason"], short["usage"]["completion_tokens"]) == ("length", 5)


def test_calls_and_results_that_the_models_template_cannot_show_are_refused_in_every_dialect(
    server: LiveServer,
) -> None:
    call: Any = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history: Any = [
        *SUM,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "7"},
    ]
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key_of(server), max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="no place for tool calls") as refused:
            client.chat.completions.create(model="default", messages=history)
        assert refused.value.param == "messages"
    use: Any = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    result: Any = {"type": "tool_result", "tool_use_id": "a", "content": "7"}
    with (
        anthropic.Anthropic(base_url=server.url, api_key=key_of(server), max_retries=0) as other,
        pytest.raises(anthropic.BadRequestError, match="no place for tool calls"),
    ):
        other.messages.create(
            model="live",
            max_tokens=5,
            messages=[*SUM, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}],
        )


def test_streams_say_what_plain_answers_say(server: LiveServer) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key_of(server), max_retries=0) as client:
        wanted: Any = {
            "model": "default",
            "messages": SUM,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": 2,
        }
        plain = client.chat.completions.create(**wanted)
        chunks = list(
            client.chat.completions.create(**wanted, stream=True, stream_options={"include_usage": True})
        )
    assert plain.choices[0].logprobs is not None
    assert plain.choices[0].logprobs.content is not None
    tokens = [token.token for token in plain.choices[0].logprobs.content]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == plain.choices[0].message.content
    assert text.startswith("".join(tokens)[: len(text)])
    assert chunks[-1].usage is not None
    assert plain.usage is not None
    assert chunks[-1].usage.total_tokens == plain.usage.total_tokens


def test_a_schema_holds_in_every_dialect_that_has_one(server: LiveServer) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key_of(server), max_retries=0) as client:
        wanted: Any = {"type": "json_schema", "json_schema": {"name": "sum", "schema": SCHEMA}}
        first = client.chat.completions.create(model="default", messages=SUM, response_format=wanted)
    with ollama.Client(host=server.url) as local:
        second = local.chat(model="default", messages=SUM, format=SCHEMA)
    for text in (first.choices[0].message.content, second.message.content):
        assert isinstance(json.loads(text or "")["sum"], int)


def test_stop_strings_and_seeds_hold(server: LiveServer) -> None:
    with anthropic.Anthropic(base_url=server.url, api_key=key_of(server), max_retries=0) as client:
        stopped = client.messages.create(model="default", max_tokens=40, messages=SUM, stop_sequences=["="])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "=")
    with ollama.Client(host=server.url) as local:
        options = {"temperature": 1.5, "seed": 7}
        answers = {local.generate(model="ember", prompt="Hello", options=options).response for _ in range(3)}
    assert len(answers) == 1


def test_a_long_prompt_is_refused_or_trimmed_and_said(server: LiveServer) -> None:
    filler = [
        {"role": "user", "content": "What is 1 + 1? " * 60},
        {"role": "assistant", "content": "1 + 1 = 2"},
    ]
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key_of(server), max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(
                model="default", messages=[{"role": "user", "content": "word " * 4000}]
            )
        assert refused.value.code == "context_length_exceeded"
        answer = client.chat.completions.with_raw_response.create(
            model="default",
            messages=[*filler * 8, *SUM],  # type: ignore[list-item]
        )
    num_trimmed = int(answer.headers["x-homefire-trimmed-messages"])
    assert num_trimmed > 0
    usage = answer.parse().usage
    assert usage is not None
    assert usage.model_extra is not None
    assert usage.model_extra["trimmed_messages"] == num_trimmed


def test_the_root_is_a_page_for_browsers_and_a_line_for_programs(server: LiveServer) -> None:
    page = httpx.get(server.url, headers={"accept": "text/html"})
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert httpx.get(server.url).text == "Homefire is running"


def test_embeddings_and_the_unit_length_they_promise(server: LiveServer) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key_of(server), max_retries=0) as client:
        (vector,) = client.embeddings.create(model="ember", input="hello").data
    assert abs(sum(value * value for value in vector.embedding) - 1) < 1e-3
