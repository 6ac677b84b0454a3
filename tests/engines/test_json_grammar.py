"""Schemas become grammars whose every document is valid, or an error that names the place.

Documents are drawn byte by byte from what the compiled grammar allows, without a model, and judged by
`jsonschema`: the widest net. A few are answered by ember, to see that llama.cpp enforces the same.
"""

from __future__ import annotations

import json
import random
import threading
from typing import Any

import jsonschema
import pytest
from llguidance import LLMatcher, LLTokenizer

from homefire.engines import json_grammar
from homefire.engines.base import Delta
from homefire.engines.json_grammar import MAX_DEPTH, MAX_OPTIONAL, MAX_TOTAL_ITEMS, SchemaMatcher, to_grammar
from homefire.engines.llama_stream import Job, Stream
from homefire.engines.process import LlamaCppEngine
from homefire.errors import InvalidRequest, UnsupportedParameter
from tests.engines.support import asking, collect

NODE = {
    "type": "object",
    "properties": {
        "v": {"enum": [1, 'zwei\n"', None]},
        "kids": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 1},
    },
    "required": ["v"],
}
LIST = {
    "type": "object",
    "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/list"}, {"type": "null"}]}},
    "required": ["v", "next"],
}


def optional(number: int) -> dict[str, Any]:
    return {"type": "object", "properties": {f"k{index}": {"type": "boolean"} for index in range(number)}}


def either(*names: str) -> dict[str, Any]:
    """A discriminated union, as pydantic writes it."""
    options = [
        {
            "type": "object",
            "properties": {"kind": {"const": name, "type": "string"}, name: {"type": "boolean"}},
            "required": ["kind", name],
        }
        for name in names
    ]
    return {"oneOf": options, "discriminator": {"propertyName": "kind"}}


