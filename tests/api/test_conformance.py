"""Every dialect × every capability: the same things work behind every door, and gaps are lines in a list."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest

import homefire
from homefire.config.schema import ChatSettings, Settings
from homefire.errors import EngineCrashed, QueueFull
from homefire.types import Sampling
from tests.api.dialects import DIALECTS, GAPS, Dialect
from tests.api.house import House, close_house, open_house

ANSWER = "Hello there, I am scripted."
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def each(capability: str) -> Any:
    """All dialects that have this capability."""
    names = [name for name in DIALECTS if (name, capability) not in GAPS]
    return pytest.mark.parametrize("dialect", [pytest.param(DIALECTS[name], id=name) for name in names])


async def ask(house: House, dialect: Dialect, body: Any, **options: Any) -> Any:
    async with house.client() as client:
        return await client.post(dialect.path, json=body, **options)


def last_sampling(house: House) -> Sampling:
    return house.engines[-1].requests[-1].sampling


def last_turn(house: House) -> Any:
    session = house.store.sessions.list("local")[0]
    return house.store.turns.list(session.session_id)[-1]


@each("plain")
async def test_a_plain_answer_has_text_tokens_and_the_turn_in_its_headers(
    house: House, dialect: Dialect
) -> None:
    response = await ask(house, dialect, dialect.body("How are you today?"))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert dialect.text(answer) == ANSWER
    assert dialect.reason(answer) == "stop"
    assert dialect.tokens(answer) == (6, 5)
    turn = last_turn(house)
    assert response.headers["x-homefire-turn"] == turn.turn_id
    assert response.headers["x-homefire-session"] == turn.session_id
    assert response.headers["x-homefire-model"] == "ember"
    assert "x-homefire-trimmed-messages" not in response.headers
    assert (turn.outcome, turn.channel) == (
        "answered",
        {"generate": "ollama"}.get(dialect.name, dialect.name),
    )


@each("stream")
async def test_a_stream_carries_the_same_text_headers_and_counts(house: House, dialect: Dialect) -> None:
    response = await ask(house, dialect, dialect.body(streamed=True))
    assert response.status_code == 200
    expected = "application/x-ndjson" if dialect.path.startswith("/api/") else "text/event-stream"
    assert response.headers["content-type"] == expected
    assert dialect.streamed_text(response.text) == ANSWER
    assert response.headers["x-homefire-turn"] == last_turn(house).turn_id


async def test_openai_streams_usage_only_when_asked_and_end_with_done(house: House) -> None:
    dialect = DIALECTS["openai"]
    body = dialect.body(streamed=True)
    without = await ask(house, dialect, body)
    assert without.text.endswith("data: [DONE]\n\n")
    assert all("usage" not in event for event in dialect.events(without.text))
    with_usage = await ask(house, dialect, {**body, "stream_options": {"include_usage": True}})
    events = dialect.events(with_usage.text)
    assert [event["usage"] for event in events[:-1]] == [None] * (len(events) - 1)
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["total_tokens"] == 8


async def test_anthropic_events_come_in_the_documented_order(house: House) -> None:
    dialect = DIALECTS["anthropic"]
    response = await ask(house, dialect, dialect.body(streamed=True))
    names = [line.removeprefix("event: ") for line in response.text.splitlines() if line.startswith("event")]
    assert names[:3] == ["message_start", "content_block_start", "ping"]
    assert set(names[3:-3]) == {"content_block_delta"}
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    delta = dialect.events(response.text)[-2]
    assert delta["usage"]["output_tokens"] == 5
    assert delta["usage"]["input_tokens"] == 3


@pytest.mark.parametrize("system_prompt", [None, "Always be very brief."])
async def test_anthropic_says_at_the_start_and_on_request_what_the_prompt_costs(
    tmp_path: Path, system_prompt: str | None
) -> None:
    """Planted bugs it notices: the configured system prompt is not counted; the start says 0."""
    settings = Settings(chat=ChatSettings(system_prompt=system_prompt))
    house = await open_house(tmp_path, settings=settings)
    dialect = DIALECTS["anthropic"]
    for more in ({}, {"system": "Be kind."}, {"system": [{"type": "text", "text": "Be kind."}]}):
        body = {**dialect.body("How are you?", streamed=True), **more}
        events = dialect.events((await ask(house, dialect, body)).text)
        counted = {name: value for name, value in body.items() if name not in ("max_tokens", "stream")}
        async with house.client() as client:
            response = await client.post("/v1/messages/count_tokens", json=counted)
        cost = events[-2]["usage"]["input_tokens"]
        assert response.json() == {"input_tokens": cost}
        assert events[0]["message"]["usage"] == {"input_tokens": cost, "output_tokens": 0}
        assert cost > 5 + (3 if more or system_prompt else 0) - 1
    await close_house(house)


async def test_anthropics_start_counts_the_trimmed_prompt(house: House) -> None:
    dialect = DIALECTS["anthropic"]
    body = dialect.body(streamed=True, max_tokens=8)
    old = [{"role": role, "content": "word " * 20} for role in ("user", "assistant")]
    body["messages"] = [*old, {"role": "user", "content": "and now " * 10}]
    events = dialect.events((await ask(house, dialect, body)).text)
    assert events[-2]["usage"]["trimmed_messages"] == 2
    assert events[0]["message"]["usage"]["input_tokens"] == events[-2]["usage"]["input_tokens"]


@each("stop")
@pytest.mark.parametrize("streamed", [False, True])
async def test_stop_strings_end_the_answer(house: House, dialect: Dialect, streamed: bool) -> None:
    response = await ask(house, dialect, dialect.body(streamed=streamed, stop=[" I am", "never"]))
    assert last_sampling(house).stop == (" I am", "never")
    text = dialect.streamed_text(response.text) if streamed else dialect.text(response.json())
    assert text == "Hello there,"
    if dialect.name == "anthropic" and not streamed:
        assert response.json()["stop_reason"] == "stop_sequence"
        assert response.json()["stop_sequence"] == " I am"


@each("max_tokens")
async def test_the_token_limit_ends_the_answer_and_says_so(house: House, dialect: Dialect) -> None:
    response = await ask(house, dialect, dialect.body(max_tokens=2))
    assert dialect.text(response.json()) == "Hello there,"
    assert dialect.reason(response.json()) == "length"


@each("max_tokens")
async def test_an_answer_that_fills_the_context_says_so(house: House, dialect: Dialect) -> None:
    response = await ask(house, dialect, dialect.body("word " * 60, max_tokens=20))
    assert response.status_code == 200, response.text
    assert dialect.text(response.json()) in ("Hello there,", "Hello")
    word = {"anthropic": "model_context_window_exceeded", "native": "context"}.get(dialect.name, "length")
    assert dialect.reason(response.json()) == word
    assert last_turn(house).stop_reason == "context"


@pytest.mark.parametrize(
    ("capability", "value"),
    [
        ("temperature", 0.5),
        ("top_p", 0.9),
        ("top_k", 7),
        ("min_p", 0.05),
        ("repetition_penalty", 1.1),
        ("seed", 1234),
    ],
)
@pytest.mark.parametrize("name", DIALECTS)
async def test_sampling_reaches_the_engine(house: House, name: str, capability: str, value: Any) -> None:
    if (name, capability) in GAPS:
        assert capability not in DIALECTS[name].fields
        return
    response = await ask(house, DIALECTS[name], DIALECTS[name].body(**{capability: value}))
    assert response.status_code == 200, response.text
    assert getattr(last_sampling(house), capability) == value


@each("json_schema")
async def test_a_json_schema_reaches_the_engine(house: House, dialect: Dialect) -> None:
    value: Any = SCHEMA
    if dialect.name == "openai":
        value = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    if dialect.name == "anthropic":
        value = {"type": "json_schema", "schema": SCHEMA}
    response = await ask(house, dialect, dialect.body(json_schema=value))
    assert response.status_code == 200, response.text
    assert last_sampling(house).json_schema == SCHEMA


@pytest.mark.parametrize(
    ("name", "value"),
    [("openai", {"type": "json_object"}), ("ollama", "json"), ("generate", "json")],
)
async def test_any_json_object_can_be_asked_for(house: House, name: str, value: Any) -> None:
    await ask(house, DIALECTS[name], DIALECTS[name].body(json_schema=value))
    assert last_sampling(house).json_schema == {"type": "object"}


@each("logprobs")
@pytest.mark.parametrize("streamed", [False, True])
async def test_log_probabilities_come_when_asked_for(house: House, dialect: Dialect, streamed: bool) -> None:
    wanted = {"logprobs": 2} if dialect.name == "native" else {"logprobs": True, "top_logprobs": 2}
    response = await ask(house, dialect, dialect.body(streamed=streamed, **wanted))
    assert last_sampling(house).num_logprobs == 2
    if dialect.name == "openai" and not streamed:
        tokens = response.json()["choices"][0]["logprobs"]["content"]
        assert "".join(token["token"] for token in tokens) == ANSWER
        assert len(tokens[0]["top_logprobs"]) == 2
        assert bytes(tokens[0]["bytes"]).decode() == tokens[0]["token"]
    elif dialect.name != "native" or streamed:
        assert "rival1" in response.text


@each("system")
async def test_a_system_message_comes_first(house: House, dialect: Dialect) -> None:
    body = dialect.body()
    if "system" in dialect.fields and dialect.name != "ollama":
        body["system"] = "Be brief."
    else:
        body["messages"].insert(0, {"role": "system", "content": "Be brief."})
    response = await ask(house, dialect, body)
    assert response.status_code == 200, response.text
    first = house.engines[-1].requests[-1].messages[0]
    assert (first.role, first.content) == ("system", "Be brief.")


@each("conversation")
async def test_a_conversation_sent_whole_continues_its_session(house: House, dialect: Dialect) -> None:
    body = dialect.body("one")
    first = await ask(house, dialect, body)
    body["messages"] += [
        {"role": "assistant", "content": dialect.text(first.json())},
        {"role": "user", "content": "two"},
    ]
    second = await ask(house, dialect, body)
    assert second.headers["x-homefire-session"] == first.headers["x-homefire-session"]
    assert [message.content for message in house.engines[-1].requests[-1].messages] == ["one", ANSWER, "two"]


@each("trim")
async def test_a_trimmed_prompt_is_declared_in_header_and_body(house: House, dialect: Dialect) -> None:
    if dialect.name == "generate":
        return  # one prompt: nothing older could be left out
    body = dialect.body(max_tokens=8)
    old = [
        {"role": "user", "content": "word " * 20},
        {"role": "assistant", "content": "word " * 20},
    ]
    recent = [{"role": "user", "content": "and now " * 10}]
    body.pop("message", None)
    body["messages"] = [*old, *recent]
    response = await ask(house, dialect, body)
    assert response.status_code == 200, response.text
    assert int(response.headers["x-homefire-trimmed-messages"]) == 2
    assert dialect.trimmed(response.json()) == 2


@each("overflow")
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_prompt_that_cannot_fit_is_refused_with_the_numbers(
    house: House, dialect: Dialect, streamed: bool
) -> None:
    response = await ask(house, dialect, dialect.body("word " * 100, streamed=streamed))
    assert response.status_code == 400
    assert response.headers["x-homefire-error"] == "context_length_exceeded"
    message = dialect.error(response.json())
    assert "64" in message
    assert "10" in message  # 102 tokens, or 101 raw


@pytest.mark.parametrize("form", ["float", "base64"])
async def test_many_texts_are_embedded_in_one_call_with_their_tokens(house: House, form: str) -> None:
    texts = [f"text number {number}" for number in range(40)]
    async with house.client() as client:
        body = {"model": "default", "input": texts, "encoding_format": form}
        answer = (await client.post("/v1/embeddings", json=body)).json()
        one = (await client.post("/v1/embeddings", json={"model": "default", "input": texts[7]})).json()
        body = {"model": "ember:latest", "input": texts}
        other = (await client.post("/api/embed", json=body)).json()
        older = (await client.post("/api/embeddings", json={"model": "ember", "prompt": texts[7]})).json()
    assert [entry["index"] for entry in answer["data"]] == list(range(40))
    assert answer["usage"] == {"prompt_tokens": 120, "total_tokens": 120}
    assert other["prompt_eval_count"] == 120
    vector = answer["data"][7]["embedding"]
    if form == "base64":
        vector = struct.unpack("<8f", base64.b64decode(vector))
    assert vector == pytest.approx(one["data"][0]["embedding"])
    assert other["embeddings"][7] == older["embedding"] == one["data"][0]["embedding"]


async def test_anthropics_clients_page_through_the_models(house: House) -> None:
    headers = {"anthropic-version": "2023-06-01"}
    async with house.client(headers=headers) as client:
        whole = (await client.get("/v1/models")).json()
        names = [card["id"] for card in whole["data"]]
        assert (len(names), whole["has_more"]) == (3, False)
        seen, query = [], "limit=1"
        while True:
            page = (await client.get(f"/v1/models?{query}")).json()
            seen += [card["id"] for card in page["data"]]
            if not page["has_more"]:
                break
            query = f"limit=1&after_id={page['last_id']}"
        assert seen == names
        back = (await client.get(f"/v1/models?limit=1&before_id={names[2]}")).json()
        assert ([card["id"] for card in back["data"]], back["has_more"]) == ([names[1]], True)


async def test_the_version_satisfies_clients_that_demand_one_and_ours_stands_beside_it(house: House) -> None:
    async with house.client() as client:
        answer = (await client.get("/api/version")).json()
    assert tuple(int(part) for part in answer["version"].split(".")) > (0, 13, 4)
    assert answer["homefire"] == homefire.__version__


@pytest.mark.parametrize(("truncate", "status"), [(True, 200), (False, 400), (None, 200)])
async def test_ollamas_truncate_decides_what_becomes_of_a_long_conversation(
    house: House, truncate: bool | None, status: int
) -> None:
    dialect = DIALECTS["ollama"]
    old = [{"role": role, "content": "word " * 30} for role in ("user", "assistant")]
    body = {**dialect.body("and now?"), "truncate": truncate}
    body["messages"] = [*old, *body["messages"]]
    response = await ask(house, dialect, body)
    assert response.status_code == status
    assert (dialect.trimmed(response.json()) if status == 200 else 2) == 2


@each("errors")
async def test_an_unknown_model_is_not_found(house: House, dialect: Dialect) -> None:
    response = await ask(house, dialect, {**dialect.body(), "model": "nope"})
    assert response.status_code == 404
    assert "nope" in dialect.error(response.json())


@each("errors")
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 5000, b'{"model": "\\ud800"}']
)
async def test_malformed_json_is_named_as_such(house: House, dialect: Dialect, body: bytes) -> None:
    async with house.client() as client:
        headers = {"content-type": "application/json"}
        response = await client.post(dialect.path, content=body, headers=headers)
    assert response.status_code == 400
    assert dialect.error(response.json())


@each("errors")
async def test_a_wrong_type_names_the_field(house: House, dialect: Dialect) -> None:
    response = await ask(house, dialect, {**dialect.body(), "stream": "yes"})
    assert response.status_code == 400
    assert "stream" in dialect.error(response.json())


@each("errors")
async def test_an_unknown_field_is_named_and_never_ignored(house: House, dialect: Dialect) -> None:
    response = await ask(house, dialect, {**dialect.body(), "frobnicate": 1})
    assert response.status_code == 400
    assert response.headers["x-homefire-error"] == "unsupported_parameter"
    assert "frobnicate" in dialect.error(response.json())
    assert not house.engines


@each("errors")
async def test_a_body_over_the_limit_is_refused_while_it_arrives(tmp_path: Path, dialect: Dialect) -> None:
    house = await open_house(tmp_path, max_body_bytes=1000)
    num_read = 0

    async def endless() -> Any:
        nonlocal num_read
        while num_read < 1_000_000:
            num_read += 500
            yield b" " * 500

    async with house.client() as client:
        headers = {"content-type": "application/json"}
        chunked = await client.post(dialect.path, content=endless(), headers=headers)
        declared = await client.post(dialect.path, content=b" " * 2000, headers=headers)
    await close_house(house)
    assert chunked.status_code == declared.status_code == 413
    assert num_read < 5000
    assert "1000" in dialect.error(chunked.json())


@each("errors")
async def test_a_body_that_is_not_declared_as_json_is_refused(house: House, dialect: Dialect) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        async with house.client() as client:
            content = json.dumps(dialect.body())
            # As a browser sends it: what curl sends of its own accord may pass (`test_policy`).
            headers = {"content-type": kind, "sec-fetch-site": "same-origin"}
            response = await client.post(dialect.path, content=content, headers=headers)
        assert response.status_code == 415
        assert "application/json" in dialect.error(response.json())


@each("errors")
async def test_a_failure_before_the_first_word_has_its_own_status(tmp_path: Path, dialect: Dialect) -> None:
    house = await open_house(tmp_path, fail_with=EngineCrashed("The engine went away."))
    for streamed in (False, True):
        response = await ask(house, dialect, dialect.body(streamed=streamed))
        assert response.status_code == 502
        assert "went away" in dialect.error(response.json())
    await close_house(house)


@each("errors")
async def test_a_full_queue_says_when_to_come_back(tmp_path: Path, dialect: Dialect) -> None:
    house = await open_house(tmp_path, fail_with=QueueFull("256 requests wait already.", retry_after_s=3))
    response = await ask(house, dialect, dialect.body(streamed=True))
    assert response.status_code == 429
    assert response.headers["retry-after"] == "3"
    assert "256" in dialect.error(response.json())
    await close_house(house)


@each("errors")
async def test_a_failure_in_the_middle_of_a_stream_ends_it_in_the_dialects_form(
    tmp_path: Path, dialect: Dialect
) -> None:
    house = await open_house(tmp_path, fail_with=EngineCrashed("The engine went away."), fail_after=2)
    response = await ask(house, dialect, dialect.body(streamed=True))
    assert response.status_code == 200
    *pieces, last = dialect.events(response.text)
    assert "went away" in dialect.error(last)
    assert dialect.streamed_text(response.text) == "Hello there,"
    assert "[DONE]" not in response.text
    assert pieces
    assert last_turn(house).outcome == "failed"
    await close_house(house)
