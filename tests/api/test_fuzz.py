"""Whatever a body holds, a hot route answers with 200 or with an error of its dialect's shape, never 5xx."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.dialects import DIALECTS, Dialect
from tests.api.house import House, close_house, open_house

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    "model",
    "messages",
    "message",
    "prompt",
    "system",
    "stream",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "stop_sequences",
    "seed",
    "n",
    "tools",
    "raw",
    "response_format",
    "format",
    "options",
    "logprobs",
    "top_logprobs",
    "tool_choice",
    "stream_options",
    "thinking",
    "keep_alive",
    "metadata",
    "session_id",
    "output_config",
    "service_tier",
    "user",
    "store",
    "think",
    "suffix",
    "num_logprobs",
    "grammar",
    "channel",
]
texts = st.sampled_from(["hi", "", "word " * 100, "\u0000", "é\U0001f600"])
kinds = st.sampled_from(["text", "image", "tool_use", "tool_result", "thinking", "tool_call", "reasoning"])
part_fields = {
    "text": texts,
    "thinking": texts,
    "id": texts,
    "name": texts,
    "input": values,
    "content": texts | values,
}
parts = st.lists(
    st.fixed_dictionaries({"type": kinds}, optional={**part_fields, "call_id": texts, "tool_use_id": texts}),
    max_size=2,
)
calls = st.lists(
    st.fixed_dictionaries(
        {"function": st.fixed_dictionaries({"name": texts, "arguments": texts | values | st.just("{}")})},
        optional={"id": texts, "type": st.just("function")},
    ),
    max_size=2,
)
roles = st.sampled_from(["user", "assistant", "system", "tool", "function"])
message_fields: dict[str, Any] = {
    "tool_calls": calls,
    "tool_call_id": texts,
    "tool_name": texts,
    "name": texts,
    "thinking": texts,
    "reasoning": texts,
    "images": values,
}
messages = st.lists(
    st.fixed_dictionaries({"role": roles, "content": texts | parts | values}, optional=message_fields),
    max_size=3,
)
odd_fields = st.dictionaries(st.sampled_from(FIELDS), values, max_size=2)


@st.composite
def bodies(draw: st.DrawFn, dialect: Dialect) -> Any:
    """Mostly right bodies with something odd about them."""
    body = dialect.body(draw(texts), streamed=draw(st.booleans()))
    if "messages" in body and draw(st.booleans()):
        body["messages"] = draw(messages)
    return {**body, **draw(odd_fields)}


@pytest.mark.parametrize("dialect", [pytest.param(dialect, id=name) for name, dialect in DIALECTS.items()])
def test_no_body_breaks_a_chat_route(tmp_path_factory: pytest.TempPathFactory, dialect: Dialect) -> None:
    with asyncio.Runner() as runner:
        house = runner.run(open_house(tmp_path_factory.mktemp("fuzz")))
        try:
            fuzz(runner, house, dialect)
        finally:
            runner.run(close_house(house))


def fuzz(runner: asyncio.Runner, house: House, dialect: Dialect) -> None:
    """Hypothesis, on one house."""

    @settings(
        max_examples=250,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(body=bodies(dialect) | values)
    def check(body: Any) -> None:
        runner.run(ask(house, dialect, json.dumps(body).encode()))

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(body=st.binary(max_size=60))
    def check_bytes(body: bytes) -> None:
        runner.run(ask(house, dialect, body))

    check()
    check_bytes()


async def ask(house: House, dialect: Dialect, body: bytes) -> None:
    """One request; asserts what must hold of every answer."""
    async with house.client() as client:
        headers = {"content-type": "application/json"}
        response = await client.post(dialect.path, content=body, headers=headers)
    assert response.status_code < 500, (body, response.text)
    if response.status_code >= 400:
        assert dialect.error(response.json())
        assert response.headers["x-homefire-error"]


def test_the_fuzz_notices_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: a door that trips over one value."""
    from homefire.api import openai

    original = openai.refuse_unsupported

    def trip(wanted: Any, *given: Any, **named: Any) -> None:
        if wanted.stream:
            raise KeyError("oops")
        original(wanted, *given, **named)

    monkeypatch.setattr(openai, "refuse_unsupported", trip)
    with asyncio.Runner() as runner:
        house = runner.run(open_house(tmp_path))
        try:
            with pytest.raises(AssertionError):
                fuzz(runner, house, DIALECTS["openai"])
        finally:
            runner.run(close_house(house))
