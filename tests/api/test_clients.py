"""The official clients, unchanged, against a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import ollama
import openai
import pydantic
import pytest

from homefire.errors import EngineCrashed
from homefire.types import ToolCall, ToolResult
from tests.api.house import House, served

ANSWER = "Hello there, I am scripted."
WRONG = "hf-" + "x" * 43
HI: Any = [{"role": "user", "content": "hi"}]
Live = tuple[str, House]


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    root = tmp_path_factory.mktemp("failing")
    with served(root, fail_with=EngineCrashed("The engine went away."), fail_after=2) as found:
        yield found


def openai_client(live: Live) -> openai.OpenAI:
    url, house = live
    return openai.OpenAI(base_url=f"{url}/v1", api_key=house.key, max_retries=0)


def anthropic_client(live: Live) -> anthropic.Anthropic:
    url, house = live
    return anthropic.Anthropic(base_url=url, api_key=house.key, max_retries=0)


def test_openai_chat_plain_and_streamed(live: Live) -> None:
    with openai_client(live) as client:
        answer = client.chat.completions.create(
            model="default", messages=HI, user="me", metadata={"a": "b"}, logprobs=True, top_logprobs=1
        )
        assert answer.choices[0].message.content == ANSWER
        assert answer.usage is not None
        assert answer.usage.total_tokens == 8
        assert answer.choices[0].logprobs is not None
        stream = client.chat.completions.create(
            model="default", messages=HI, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == ANSWER
        assert chunks[-1].usage is not None
        again = client.chat.completions.create(
            model="default", messages=[*HI, answer.choices[0].message, {"role": "user", "content": "more"}]
        )
        assert again.choices[0].finish_reason == "stop"


class Greeting(pydantic.BaseModel):
    """An answer with a shape."""

    hello: str


@pytest.mark.filterwarnings("ignore:Pydantic serializer")  # of the client itself, for what it parsed
def test_an_answer_that_openais_client_parsed_can_be_sent_back(tmp_path: Path) -> None:
    with served(tmp_path, answer='{"hello": "you"}') as live, openai_client(live) as client:
        answer = client.chat.completions.parse(model="default", messages=HI, response_format=Greeting)
        assert answer.choices[0].message.parsed == Greeting(hello="you")
        message: Any = answer.choices[0].message
        again = client.chat.completions.create(
            model="default", messages=[*HI, message, {"role": "user", "content": "more"}]
        )
        assert again.choices[0].finish_reason == "stop"


def test_openai_raw_response_has_the_turn_and_feedback_by_its_id_is_taken(live: Live) -> None:
    url, house = live
    with openai_client(live) as client:
        raw = client.chat.completions.with_raw_response.create(model="default", messages=HI)
        turn_id = raw.headers["x-homefire-turn"]
        assert raw.parse().id == turn_id
    given = httpx.post(
        f"{url}/v1/feedback",
        json={"turn_id": turn_id, "verdict": "correction", "text": "Good day!"},
        headers={"x-api-key": house.key},
    )
    assert given.status_code == 200, given.text
    assert given.json()["example_id"]


def test_openai_models_embeddings_and_errors(live: Live) -> None:
    with openai_client(live) as client:
        assert {model.id for model in client.models.list()} == {"ember", "live", "default"}
        assert client.models.retrieve("live").id == "live"
        vectors = client.embeddings.create(model="default", input=["a", "b"]).data
        assert len(vectors) == 2
        assert len(vectors[0].embedding) == 8
        with pytest.raises(openai.NotFoundError, match="nope") as missing:
            client.chat.completions.create(model="nope", messages=HI)
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(model="default", messages=HI, n=2)
        assert refused.value.param == "n"
        assert refused.value.code == "unsupported_parameter"


def test_openai_sees_an_error_in_the_middle_of_a_stream(failing: Live) -> None:
    with openai_client(failing) as client:
        stream = client.chat.completions.create(model="default", messages=HI, stream=True)
        with pytest.raises(openai.APIError, match="went away"):
            list(stream)


def test_a_wrong_key_is_an_authentication_error_in_both_clients(live: Live) -> None:
    url, _ = live
    refused = openai.OpenAI(base_url=f"{url}/v1", api_key=WRONG, max_retries=0)
    with refused, pytest.raises(openai.AuthenticationError):
        refused.models.list()
    also = anthropic.Anthropic(base_url=url, api_key=WRONG, max_retries=0)
    with also, pytest.raises(anthropic.AuthenticationError):
        also.messages.create(model="default", max_tokens=5, messages=HI)


async def test_openai_async_streams_run_side_by_side(live: Live) -> None:
    url, house = live
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=house.key, max_retries=0) as client:

        async def one() -> str:
            stream = await client.chat.completions.create(model="default", messages=HI, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        assert await asyncio.gather(*(one() for _ in range(8))) == [ANSWER] * 8


def test_ollama_chat_generate_and_lists(live: Live) -> None:
    with ollama.Client(host=live[0]) as client:
        check_ollama(client)


def check_ollama(client: ollama.Client) -> None:
    answer = client.chat(model="ember:latest", messages=HI, options={"num_predict": 20, "num_ctx": 32})
    assert answer.message.content == ANSWER
    assert answer.done
    assert answer.eval_count == 5
    assert answer.total_duration
    parts = list(client.chat(model="default", messages=HI, stream=True, keep_alive="5m", think=False))
    assert "".join(part.message.content or "" for part in parts) == ANSWER
    assert parts[-1].done_reason == "stop"
    generated = client.generate(model="default", prompt="hi", system="Be brief.")
    assert generated.response == ANSWER
    assert client.generate(model="default", prompt="hi", raw=True).prompt_eval_count == 1
    assert {model.model for model in client.list().models} == {"ember", "live", "default"}
    assert client.show("ember").details is not None
    assert [model.model for model in client.ps().models] == ["ember"]
    assert client.generate(model="default", prompt="").done_reason == "load"


def test_ollama_errors_and_unloading(live: Live) -> None:
    with ollama.Client(host=live[0]) as client:
        check_ollama_errors(client)


def check_ollama_errors(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="nope") as missing:
        client.chat(model="nope", messages=HI)
    assert missing.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="num_ctx"):
        client.chat(model="default", messages=HI, options={"num_ctx": 100_000})
    with pytest.raises(ollama.ResponseError, match="num_gpu"):
        client.chat(model="default", messages=HI, options={"num_gpu": 1})
    with pytest.raises(ollama.ResponseError, match="images"):
        client.chat(model="default", messages=[{**HI[0], "images": ["aGk="]}])
    assert client.generate(model="default", prompt="", keep_alive=0).done_reason == "unload"
    assert list(client.ps().models) == []


def test_ollama_sees_an_error_in_the_middle_of_a_stream(failing: Live) -> None:
    with (
        ollama.Client(host=failing[0]) as client,
        pytest.raises(ollama.ResponseError, match="went away"),
    ):
        list(client.chat(model="default", messages=HI, stream=True))


def test_anthropic_messages_plain_streamed_and_counted(live: Live) -> None:
    with anthropic_client(live) as client:
        answer = client.messages.create(
            model="default",
            max_tokens=20,
            messages=HI,
            system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            metadata={"user_id": "me"},
            extra_body={"temperature": 0.5},
            output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
        )
        assert answer.content[0].type == "text"
        assert answer.content[0].text == ANSWER
        assert answer.stop_reason == "end_turn"
        with client.messages.stream(model="default", max_tokens=20, messages=HI) as stream:
            assert "".join(stream.text_stream) == ANSWER
            final = stream.get_final_message()
        assert final.usage.output_tokens == 5
        assert final.usage.input_tokens == 3
        beta = client.beta.messages.create(model="default", max_tokens=20, messages=HI, betas=["any"])
        assert beta.content[0].type == "text"
        counted = client.messages.count_tokens(model="default", messages=HI)
        assert counted.input_tokens == 3
        assert {model.id for model in client.models.list()} == {"ember", "live", "default"}


TOOL: Any = {"name": "weather", "input_schema": {"type": "object"}}


def test_tool_history_passes_through_the_official_clients(live: Live) -> None:
    _, house = live
    with openai_client(live) as client:
        call: Any = {
            "id": "a",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
        }
        asked: Any = {"role": "assistant", "content": None, "tool_calls": [call]}
        answered: Any = {"role": "tool", "tool_call_id": "a", "content": "sunny"}
        client.chat.completions.create(model="default", messages=[*HI, asked, answered])
        first = house.engines[-1].requests[-1].messages
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(
                model="default",
                messages=HI,
                tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
                tool_choice="required",
            )
        assert refused.value.param == "tools"
    with anthropic_client(live) as other:
        blocks: Any = [{"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Rome"}}]
        results: Any = [{"type": "tool_result", "tool_use_id": "a", "content": "sunny"}]
        messages: Any = [*HI, {"role": "assistant", "content": blocks}, {"role": "user", "content": results}]
        other.messages.create(model="default", max_tokens=20, messages=messages)
        second = house.engines[-1].requests[-1].messages
        with pytest.raises(anthropic.BadRequestError, match="'tools'"):
            other.messages.create(
                model="default", max_tokens=5, messages=HI, tools=[TOOL], tool_choice={"type": "any"}
            )
    assert first == second
    with ollama.Client(host=live[0]) as local:
        local_call: Any = {"function": {"name": "weather", "arguments": {"city": "Rome"}}}
        local.chat(
            model="default",
            messages=[
                *HI,
                {"role": "assistant", "tool_calls": [local_call]},
                {"role": "tool", "tool_name": "weather", "content": "sunny"},
            ],
        )
        vectors = local.embed(model="default", input=["a", "b"])
        assert len(vectors.embeddings) == 2
    (_, called, result) = house.engines[-1].requests[-1].messages
    assert isinstance(called.parts[0], ToolCall)
    assert called.parts[0].arguments == {"city": "Rome"}
    assert isinstance(result.parts[0], ToolResult)
    assert result.parts[0].call_id == called.parts[0].call_id


def test_anthropics_stream_knows_the_prompts_tokens_from_its_start(live: Live) -> None:
    with (
        anthropic_client(live) as client,
        client.messages.stream(model="default", max_tokens=20, messages=HI) as stream,
    ):
        start = next(iter(stream))
        assert start.type == "message_start"
        assert start.message.usage.input_tokens == 3
        assert stream.get_final_message().usage.input_tokens == 3


def test_anthropic_errors_are_typed(live: Live, failing: Live) -> None:
    with anthropic_client(live) as client:
        with pytest.raises(anthropic.NotFoundError, match="nope"):
            client.messages.create(model="nope", max_tokens=5, messages=HI)
        with pytest.raises(anthropic.BadRequestError, match="tools"):
            client.messages.create(
                model="default",
                max_tokens=5,
                messages=HI,
                tools=[{"name": "x", "input_schema": {"type": "object"}}],
            )
    with (
        anthropic_client(failing) as client,
        pytest.raises(anthropic.APIStatusError, match="went away"),
        client.messages.stream(model="default", max_tokens=5, messages=HI) as stream,
    ):
        list(stream.text_stream)


def test_a_probe_of_the_root_is_told_that_the_server_runs(live: Live) -> None:
    url, _ = live
    assert httpx.get(url, headers={"accept": "application/json"}).text == "Homefire is running"
    assert httpx.head(url).status_code == 200
    assert httpx.get(url, headers={"accept": "text/html,*/*"}).status_code == 404  # no page in this house


def test_a_client_that_leaves_cancels_its_turn(tmp_path: Path) -> None:
    gate = asyncio.Event()
    with served(tmp_path, gate=gate) as (url, house):
        for path, streamed in (("/v1/chat/completions", True), ("/v1/chat/completions", False)):
            body = {"model": "default", "messages": HI, "stream": streamed}
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(url + path, json=body, timeout=httpx.Timeout(5, read=0.3))
        turns = wait_for_turns(house, 2)
    assert [turn.outcome for turn in turns] == ["cancelled", "cancelled"]
    assert house.engines[0].num_active == 0
    assert house.engines[0].num_cancelled == 2


def wait_for_turns(house: House, number: int) -> list[Any]:
    """The turns of all sessions, once so many have ended."""
    import time

    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        sessions = house.store.sessions.list("local")
        turns = [turn for session in sessions for turn in house.store.turns.list(session.session_id)]
        if sum(turn.outcome is not None for turn in turns) >= number:
            return turns
        time.sleep(0.01)
    raise AssertionError(f"{number} turns did not end")
