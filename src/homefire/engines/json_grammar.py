"""JSON Schema to GBNF, so that an answer is valid against the schema by construction.

Our own, because the library's way (llguidance) goes on *without* any constraint when it does not understand a
schema. Here a keyword that is not enforced is an UnsupportedParameter that names it. Every answer the grammar
allows is valid; not every valid document can be written: properties come in the order of the schema, objects
with listed properties have no others, and there is at most one space between tokens. `format` and the other
annotations say nothing about validity (JSON Schema 2020-12, section 7) and are passed over.

Pure; costs microseconds per keyword. GBNF: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from homefire.errors import InvalidRequest, UnsupportedParameter

MAX_DEPTH = 64
MAX_REPEATS = 10_000
ANNOTATIONS = frozenset({
    "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "format", "$schema",
    "$id", "$comment", "$anchor", "$defs", "definitions", "contentEncoding", "contentMediaType", "strict",
})  # fmt: skip
_BY_TYPE = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength"}),
    "number": frozenset(),
    "integer": frozenset(),
    "boolean": frozenset(),
    "null": frozenset(),
}
_PRIMITIVES = {
    "space": '" "?',
    "character": r'[^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt/] | "u" [0-9a-fA-F]{4})',
    "integer": '"-"? ("0" | [1-9] [0-9]{0,15})',
    "number": 'integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})?',
    "string": r'"\"" character* "\""',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "value": "object | array | string | number | boolean | null",
    "object": '"{" space (string ":" space value ("," space string ":" space value)*)? space "}"',
    "array": '"[" space (value ("," space value)*)? space "]"',
}
_NEEDS = {
    "number": ("integer",),
    "string": ("character",),
    "value": ("object", "array", "string", "number", "boolean", "null"),
    "object": ("space", "string", "value"),
    "array": ("space", "value"),
}


def to_grammar(schema: Mapping[str, Any]) -> str:
    """A GBNF grammar whose every sentence is valid against `schema`.

    UnsupportedParameter (`details["param"]`) for a keyword that could not be enforced, InvalidRequest for a
    schema that is malformed.
    """
    builder = _Builder(schema)
    builder.rules["root"] = builder.expression(schema, "#", depth=0)
    return "".join(f"{name} ::= {body}\n" for name, body in builder.rules.items())


class _Builder:
    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        self.rules: dict[str, str] = {}
        self.references: dict[str, str] = {}

    def use(self, primitive: str) -> str:
        if primitive not in self.rules:
            self.rules[primitive] = _PRIMITIVES[primitive]
            for needed in _NEEDS.get(primitive, ()):
                self.use(needed)
        return primitive

    def expression(self, schema: Any, place: str, *, depth: int) -> str:
        """A GBNF expression for the schema at `place`, safe to put between others."""
        if depth > MAX_DEPTH:
            raise InvalidRequest(
                f"The JSON schema is nested more than {MAX_DEPTH} deep.", param="json_schema"
            )
        if schema is True:
            return self.use("value")
        if not isinstance(schema, Mapping):
            raise _malformed(place, "is neither an object nor true")
        keywords = {key for key in schema if key not in ANNOTATIONS}
        if "$ref" in keywords:
            self.only(keywords, {"$ref"}, place)
            return self.reference(schema["$ref"], place, depth=depth)
        if "const" in keywords:
            self.only(keywords, {"const", "type"}, place)
            return _literal(json.dumps(schema["const"], ensure_ascii=False))
        if "enum" in keywords:
            self.only(keywords, {"enum", "type"}, place)
            values = _sequence(schema["enum"], f"{place}/enum")
            return _either([_literal(json.dumps(value, ensure_ascii=False)) for value in values])
        for choice in ("anyOf", "oneOf"):
            if choice in keywords:
                self.only(keywords, {choice}, place)
                options = _sequence(schema[choice], f"{place}/{choice}")
                if choice == "oneOf" and not _disjoint(options):
                    raise _unsupported(
                        "oneOf", place, "its options are not told apart by their types; anyOf may serve"
                    )
                return _either(
                    [
                        self.expression(option, f"{place}/{choice}/{index}", depth=depth + 1)
                        for index, option in enumerate(options)
                    ]
                )
        return self.typed(schema, keywords, place, depth=depth)

    def typed(self, schema: Mapping[str, Any], keywords: set[str], place: str, *, depth: int) -> str:
        stated = schema.get("type")
        if stated is None:
            implied = [kind for kind, allowed in _BY_TYPE.items() if keywords & allowed]
            if not implied:
                self.only(keywords, set(), place)
                return self.use("value")
            stated = implied
        kinds = [stated] if isinstance(stated, str) else _sequence(stated, f"{place}/type")
        unknown = [kind for kind in kinds if kind not in _BY_TYPE]
        if unknown:
            raise _malformed(place, f"has the unknown type {unknown[0]!r}")
        self.only(keywords, {"type"}.union(*(_BY_TYPE[kind] for kind in kinds)), place)
        return _either([self.of_type(kind, schema, place, depth=depth) for kind in kinds])

    def of_type(self, kind: str, schema: Mapping[str, Any], place: str, *, depth: int) -> str:
        if kind == "object":
            return self.object(schema, place, depth=depth)
        if kind == "array":
            return self.array(schema, place, depth=depth)
        if kind == "string" and ("minLength" in schema or "maxLength" in schema):
            least, most = _bounds(schema, "minLength", "maxLength", place)
            return f'"\\"" {self.use("character")}{_repeat(least, most)} "\\""'
        return self.use(kind)

    def object(self, schema: Mapping[str, Any], place: str, *, depth: int) -> str:
        properties = schema.get("properties", {})
        required = _sequence(schema.get("required", []), f"{place}/required", may_be_empty=True)
        extra = schema.get("additionalProperties", not properties)
        if not isinstance(properties, Mapping):
            raise _malformed(f"{place}/properties", "is no object")
        missing = [name for name in required if name not in properties]
        if missing:
            raise _unsupported(
                "required", place, f"it names {missing[0]!r}, which properties does not describe"
            )
        self.use("space")
        members = [
            (self.member(name, value, f"{place}/properties/{name}", depth=depth + 1), name in required)
            for name, value in properties.items()
        ]
        if members:
            # With listed properties no others are written: still valid, whatever additionalProperties allows.
            return f'"{{" space {_members(members)} space "}}"'
        if extra is False:
            return '"{" space "}"'
        value = self.expression(extra, f"{place}/additionalProperties", depth=depth + 1)
        member = f'{self.use("string")} ":" space {value}'
        return f'"{{" space ({member} ("," space {member})*)? space "}}"'

    def member(self, name: str, schema: Any, place: str, *, depth: int) -> str:
        """A rule of its own: a member is mentioned once for each optional one before it."""
        rule = f"member{len(self.rules)}"
        self.rules[rule] = ""
        key = _literal(json.dumps(name, ensure_ascii=False))
        self.rules[rule] = f'{key} ":" space {self.expression(schema, place, depth=depth)}'
        return rule

    def array(self, schema: Mapping[str, Any], place: str, *, depth: int) -> str:
        item = self.expression(schema.get("items", True), f"{place}/items", depth=depth + 1)
        least, most = _bounds(schema, "minItems", "maxItems", place)
        self.use("space")
        if most == 0:
            return '"[" space "]"'
        more = f'("," space {item}){_repeat(max(least - 1, 0), None if most is None else most - 1)}'
        filled = f"{item} {more}"
        return f'"[" space {filled if least else f"({filled})?"} space "]"'

    def reference(self, target: Any, place: str, *, depth: int) -> str:
        if not isinstance(target, str) or not target.startswith("#"):
            raise _unsupported("$ref", place, "only references within the schema (#/…) are followed")
        if target not in self.references:
            self.references[target] = name = f"ref{len(self.references)}"
            found: Any = self.schema
            for part in target.removeprefix("#").split("/")[1:]:
                key = part.replace("~1", "/").replace("~0", "~")
                if not isinstance(found, Mapping) or key not in found:
                    raise _malformed(place, f"refers to {target!r}, which does not exist")
                found = found[key]
            self.rules[name] = self.expression(found, target, depth=depth + 1)
        return self.references[target]

    @staticmethod
    def only(keywords: set[str], allowed: set[str] | frozenset[str], place: str) -> None:
        left = sorted(keywords - allowed)
        if left:
            raise _unsupported(left[0], place, "it would not be enforced")


def _members(members: Sequence[tuple[str, bool]]) -> str:
    """Members in order, optional ones left out at will, commas exactly between those present."""

    def rest(index: int) -> str:
        """What may follow when something was written before `index`."""
        if index == len(members):
            return ""
        text, is_required = members[index]
        here = f'"," space {text}'
        return f"{here if is_required else f'({here})?'} {rest(index + 1)}".strip()

    firsts: list[str] = []
    for index, (text, is_required) in enumerate(members):
        firsts.append(f"{text} {rest(index + 1)}".strip())
        if is_required:
            return f"({' | '.join(firsts)})"
    return f"({' | '.join(firsts)})?"


def _disjoint(options: Sequence[Any]) -> bool:
    """Whether no document can match two of them, as far as types and constants show."""
    kinds = [option.get("type") if isinstance(option, Mapping) else None for option in options]
    if not all(isinstance(kind, str) for kind in kinds):
        return False
    return len(set(kinds)) == len(kinds) and not {"integer", "number"} <= set(kinds)


def _bounds(schema: Mapping[str, Any], low: str, high: str, place: str) -> tuple[int, int | None]:
    least, most = schema.get(low, 0), schema.get(high)
    for name, value in ((low, least), (high, most)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise _malformed(f"{place}/{name}", "is no count")
        if value is not None and value > MAX_REPEATS:
            raise _unsupported(name, place, f"more than {MAX_REPEATS} repetitions are not enforced")
    if most is not None and most < least:
        raise _malformed(place, f"has {low} above {high}")
    return least, most


def _repeat(least: int, most: int | None) -> str:
    return "*" if (least, most) == (0, None) else f"{{{least},{'' if most is None else most}}}"


def _either(options: Sequence[str]) -> str:
    return options[0] if len(options) == 1 else f"({' | '.join(options)})"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def _sequence(value: Any, place: str, *, may_be_empty: bool = False) -> list[Any]:
    if not isinstance(value, list | tuple) or not (value or may_be_empty):
        raise _malformed(place, "is no list, or an empty one")
    return list(value)


def _malformed(place: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"The JSON schema is malformed: {place} {why}.", param="json_schema", place=place)


def _unsupported(keyword: str, place: str, why: str) -> UnsupportedParameter:
    return UnsupportedParameter(
        f"The JSON schema keyword {keyword!r} at {place} is not supported: {why}.",
        hint="Leave it out, or pass a GBNF grammar.",
        param="json_schema",
        keyword=keyword,
        place=place,
    )