SCHEMAS: dict[str, Any] = {
    "boolean": {"type": "boolean"},
    "annotations": {"type": "null", "title": "x", "format": "y"},
    "const": {"const": {"a": [1, "é"]}},
    "enum": {"enum": ["a", 2]},
    "enum of another type": {"type": "integer", "enum": ["a", 1]},
    "types": {"type": ["integer", "null"]},
    "integer": {"type": "integer"},
    "minimum": {"type": "integer", "minimum": 3},
    "maximum": {"type": "integer", "maximum": -3},
    "bounds": {"type": "integer", "minimum": 3, "maximum": 17},
    "exclusive": {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 6},
    "number": {"type": "number"},
    "below zero": {"type": "number", "exclusiveMaximum": 0, "minimum": -2},
    "tiny range": {"type": "number", "minimum": 0.1, "maximum": 0.1000001},
    "number bounds": {"type": "number", "minimum": 0.5, "exclusiveMaximum": 2},
    "multiple": {"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 100},
    "quarters": {"type": "number", "multipleOf": 0.25, "minimum": 0, "maximum": 100},
    "short": {"type": "string", "maxLength": 6},
    "exact": {"type": "string", "minLength": 3, "maxLength": 3},
    "long": {"type": "string", "minLength": 5000, "maxLength": 5001},
    "pattern": {"type": "string", "pattern": "^[a-c]{2,4}(x|yz)$"},
    "loose pattern": {"type": "string", "pattern": "b", "maxLength": 5},
    "uuid": {"type": "string", "format": "uuid"},
    "date": {"type": "string", "format": "date"},
    "array": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
    "no items": {"type": "array", "maxItems": 0},
    "tuple": {"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "null"}], "items": False},
    "anyOf": {"anyOf": [{"type": "boolean"}, {"const": "x"}]},
    "oneOf": {"oneOf": [{"type": "boolean"}, {"type": "null"}]},
    "allOf": {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}]},
    "inheritance": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]},
            {"properties": {"b": {"type": "null"}}, "required": ["b"], "maxProperties": 2},
        ]
    },
    "discriminator": either("cat", "dog"),
    "three optional": optional(3),
    "46 optional": optional(46),
    "one required": {**optional(3), "required": ["k1"], "additionalProperties": False},
    "990 required": {**optional(990), "required": list(optional(990)["properties"])},
    "closed": {"type": "object", "additionalProperties": False},
    "map": {"type": "object", "additionalProperties": {"type": "boolean"}, "maxProperties": 2},
    "tree": {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
    "linked list": {"$ref": "#/$defs/list", "$defs": {"list": LIST}},
}
UNSUPPORTED: list[tuple[Any, str, str]] = [
    ({"type": "array", "uniqueItems": True}, "uniqueItems", "#"),
    ({"type": "object", "properties": {"a/b": {"not": {}}}}, "not", "#/properties/a~1b"),
    ({"anyOf": [{"type": "null"}, {"if": {}, "then": {}}]}, "if", "#/anyOf/1"),
    ({"type": "object", "propertyNames": {"pattern": "^a"}}, "propertyNames", "#"),
    ({"$ref": "#/$defs/x", "$defs": {"x": {"contains": {}}}}, "contains", "#/$defs/x"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf", "#"),
]
MALFORMED: list[tuple[Any, str]] = [
    ({"type": "wrong"}, "#"),
    ({"$ref": "#/nowhere"}, "#"),
    ({"$ref": "https://example.com/schema"}, "#"),
    ({"enum": []}, "#"),
    ({"type": "string", "enum": [1]}, "#"),
    ({"type": "string", "minLength": -1}, "#"),
    ({"type": "string", "pattern": "(?=x)a"}, "#"),
    ({"type": "array", "minItems": 1, "items": {"type": "array", "minItems": 3, "maxItems": 2}}, "#/items"),
    ({**optional(1), "properties": {"x": {"minimum": 5, "maximum": 3, "type": "integer"}}, "required": ["x"]},
     "#/properties/x"),
    ({"properties": []}, "#"),
    ({"items": 7}, "#"),
    (optional(MAX_OPTIONAL + 1), "#/properties"),
    ({"items": {"type": "array", "maxItems": 10**9}}, "#/items/maxItems"),
]  # fmt: skip


def test_arrays_may_have_the_most_items_together_and_not_one_more() -> None:
    def arrays(*most: int) -> dict[str, Any]:
        return {
            "type": "array",
            "maxItems": 1,
            "prefixItems": [{"type": "array", "maxItems": n} for n in most],
        }

    half = MAX_TOTAL_ITEMS // 2
    json_grammar._check_size(list(json_grammar._nodes(arrays(half, half - 1))))
    with pytest.raises(InvalidRequest, match="items together"):
        json_grammar._check_size(list(json_grammar._nodes(arrays(half, half))))


def test_a_schema_that_is_nested_too_deep_is_named_with_its_place() -> None:
    def nested(depth: int) -> dict[str, Any]:
        return {"items": nested(depth - 1)} if depth else {}

    assert len(list(json_grammar._nodes(nested(MAX_DEPTH)))) == MAX_DEPTH + 1
    with pytest.raises(InvalidRequest, match="deep") as caught:
        list(json_grammar._nodes(nested(MAX_DEPTH + 1)))
    assert caught.value.details["place"] == "#" + "/items" * (MAX_DEPTH + 1)


def drawn(grammar: str, seed: int, *, max_bytes: int = 40_000) -> str | None:
    """A document that the grammar allows, byte by byte at random; None when it does not come to an end."""
    tokens, choose = LLTokenizer("byte"), random.Random(seed)
    matcher = LLMatcher(tokens, grammar, log_level=0)
    data = bytearray()
    while not (matcher.is_accepting() and choose.random() < 0.3):
        if matcher.is_stopped() or len(data) > max_bytes:
            break
        mask = matcher.compute_bitmask()
        allowed = [byte for byte in range(256) if mask[byte // 8] >> byte % 8 & 1]
        if not allowed:
            break
        closing = [byte for byte in allowed if byte in b'"]}']
        printable = [byte for byte in allowed if 32 <= byte < 127 and byte != 92]
        data.append(choose.choice(closing if closing and choose.random() < 0.3 else printable or allowed))
        assert matcher.consume_token(data[-1])
    return data.decode() if matcher.is_accepting() else None


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_document_of_the_grammar_is_valid(name: str) -> None:
    schema = SCHEMAS[name]
    found = [drawn(to_grammar(schema), seed) for seed in range(4 if name in ("long", "990 required") else 20)]
    documents = [json.loads(text) for text in found if text is not None]
    assert len(documents) >= len(found) / 2, "hardly any document came to an end"
    for document in documents:
        jsonschema.validate(document, schema)


def test_the_check_notices_a_schema_that_is_not_enforced() -> None:
    """The planted bug: a grammar of something else."""
    documents = [json.loads(drawn(to_grammar({"type": "integer"}), seed) or "null") for seed in range(20)]
    judge = jsonschema.Draft202012Validator(SCHEMAS["bounds"])
    assert not all(judge.is_valid(document) for document in documents)


SPOKEN = sorted(SCHEMAS.keys() - {"long", "990 required", "46 optional", "below zero", "tiny range"})
"""Ember does not come to an end of those left out."""


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", SPOKEN)
async def test_the_engine_answers_within_the_schema(name: str, shared_engine: LlamaCppEngine) -> None:
    num_ended = 0
    for seed in range(3):
        request = asking(
            "Say something.", json_schema=SCHEMAS[name], temperature=1.5, seed=seed, max_tokens=400
        )
        answer = await collect(shared_engine, request)
        if answer.finish.stop_reason == "stop":
            num_ended += 1
            jsonschema.validate(json.loads(answer.text), SCHEMAS[name])
    assert num_ended, "no answer came to an end"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": "array"}, {"type": "string"}])
async def test_open_schemas_are_taken_by_the_engine(schema: Any, shared_engine: LlamaCppEngine) -> None:
    answer = await collect(shared_engine, asking("Say something.", json_schema=schema, max_tokens=40))
    if answer.finish.stop_reason == "stop":
        json.loads(answer.text)


@pytest.mark.parametrize(("schema", "keyword", "place"), UNSUPPORTED)
def test_what_would_not_be_enforced_is_named_with_its_place(schema: Any, keyword: str, place: str) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        to_grammar(schema)
    assert (caught.value.details["keyword"], caught.value.details["place"]) == (keyword, place)


@pytest.mark.parametrize(("schema", "place"), MALFORMED)
def test_what_is_malformed_or_too_large_is_refused_with_its_place(schema: Any, place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        to_grammar(schema)
    assert caught.value.details["place"] == place


def test_a_bottomless_schema_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(200):
        schema = {"type": "array", "items": schema}
    with pytest.raises(InvalidRequest, match="deep"):
        to_grammar(schema)


def test_a_huge_schema_is_refused_before_it_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_grammar, "_problem", lambda _: pytest.fail("it was compiled"))
    with pytest.raises(InvalidRequest, match="bytes"):
        to_grammar({"enum": ["x" * 100_000]})


def test_a_schema_that_compiles_too_long_never_reaches_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_grammar, "MAX_COMPILE_S", 0.0)
    with pytest.raises(InvalidRequest, match="takes longer"):
        to_grammar({"type": "string", "maxLength": 17})


def test_an_answer_that_leaves_the_schema_is_noticed() -> None:
    matcher = SchemaMatcher(to_grammar({"type": "integer", "maximum": 10}))
    matcher.push("1")
    matcher.end()
    with pytest.raises(InvalidRequest):
        matcher.push("1")
    unfinished = SchemaMatcher(to_grammar({"type": "boolean"}))
    unfinished.push("tru")
    with pytest.raises(InvalidRequest):
        unfinished.end()


@pytest.mark.parametrize(
    ("name", "wrong"), [("date", "2026-21-11"), ("uuid", "123"), ("ipv4", "1.2.3"), ("email", "ann")]
)
def test_a_known_format_is_enforced_and_an_unknown_one_ignored(name: str, wrong: str) -> None:
    def follow(form: str) -> None:
        matcher = SchemaMatcher(to_grammar({"type": "string", "format": form}))
        matcher.push(json.dumps(wrong))
        matcher.end()

    follow("colour")
    with pytest.raises(InvalidRequest):
        follow(name)


def test_a_library_that_goes_on_without_the_grammar_gives_an_error_not_a_wrong_answer() -> None:
    """llama.cpp drops a grammar that becomes too complex on the way, and says so only in its log."""
    for pieces, reason in ((["12", "x"], None), (["[1", ""], "stop"), (["true"], "stop")):
        shown: list[Delta | None] = []
        job = Job(asking(), 0.0, threading.Event())
        schema = SchemaMatcher(to_grammar({"type": ["integer", "array"]}))
        stream = Stream(job, shown.append, num_logprobs=None, context_length=1024, schema=schema)
        for piece in pieces:
            chunk = {"choices": [{"text": piece, "finish_reason": reason if piece == pieces[-1] else None}]}
            if stream.take(chunk):
                break
        with pytest.raises(InvalidRequest):
            stream.finish(lambda error, _: InvalidRequest(str(error)))
        assert "x" not in "".join(delta.text for delta in shown if delta is not None)
