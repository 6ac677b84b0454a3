"""Everything that a message holds, as Markdown for people: text as it is, other parts introduced by what they are."""

from __future__ import annotations

import re

import msgspec

from homefire.types import Attachment, Content, Erased, Part, Reasoning, Text, ToolCall

_BACKTICKS = re.compile(r"`+")


def transcript(content: Content) -> str:
    """Text alone is returned unchanged."""
    if isinstance(content, str):
        return content
    return "\n\n".join(_part(part) for part in content)


def _part(part: Part) -> str:
    match part:
        case Text() | Erased():
            return part.text
        case Reasoning():
            return "Thought:\n\n" + "\n".join(f"> {line}".rstrip() for line in part.text.split("\n"))
        case ToolCall():
            arguments = msgspec.json.format(msgspec.json.encode(part.arguments), indent=2).decode()
            return f"Calls {_code(part.name)}:\n\n{_block(arguments, 'json')}"
        case Attachment():
            return _attachment(part)
    told = "\n\n".join(
        _block(one.text) if isinstance(one, Text) else _attachment(one) for one in part.content
    )
    return f"{'A tool failed' if part.is_error else 'A tool answered'}:\n\n{told}"


def _attachment(part: Attachment) -> str:
    name = _code(part.name or part.sha256[:12])
    return f"Attached: {name} ({part.media_type}, {part.size_bytes:,} bytes)"


def _code(text: str) -> str:
    """On one line; a name cannot end its own quotation."""
    return f"`{' '.join(text.replace('`', ' ').split())}`"


def _block(text: str, language: str = "") -> str:
    """With a fence that is longer than any in the text."""
    longest = max((len(found) for found in _BACKTICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
