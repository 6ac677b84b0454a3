"""The few value types that every floor speaks: a message, how tokens are chosen, what a turn cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
StopReason = Literal["stop", "length", "context", "tool_call", "cancelled"]
"""`stop`: the model ended its answer or a stop string was met; `length`: `max_tokens` was met; `context`: the
model's context is full; `tool_call`: the model waits for a tool's result; `cancelled`: somebody ended it."""


class Text(msgspec.Struct, frozen=True, gc=False, tag="text", tag_field="type"):
    """What is said."""

    text: str


class Reasoning(msgspec.Struct, frozen=True, gc=False, tag="reasoning", tag_field="type", omit_defaults=True):
    """What the model wrote for itself before its answer. `signature` is a remote model's proof of it."""

    text: str
    signature: str | None = None


class ToolCall(msgspec.Struct, frozen=True, gc=False, tag="tool_call", tag_field="type"):
    """The model asks for a tool. `arguments` is a JSON object."""

    call_id: str
    name: str
    arguments: dict[str, Any]

    def __hash__(self) -> int:
        return hash((self.call_id, self.name))  # a dictionary has no hash


class Attachment(
    msgspec.Struct, frozen=True, gc=False, tag="attachment", tag_field="type", omit_defaults=True
):
    """A picture, a sound or a document, by the name of its blob."""

    sha256: str
    media_type: str
    size_bytes: int
    name: str | None = None


class ToolResult(
    msgspec.Struct, frozen=True, gc=False, tag="tool_result", tag_field="type", omit_defaults=True
):
    """What a tool answered to the call `call_id`."""

    call_id: str
    content: tuple[Text | Attachment, ...]
    is_error: bool = False

    @property
    def text(self) -> str:
        """Its text parts, joined."""
        return "".join(part.text for part in self.content if isinstance(part, Text))


class Erased(msgspec.Struct, frozen=True, gc=False, tag="erased", tag_field="type"):
    """In the place of a content that somebody erased. Nothing can be said with it: no client may send it."""

    @property
    def text(self) -> str:
        """What people and models read in its place."""
        return ERASED_TEXT


ERASED_TEXT = "[erased]"
Part = Text | Reasoning | ToolCall | ToolResult | Attachment | Erased
Content = str | tuple[Part, ...]
"""What a message holds: text alone, or several parts in their order. `canonical` makes it one or the other."""


def canonical(parts: Iterable[Part]) -> Content:
    """The one form that stands for these parts: neighbouring texts joined, empty ones left out, text alone
    as a string. Two messages with the same content are equal and have the same digest."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, Text):
            if not part.text:
                continue
            if joined and isinstance(joined[-1], Text):
                joined[-1] = Text(joined[-1].text + part.text)
                continue
        joined.append(part)
    if not joined:
        return ""
    if len(joined) == 1 and isinstance(joined[0], Text):
        return joined[0].text
    return tuple(joined)


def text_of(content: Content) -> str:
    """What is said in a content: its text parts, joined (`[erased]` where it was erased).

    Not its reasoning, calls, results or attachments.
    """
    if isinstance(content, str):
        return content
    return "".join(part.text for part in content if isinstance(part, Text | Erased))


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message of a conversation: who says it, and its content in canonical form."""

    role: Role
    content: Content

    def __post_init__(self) -> None:
        if not isinstance(self.content, str):
            msgspec.structs.force_setattr(self, "content", canonical(self.content))

    @property
    def text(self) -> str:
        """What is said: the text parts, joined."""
        return text_of(self.content)

    @property
    def is_erased(self) -> bool:
        """Whether somebody erased what it held."""
        return any(isinstance(part, Erased) for part in self.parts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as parts; none for an empty message."""
        if isinstance(self.content, str):
            return (Text(self.content),) if self.content else ()
        return self.content


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How tokens are chosen. `None` means: the model's own default (greedy where it states none).

    `max_tokens=None` means: until the model stops or its context is full.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    json_schema: dict[str, Any] | None = None
    grammar: str | None = None
    """GBNF; excludes `json_schema`."""
    num_logprobs: int | None = None
    """None: no log-probabilities; n: of the chosen token and its n most likely rivals."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens as the engine counted them; `cached_tokens` of the prompt came from its prefix cache."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time went, in milliseconds."""

    queue_ms: float = 0.0
    load_ms: float = 0.0
    prompt_ms: float = 0.0
    decode_ms: float = 0.0
    first_token_ms: float = 0.0
