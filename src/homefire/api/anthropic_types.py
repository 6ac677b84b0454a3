"""The Anthropic messages dialect as types. Source: https://docs.anthropic.com/en/api/messages.

A field that is not here is refused by name. `cache_control` is accepted because prefixes are always cached
here; `metadata` and `service_tier` are accepted because official clients send them and they ask for nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from homefire.api.openai_types import Positive, Probability

Temperature = Annotated[float, Meta(ge=0, le=1)]


class CacheControl(Struct, frozen=True, forbid_unknown_fields=True):
    """A wish that is always granted: every prefix is cached."""

    type: Literal["ephemeral"]
    ttl: str | None = None


class TextBlock(Struct, frozen=True, forbid_unknown_fields=True):
    """A block of a message, also one of ours sent back; only text is understood."""

    type: str
    text: str | None = None
    cache_control: CacheControl | None = None
    citations: Any = None


class InputMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """A message; the system's is not among them."""

    role: str
    content: str | list[TextBlock]


class Metadata(Struct, frozen=True, forbid_unknown_fields=True):
    """Notes for the provider's own records."""

    user_id: str | None = None


class Thinking(Struct, frozen=True, forbid_unknown_fields=True):
    """Only `disabled` is understood."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None


class OutputFormat(Struct, frozen=True, forbid_unknown_fields=True):
    """A schema the answer must fit."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Only `format` is understood."""

    format: OutputFormat | None = None
    effort: str | None = None


class MessagesBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/messages`."""

    model: str
    messages: Annotated[list[InputMessage], Meta(min_length=1)]
    max_tokens: Positive
    system: str | list[TextBlock] | None = None
    stream: bool | None = None
    stop_sequences: Annotated[list[str], Meta(max_length=16)] | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    output_config: OutputConfig | None = None
    # Accepted without effect: notes, and values that ask for nothing.
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    cache_control: CacheControl | None = None
    thinking: Thinking | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None


class CountBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/messages/count_tokens`."""

    model: str
    messages: Annotated[list[InputMessage], Meta(min_length=1)]
    system: str | list[TextBlock] | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = None
    thinking: Thinking | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None


# What goes back.


class AnswerBlock(Struct, frozen=True):
    """The text of the answer."""

    text: str
    type: str = "text"


class UsageBlock(Struct, frozen=True, omit_defaults=True):
    """`input_tokens` are those not read from the prefix cache, as in the original."""

    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    trimmed_messages: int = 0
    """Ours: how many old messages were left out to fit."""


class AnswerMessage(Struct, frozen=True):
    """A whole answer; `id` is the turn's id, which feedback is given by."""

    id: str
    model: str
    content: list[AnswerBlock]
    stop_reason: str | None
    stop_sequence: str | None
    usage: UsageBlock
    type: str = "message"
    role: str = "assistant"


class MessageStart(Struct, frozen=True):
    """First event of a stream."""

    message: AnswerMessage
    type: str = "message_start"


class BlockStart(Struct, frozen=True):
    """The one block begins."""

    content_block: AnswerBlock
    index: int = 0
    type: str = "content_block_start"


class TextDelta(Struct, frozen=True):
    """New text."""

    text: str
    type: str = "text_delta"


class BlockDelta(Struct, frozen=True):
    """A piece of the one block."""

    delta: TextDelta
    index: int = 0
    type: str = "content_block_delta"


class StopDelta(Struct, frozen=True):
    """Why it ended."""

    stop_reason: str
    stop_sequence: str | None


class MessageDelta(Struct, frozen=True):
    """Why it ended, and what it cost."""

    delta: StopDelta
    usage: UsageBlock
    type: str = "message_delta"


class ModelCard(Struct, frozen=True):
    """A model that can be named."""

    id: str
    display_name: str
    created_at: str
    max_input_tokens: int | None
    lifecycle: str = "active"
    type: str = "model"


class ModelCards(Struct, frozen=True):
    """All of them."""

    data: list[ModelCard]
    first_id: str | None
    last_id: str | None
    has_more: bool = False
