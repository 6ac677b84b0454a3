"""The Anthropic messages dialect as types. Source: https://docs.anthropic.com/en/api/messages.

A field that is not here is refused by name. `cache_control` is accepted because prefixes are always cached
here; `metadata` and `service_tier` are accepted because official clients send them and they ask for nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from homefire.api.translation import Positive, Probability, TopK

Temperature = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1)]


class CacheControl(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Accepted and needs nothing: every prefix is cached."""

    type: Literal["ephemeral"]
    ttl: str | None = None
    scope: str | None = None


class TextBlock(Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="text", tag_field="type"):
    """What is said."""

    text: str
    cache_control: CacheControl | None = None
    citations: Any = None


class ThinkingBlock(
    Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="thinking", tag_field="type"
):
    """What a model thought. `redacted_thinking` is refused by its type: nobody here could read it."""

    thinking: str
    signature: str | None = None


class ToolUseBlock(
    Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="tool_use", tag_field="type"
):
    """A call of a tool."""

    id: Name
    name: Name
    input: dict[str, Any]
    cache_control: CacheControl | None = None
    caller: Any = None
    toolset_name: str | None = None


class ToolResultBlock(
    Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="tool_result", tag_field="type"
):
    """What a tool answered: text."""

    tool_use_id: Name
    content: str | list[TextBlock] | None = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None
    toolset_name: str | None = None


Block = TextBlock | ThinkingBlock | ToolUseBlock | ToolResultBlock


class InputMessage(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A message."""

    role: str
    content: str | list[Block]


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


class CountBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`POST /v1/messages/count_tokens`: a prompt."""

    model: str
    messages: Annotated[list[InputMessage], Meta(min_length=1)]
    system: str | list[TextBlock] | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    """Where a beta had it before `output_config.format`."""
    # Accepted without effect.
    cache_control: CacheControl | None = None
    # Accepted for the values that ask for nothing (`anthropic.HARMLESS`).
    thinking: Thinking | None = None
    tools: Any = None
    tool_choice: Any = None
    speed: str | None = None
    mcp_servers: Any = None
    context_management: Any = None


class MessagesBody(CountBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`POST /v1/messages`."""

    max_tokens: Positive
    stream: bool | None = None
    stop_sequences: Annotated[list[Name], Meta(max_length=16)] | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_k: TopK | None = None
    # Accepted without effect: notes, and values that ask for nothing.
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    # Refused unless null.
    container: Any = None
    diagnostics: Any = None
    inference_geo: str | None = None
    compaction: Any = None
    fallbacks: Any = None
    billing_policy: Any = None
    thread: Any = None


# What goes back. The events of a stream are bytes in `anthropic.py`.


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


class ModelCard(Struct, frozen=True):
    """A model that can be named."""

    id: str
    display_name: str
    created_at: str
    max_input_tokens: int | None
    lifecycle: str = "active"
    type: str = "model"


class ModelCards(Struct, frozen=True):
    """A page of them; `last_id` is where the next one starts."""

    data: list[ModelCard]
    first_id: str | None
    last_id: str | None
    has_more: bool = False
