"""One setting's value: read from text by its type, shown, and described to a person."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from pydantic import TypeAdapter

from homefire.config.schema import Key

_UNSET = frozenset({"", "none", "null", "unset"})
_MAX_SHOWN = 80


def value_from_text(key: Key, text: str) -> Any:
    """`text` (environment, command line, `${VAR}`) as the key's type.

    Lists are JSON or separated by commas; an optional setting is unset by an empty text, `none` or `null`.
    Raises ValueError or pydantic's ValidationError.
    """
    if is_optional(key) and text.strip().lower() in _UNSET:
        return None
    if is_list(key):
        if text.lstrip().startswith("["):
            return msgspec.json.decode(text)
        return [part.strip() for part in text.split(",") if part.strip()]
    adapter: TypeAdapter[Any] = TypeAdapter(key.validator)
    return adapter.validate_strings(text, strict=False)


def is_optional(key: Key) -> bool:
    """Whether the setting may be unset (None)."""
    return type(None) in get_args(key.field.annotation)


def is_list(key: Key) -> bool:
    """Whether the setting is a list of texts."""
    return get_origin(key.field.annotation) is tuple


def type_name(key: Key) -> str:
    """The type in words: `whole number`, `true or false`, `one of trim, refuse`, …"""
    return _name_type(key.field.annotation)


def describe_expected(key: Key) -> str:
    """What the setting accepts: its type with its bounds."""
    schema = TypeAdapter(key.validator).json_schema()
    variants = [schema, *schema.get("anyOf", [])]
    bounds: list[str] = []
    for name, words in (
        ("minimum", "at least"), ("exclusiveMinimum", "more than"), ("maximum", "at most"),
        ("minLength", "length at least"),
    ):  # fmt: skip
        bounds.extend(f"{words} {variant[name]}" for variant in variants if name in variant)
    words = type_name(key)
    return f"{words}, {', '.join(bounds)}" if bounds else words


def show_value(value: Any) -> str:
    """The value as it would be written in the file, cut when long."""
    if value is None:
        return "unset"
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _name_type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return f"one of {', '.join(str(choice) for choice in arguments)}"
    if origin is tuple:
        return "list of texts"
    if origin in (Union, types.UnionType):
        named = [_name_type(one) for one in arguments if one is not type(None)]
        return " or ".join([*named, "unset"] if type(None) in arguments else named)
    if hasattr(annotation, "__metadata__"):
        return _name_type(annotation.__origin__)
    return {bool: "true or false", int: "whole number", float: "number", str: "text"}[annotation]
