"""Schemas become grammars that llama.cpp takes, or an error that names what would not be enforced."""

from __future__ import annotations

import json
from typing import Any

import pytest

from homefire.engines.json_grammar import to_grammar
from homefire.engines.process import LlamaCppEngine
from homefire.errors import InvalidRequest, UnsupportedParameter
from tests.engines.support import asking, collect

TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "v": {"enum": [1, 'zwei\n"', None]},
                "kids": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 1},
            },
            "required": ["v"],
        }
    },
}
SCHEMAS: list[Any] = [
    {"type": "boolean"},
    {"type": "null", "title": "x", "format": "y"},
    {"const": {"a": [1, "é"]}},
    {"enum": ["a", 2]},
    {"type": ["integer", "null"]},
    {"type": "integer"},
    {"type": "number"},
    {"type": "string", "maxLength": 6},
    {"type": "string", "minLength": 3, "maxLength": 3},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
    {"type": "array", "maxItems": 0},
    {"anyOf": [{"type": "boolean"}, {"const": "x"}]},
    {"oneOf": [{"type": "boolean"}, {"type": "null"}]},
    {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}, "c": {"type": "boolean"}},
    },
    {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}, "c": {"type": "boolean"}},
        "required": ["b"],
        "additionalProperties": False,
    },
    {"type": "object", "additionalProperties": False},
    TREE,
]
TYPES = {"boolean": bool, "null": type(None), "integer": int, "string": str, "array": list, "object": dict}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:40])
async def test_answers_are_json_of_the_right_kind(schema: Any, shared_engine: LlamaCppEngine) -> None:
    for seed in range(3):
        request = asking("Say something.", json_schema=schema, temperature=1.5, seed=seed, max_tokens=300)
        answer = await collect(shared_engine, request)
        assert answer.finish.stop_reason == "stop"
        value = json.loads(answer.text)
        if isinstance(schema.get("type"), str) and schema["type"] in TYPES:
            assert isinstance(value, TYPES[schema["type"]])
        if "enum" in schema:
            assert value in schema["enum"]
        if "const" in schema:
            assert value == schema["const"]
        if schema.get("type") == "string":
            assert schema.get("minLength", 0) <= len(value) <= schema["maxLength"]
        if schema.get("type") == "array":
            assert schema.get("minItems", 0) <= len(value) <= schema["maxItems"]
        if "properties" in schema:
            assert set(schema.get("required", ())) <= set(value) <= set(schema["properties"])


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": "array"}, {"type": "string"}])
async def test_open_schemas_are_taken_by_the_engine(schema: Any, shared_engine: LlamaCppEngine) -> None:
    request = asking("Say something.", json_schema=schema, max_tokens=40)
    answer = await collect(shared_engine, request)
    if answer.finish.stop_reason == "stop":
        json.loads(answer.text)


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ({"type": "string", "pattern": "a+"}, "pattern"),
        ({"type": "integer", "minimum": 3}, "minimum"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"allOf": [{"type": "string"}]}, "allOf"),
        ({"type": "object", "patternProperties": {}}, "patternProperties"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"),
        ({"$ref": "https://example.com/schema"}, "$ref"),
        ({"type": "object", "required": ["x"]}, "required"),
    ],
)
def test_what_would_not_be_enforced_is_named(schema: Any, keyword: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        to_grammar(schema)
    assert caught.value.details["keyword"] == keyword


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "wrong"},
        {"$ref": "#/nowhere"},
        {"enum": []},
        {"type": "string", "minLength": -1},
        {"type": "array", "minItems": 3, "maxItems": 2},
        {"properties": []},
        {"items": 7},
    ],
)
def test_a_malformed_schema_is_refused(schema: Any) -> None:
    with pytest.raises(InvalidRequest):
        to_grammar(schema)


def test_a_bottomless_schema_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(200):
        schema = {"type": "array", "items": schema}
    with pytest.raises(InvalidRequest, match="deep"):
        to_grammar(schema)


def test_many_optional_members_stay_small() -> None:
    inner = {"type": "object", "properties": {f"k{index}": {"type": "null"} for index in range(30)}}
    outer = {"type": "object", "properties": {f"k{index}": inner for index in range(30)}}
    assert len(to_grammar(outer)) < 2_000_000
