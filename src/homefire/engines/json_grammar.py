"""JSON schemas as grammars of llguidance (https://github.com/guidance-ai/llguidance), enforced by llama.cpp.

Promises:
- an answer that ends by itself is valid against the schema. What llama.cpp says is followed by a second matcher
  (`SchemaMatcher`), for the library continues without its grammar when that becomes too complex on the way;
- a schema that cannot be enforced is InvalidRequest or UnsupportedParameter naming the place, before anything is
  generated. Keywords that no JSON Schema has, and unknown formats, are annotations and ignored;
- compiling is bounded: by size, by the sums below, and by `MAX_COMPILE_S`, because the engine compiles it again
  where all of its requests wait.

The schema is narrowed where that cannot make a valid answer impossible: numbers have at most 15 digits before the
point (and 6 behind it, unless negative), and an object with listed properties gets no others. Small models end
their answers more often that way.
The version of `llguidance` is the one that is inside `xllamacpp`. Costs one to some hundred milliseconds.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llguidance import LLMatcher, LLTokenizer

from homefire.errors import InvalidRequest, UnsupportedParameter, quoted

MAX_SCHEMA_BYTES = 64 * 1024
MAX_DEPTH = 48
MAX_OPTIONAL = 400
"""Optional properties of one object; each costs what there are squared."""
MAX_TOTAL_ITEMS = 10_000
"""Sum of all `maxItems`."""
MAX_COMPILE_S = 2.0
MAX_INTEGER = 10**15 - 1
_STEP = 1e-6
_LEAST_RANGE = 1e-3
"""A narrower range might hold no multiple of `_STEP`."""
_MAX_PROBES = 200
_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
)
_COMBINING = frozenset(("allOf", "anyOf", "oneOf", "$ref", "not", "if", "patternProperties"))
_ONE, _MANY, _NAMED = (
    ("items", "additionalProperties", "additionalItems", "contains", "not", "if", "then", "else",
     "propertyNames", "unevaluatedItems", "unevaluatedProperties"),
    ("allOf", "anyOf", "oneOf", "prefixItems"),
    ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"),
)  # fmt: skip
_KEYWORD = re.compile(r'Unimplemented keys: \["([^"]+)"')


def to_grammar(schema: Mapping[str, Any]) -> str:
    """What llama.cpp is given for a schema.

    UnsupportedParameter (`details["keyword"]`, `["place"]`) for what cannot be enforced, InvalidRequest for a
    schema that is malformed or too large.
    """
    text = json.dumps(schema)
    if len(text) > MAX_SCHEMA_BYTES:
        raise InvalidRequest(
            f"The JSON schema has {len(text)} bytes; {MAX_SCHEMA_BYTES} are allowed.", param="json_schema"
        )
    return _compiled(text)


class SchemaMatcher:
    """Follows an answer and says when it leaves the schema."""

    def __init__(self, grammar: str) -> None:
        self._matcher = LLMatcher(_byte_tokens(), grammar, log_level=0)

    def push(self, text: str) -> None:
        """More of the answer. InvalidRequest when no valid document begins like this."""
        data = list(text.encode())
        if self._matcher.try_consume_tokens(data) != len(data):
            raise _too_complex("could not be enforced to the end")

    def end(self) -> None:
        """The answer is over by its own choice. InvalidRequest when it is not a whole document."""
        if not self._matcher.is_accepting():
            raise _too_complex("could not be enforced to the end")


@functools.lru_cache(maxsize=64)
def _compiled(text: str) -> str:
    schema = json.loads(text)
    nodes = list(_nodes(schema))
    _check_size(nodes)
    narrows = not any("allOf" in node.schema or len(_COMBINING & node.schema.keys()) > 1 for node in nodes)
    grammar = _grammar(_prepared(schema, narrows=narrows))
    started_s = time.monotonic()
    problem = _problem(grammar)
    if problem:
        raise _refusal(schema, problem)
    if time.monotonic() - started_s > MAX_COMPILE_S:
        raise _too_complex(f"takes longer than {MAX_COMPILE_S:g} s to compile")
    return grammar


@functools.cache
def _byte_tokens() -> LLTokenizer:
    return LLTokenizer("byte")


def _grammar(schema: Any) -> str:
    options = {"x-guidance": {"whitespace_flexible": False}}
    whole = {**schema, **options} if isinstance(schema, dict) else {"allOf": [schema], **options}
    return f"%llguidance {{}}\nstart: %json {json.dumps(whole)}\n"


def _problem(grammar: str) -> str:
    matcher = LLMatcher(_byte_tokens(), grammar, log_level=0)
    if not matcher.is_error():
        return ""
    said = matcher.get_error().partition("compile JSON schema: ")
    return (said[2] or said[0]).partition("\n   ")[0].strip()


# Places in a schema


@dataclass(frozen=True, slots=True)
class _Node:
    schema: dict[str, Any]
    place: str


def _children(node: dict[str, Any], place: str) -> Iterator[tuple[Any, str]]:
    for key in _ONE:
        if isinstance(node.get(key), dict):
            yield node[key], f"{place}/{key}"
    for key in _MANY:
        if isinstance(node.get(key), list):
            for index, child in enumerate(node[key]):
                yield child, f"{place}/{key}/{index}"
    for key in _NAMED:
        if isinstance(node.get(key), dict):
            for name, child in node[key].items():
                yield child, f"{place}/{key}/{name.replace('~', '~0').replace('/', '~1')}"


def _nodes(schema: Any) -> Iterator[_Node]:
    pending: list[tuple[Any, str, int]] = [(schema, "#", 0)]
    while pending:
        node, place, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise InvalidRequest(
                f"The JSON schema is nested more than {MAX_DEPTH} deep.", param="json_schema", place=place
            )
        if isinstance(node, dict):
            yield _Node(node, place)
            pending += [(child, where, depth + 1) for child, where in _children(node, place)]


def _check_size(nodes: list[_Node]) -> None:
    num_items = 0
    for node in nodes:
        properties, required = node.schema.get("properties"), node.schema.get("required", ())
        names = set(required) if isinstance(required, list) and all(map(_is_text, required)) else set()
        if isinstance(properties, dict) and len(properties.keys() - names) > MAX_OPTIONAL:
            raise InvalidRequest(
                f"The JSON schema has more than {MAX_OPTIONAL} optional properties in one object.",
                hint="Make them required, or divide the object.",
                param="json_schema",
                place=f"{node.place}/properties",
            )
        most = node.schema.get("maxItems")
        num_items += most if isinstance(most, int) else 0
        if num_items > MAX_TOTAL_ITEMS:
            raise InvalidRequest(
                f"The JSON schema allows arrays of more than {MAX_TOTAL_ITEMS} items together.",
                hint="Lower maxItems, or leave it out.",
                param="json_schema",
                place=f"{node.place}/maxItems",
            )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _prepared(node: Any, *, narrows: bool) -> Any:
    """The schema without unknown formats, and narrowed where `narrows`."""
    if not isinstance(node, dict):
        return node
    changed = {key: value for key, value in node.items() if key != "x-guidance"}
    if changed.get("format") not in _FORMATS:
        changed.pop("format", None)
    for key in _ONE:
        if key in changed:
            changed[key] = _prepared(changed[key], narrows=narrows)
    for key in _MANY:
        if isinstance(changed.get(key), list):
            changed[key] = [_prepared(child, narrows=narrows) for child in changed[key]]
    for key in _NAMED:
        if isinstance(changed.get(key), dict):
            changed[key] = {name: _prepared(child, narrows=narrows) for name, child in changed[key].items()}
    if narrows:
        if _can_be_closed(changed):
            changed["additionalProperties"] = False
        if changed.get("type") in ("integer", "number") and not {"enum", "const"} & changed.keys():
            return _with_bounded_digits(changed)
    return changed


def _with_bounded_digits(node: dict[str, Any]) -> dict[str, Any]:
    """A number of at most 15 digits before the point; not below zero, of at most 6 behind it."""
    low = max(
        (node[key] for key in ("minimum", "exclusiveMinimum") if _is_number(node.get(key))), default=None
    )
    high = min(
        (node[key] for key in ("maximum", "exclusiveMaximum") if _is_number(node.get(key))), default=None
    )
    bounded = dict(node)
    if low is None and (high is None or high > -MAX_INTEGER):
        bounded["minimum"] = low = -MAX_INTEGER
    if high is None and (low is None or low < MAX_INTEGER):
        bounded["maximum"] = high = MAX_INTEGER
    if node["type"] == "integer" or "multipleOf" in node or low is None or high is None:
        return bounded
    if high - max(low, 0) < _LEAST_RANGE:
        return bounded
    not_negative = {**bounded, "multipleOf": _STEP}
    if low >= 0:
        return not_negative
    negative = {**bounded, "exclusiveMaximum": 0}
    return {"anyOf": [{**not_negative, "minimum": 0}, negative]}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _can_be_closed(node: dict[str, Any]) -> bool:
    properties, required = node.get("properties"), node.get("required", [])
    return (
        isinstance(properties, dict)
        and isinstance(required, list)
        and bool(properties)
        and "additionalProperties" not in node
        and "minProperties" not in node
        and not _COMBINING & node.keys()
        and all(name in properties for name in required)
    )


# Refusals


def _refusal(schema: Any, problem: str) -> InvalidRequest:
    place, problem = _innermost(schema, problem)
    if problem.startswith("panic") or "too large" in problem or "fuel" in problem:
        return _too_complex("is too large to be enforced", place=place)
    keyword = _KEYWORD.search(problem)
    if keyword is None and "oneOf" in problem:
        keyword = re.search("(oneOf)", problem)
    if keyword is None:
        return InvalidRequest(
            f"The JSON schema cannot be used: at {place}: {problem}.", param="json_schema", place=place
        )
    return UnsupportedParameter(
        f"The JSON schema keyword {quoted(keyword[1])} at {place} is not supported: it would not be enforced.",
        hint="Leave it out, or pass a GBNF grammar.",
        param="json_schema",
        keyword=keyword[1],
        place=place,
    )


def _innermost(schema: Any, problem: str) -> tuple[str, str]:
    """The smallest part of the schema that fails by itself for the same reason, and how it does."""
    if not isinstance(schema, dict):
        return "#", problem
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    node, place, num_left = schema, "#", _MAX_PROBES
    while True:
        for child, where in _children(node, place):
            num_left -= 1
            if num_left < 0:
                return place, problem
            found = _problem(_grammar({**shared, **child} if isinstance(child, dict) else child))
            if found == problem or (found and _is_unsatisfiable(found) and _is_unsatisfiable(problem)):
                node, place, problem = child, where, found
                break
        else:
            return place, problem
        if not isinstance(node, dict):
            return place, problem


def _is_unsatisfiable(problem: str) -> bool:
    return problem.startswith("Unsatisfiable")


def _too_complex(why: str, *, place: str = "#") -> InvalidRequest:
    return InvalidRequest(
        f"The JSON schema {why}.", hint="Use a simpler schema.", param="json_schema", place=place
    )
