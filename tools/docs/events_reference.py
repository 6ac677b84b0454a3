"""Write docs/reference/events.md from the event classes.

    python -m tools.docs.events_reference

A test compares the committed page with what this makes.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from homefire.store import events
from homefire.types import Message, Part

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "events.md"
HEAD = """\
# Events of the log

Made from `src/homefire/store/events.py` and `src/homefire/store/nouns/` by `python -m tools.docs.events_reference`.

Everything that ever happens to a home is one of these: a row of the table `events` in `homefire.db`, with a
number that grows by one (`seq`), its time (`at_s`, seconds since 1970), its `kind`, its `payload` (JSON, the
fields below) and two hashes. `hash` is the SHA-256 of the previous row's hash and all of this row, so a row
that was changed, removed or moved is noticed. No event is ever edited. A field may be added with a default;
none is renamed or removed. All that a home knows is made from these rows and can be made again
(`homefire doctor` compares both, while no server runs).
"""
COLUMNS = "| field | type | default |\n|---|---|---|"


def kinds() -> tuple[type[msgspec.Struct], ...]:
    """Every class of event, in the order of the file."""
    return typing.get_args(events.Event)


def make_page() -> str:
    """The whole page."""
    rows = [f"| [`{tag(kind)}`](#{tag(kind).replace('.', '')}) | {meaning(kind)} |" for kind in kinds()]
    parts = [HEAD, "| kind | meaning |\n|---|---|", *rows]
    for kind in kinds():
        parts += [f"\n## {tag(kind)}\n", meaning(kind) + "\n", COLUMNS]
        parts += [f"| `{name}` | {of_type} | {default} |" for name, of_type, default in fields(kind)]
    message_parts = [(f"A part of a message: `{tag(kind)}`", kind) for kind in typing.get_args(Part)]
    for title, kind in [("A message", Message), *message_parts]:
        parts += [f"\n## {title}\n", meaning(kind) + "\n", COLUMNS]
        parts += [f"| `{name}` | {of_type} | {default} |" for name, of_type, default in fields(kind)]
    return "\n".join(parts) + "\n"


def tag(kind: type[msgspec.Struct]) -> str:
    """`alias.moved`: what stands in the column `kind`."""
    return str(kind.__struct_config__.tag)


def meaning(kind: type[msgspec.Struct]) -> str:
    """What the class says of itself, on one line."""
    return " ".join((inspect.getdoc(kind) or "").split()).replace("|", "\\|")


def fields(kind: type[msgspec.Struct]) -> Iterator[tuple[str, str, str]]:
    """(name, type, default) of each field."""
    hints = typing.get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        default = "" if field.required else f"`{_default(field)}`"
        yield field.encode_name, _type_name(hints[field.name]), default


def _default(field: Any) -> str:
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return msgspec.json.encode(value).decode()


def _type_name(kind: Any) -> str:
    """A type in words."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("nothing" if part is type(None) else _type_name(part) for part in arguments)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"list of {_type_name(arguments[0])}"
    if origin is dict:
        return "object" if arguments[1] is Any else f"object of {_type_name(arguments[1])}"
    words = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return words.get(kind) or str(kind.__name__)


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
