"""Text is text: what a person writes never becomes a control token, whatever it looks like.

A tokenizer turns some texts, such as `<|im_end|>`, into one token that steers the model. Only the chat template may
write those. So before a conversation is rendered, each such text in it is hidden behind a marker that no tokenizer
knows; afterwards the markers are taken out again, and the stretches of text that held one (from one control token
of the template to the next) are named, to be tokenised as plain characters. Serving, counting and training all
go through here. Costs one search for each text; more only where something is found.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Span = tuple[int, int]
"""`[start, end)` in characters."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a prompt; in a `plain` one no text is a control token."""

    text: str
    plain: bool


def pieces_of(text: str, plain: Iterable[Span]) -> list[Piece]:
    """The text in order, cut where plain stretches begin and end."""
    pieces: list[Piece] = []
    position = 0
    for start, end in plain:
        pieces += [Piece(text[position:start], False), Piece(text[start:end], True)]
        position = end
    pieces.append(Piece(text[position:], False))
    return [piece for piece in pieces if piece.text]


@dataclass(frozen=True, slots=True)
class Unhidden:
    """A rendered text as it was meant: without markers, with its spans moved and its plain stretches."""

    text: str
    spans: tuple[Span, ...]
    plain: tuple[Span, ...]


class Hidden:
    """What `hide` found in one conversation, and the conversation with it hidden."""

    def __init__(self, value: Any, pattern: re.Pattern[str]) -> None:
        self._control = pattern
        texts = list(_strings(value))
        # A name in letters only: templates that write JSON or trim their input leave it alone.
        self._name = next(
            name for n in itertools.count() if not any((name := f"QZ{n}ZQ") in t for t in texts)
        )
        self._marker = re.compile(f"{self._name}([0-9a-f]+)Z")
        self.value = _mapped(value, self._hide)

    def _hide(self, text: str) -> str:
        """The first character of each text that looks like a control token becomes a marker."""
        starts = [found.start() for found in self._control.finditer(text)]
        parts, position = [], 0
        for start in starts:
            parts += [text[position:start], f"{self._name}{ord(text[start]):x}Z"]
            position = start + 1
        return "".join((*parts, text[position:]))

    def unhide(self, rendered: str, spans: Iterable[Span]) -> Unhidden:
        """Take the markers out of what a template made of `value`."""
        edges = [0]
        for found in self._control.finditer(rendered):
            if found.start() >= edges[-1]:  # two that overlap: the first one is the token
                edges += [found.start(), found.start() + len(found.group(1))]
        edges.append(len(rendered))
        marks = [(found.start(), found.end()) for found in self._marker.finditer(rendered)]
        plain = [
            (start, end)
            for start, end in itertools.pairwise(edges)
            if any(start <= mark_start < end for mark_start, _ in marks)
        ]

        def moved(position: int) -> int:
            return position - sum(end - start - 1 for start, end in marks if end <= position)

        return Unhidden(
            text=self._marker.sub(lambda found: chr(int(found.group(1), 16)), rendered),
            spans=tuple((moved(start), moved(end)) for start, end in spans),
            plain=tuple((moved(start), moved(end)) for start, end in plain),
        )


class ControlText:
    """The texts that one tokenizer turns into control tokens."""

    def __init__(self, texts: Iterable[str]) -> None:
        longest_first = sorted({text for text in texts if text}, key=lambda text: (-len(text), text))
        either = "|".join(map(re.escape, longest_first))
        self._any = re.compile(either) if longest_first else None
        # Looking ahead finds those that overlap, too.
        self._each = re.compile(f"(?=({either}))")

    def hide(self, value: Any) -> Hidden | None:
        """Hide control text in all strings of a value made of dicts, lists and strings; None: it has none."""
        return Hidden(value, self._each) if any(map(self.is_in, _strings(value))) else None

    def is_in(self, text: str) -> bool:
        """Whether the text holds any."""
        return self._any is not None and self._any.search(text) is not None


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {_mapped(key, change): _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    return value
