"""The description of the API: each dialect's own answers and errors, and names that generators can use."""

from __future__ import annotations

from typing import Any

import pytest

from homefire.api.server import HOT_ROUTES
from tests.api.house import House


@pytest.fixture
async def document(house: House) -> Any:
    async with house.client() as client:
        return (await client.get("/openapi.json")).json()


def operations(document: Any) -> list[tuple[str, str, Any]]:
    """(path, method, operation)."""
    return [
        (path, method, operation)
        for path, found in document["paths"].items()
        for method, operation in found.items()
    ]


def schema(document: Any, node: Any) -> Any:
    """What a reference refers to."""
    return document["components"]["schemas"][node["$ref"].rsplit("/", 1)[1]]


async def test_operation_ids_are_unique_and_plain_words(document: Any) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids)) > 40
    assert all(name.isidentifier() for name in ids)


@pytest.mark.parametrize(
    ("path", "method", "fields"),
    [
        ("/v1/chat/completions", "post", {"message", "type", "param", "code"}),
        ("/v1/models", "get", {"message", "type", "param", "code"}),
        ("/v1/messages", "post", {"type", "message"}),
        ("/v1/chat", "post", {"code", "message", "hint", "details"}),
        ("/v1/runs", "get", {"code", "message", "hint", "details"}),
    ],
)
async def test_errors_are_described_as_they_are(
    house: House, document: Any, path: str, method: str, fields: set[str]
) -> None:
    failure = document["paths"][path][method]["responses"]["default"]["content"]["application/json"]["schema"]
    described = schema(document, schema(document, failure)["properties"]["error"])
    assert set(described["properties"]) == fields
    async with house.client() as client:
        answer = await client.request("DELETE", path, json={"unknown": 1})
    assert set(answer.json()["error"]) == fields


async def test_ollamas_errors_are_one_text(document: Any) -> None:
    failure = document["paths"]["/api/chat"]["post"]["responses"]["default"]["content"]["application/json"]
    assert schema(document, failure["schema"])["properties"]["error"] == {"type": "string"}


async def test_answers_of_the_chat_routes_are_described(house: House, document: Any) -> None:
    body = {"model": "default", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
    bodies = {
        "/v1/chat": {"message": "hi"},
        "/api/chat": {"model": "default", "messages": body["messages"], "stream": False},
        "/api/generate": {"model": "default", "prompt": "hi", "stream": False},
        "/v1/messages/count_tokens": {"model": "default", "messages": body["messages"]},
    }
    async with house.client() as client:
        for path in HOT_ROUTES:
            described = document["paths"][path]["post"]["responses"]["200"]["content"]
            answer = await client.post(path, json=bodies.get(path, body))
            assert answer.status_code == 200, (path, answer.text)
            properties = schema(document, described["application/json"]["schema"])["properties"]
            assert set(answer.json()) <= set(properties), path
            assert any("stream" in kind or "ndjson" in kind for kind in described) == (
                path != "/v1/messages/count_tokens"
            )
