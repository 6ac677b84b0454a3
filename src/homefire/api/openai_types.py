"""The OpenAI chat dialect as types: what is understood, and what goes back.

Source: https://platform.openai.com/docs/api-reference/chat. A field that is not here is refused by name. The
fields under *accepted without effect* are those that official clients and frameworks send by themselves and
whose harmless values change nothing here; any other value of them is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from homefire.api.logprobs import ChosenLogprob

Temperature = Annotated[float, Meta(ge=0, le=2)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[int, Meta(ge=1, le=1_000_000)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class TextPart(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a message; only text is understood."""

    type: str
    text: str | None = None


class ChatMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """A message as clients send it, or an answer of ours sent back whole (its empty fields pass)."""

    role: str
    content: str | list[TextPart] | None = None
    name: str | None = None
    refusal: str | None = None
    audio: Any = None
    annotations: Any = None
    function_call: Any = None
    tool_calls: Any = None


class JsonSchemaFormat(Struct, frozen=True, forbid_unknown_fields=True):
    """The schema an answer must fit. It is always enforced, whatever `strict` says."""

    name: str
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Struct, frozen=True, forbid_unknown_fields=True):
    """Free text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None


class StreamOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """`include_usage` adds a last chunk with the token counts."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    """Accepted: padding against traffic analysis, which a loopback server does not add."""


class ChatBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/chat/completions`."""

    model: str
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    stop: str | Annotated[list[str], Meta(max_length=16)] | None = None
    seed: Seed | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    # Extensions other local servers have too.
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    min_p: Probability | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    # Accepted without effect: notes for the provider's own records.
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, str] | None = None
    prompt_cache_key: str | None = None
    # Accepted without effect for the value that asks for nothing.
    n: int | None = None
    store: bool | None = None
    service_tier: str | None = None
    parallel_tool_calls: bool | None = None
    modalities: list[str] | None = None
    logit_bias: dict[str, float] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    function_call: Any = None
    audio: Any = None


class EmbeddingsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/embeddings`."""

    model: str
    input: str | Annotated[list[str], Meta(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None
    dimensions: int | None = None


# What goes back.


class Logprobs(Struct, frozen=True):
    """Of the tokens of one answer or chunk."""

    content: list[ChosenLogprob]
    refusal: None = None


class CachedDetails(Struct, frozen=True):
    """Part of the prompt that came from the prefix cache."""

    cached_tokens: int


class UsageBlock(Struct, frozen=True, omit_defaults=True):
    """Token counts; `trimmed_messages` (ours) is there when old messages were left out to fit."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedDetails
    trimmed_messages: int = 0


class AnswerMessage(Struct, frozen=True):
    """The model's message."""

    content: str
    role: str = "assistant"
    refusal: None = None


class Choice(Struct, frozen=True):
    """The one answer."""

    message: AnswerMessage
    finish_reason: str
    logprobs: Logprobs | None
    index: int = 0


class Completion(Struct, frozen=True):
    """A whole answer; `id` is the turn's id, which feedback is given by."""

    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: UsageBlock
    object: str = "chat.completion"


class ChunkDelta(Struct, frozen=True, omit_defaults=True):
    """What a chunk adds."""

    role: str | None = None
    content: str | None = None


class ChunkChoice(Struct, frozen=True):
    """A piece of the one answer."""

    delta: ChunkDelta
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    index: int = 0


class Chunk(Struct, frozen=True):
    """One event of a stream."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: UsageBlock | msgspec.UnsetType | None = msgspec.UNSET
    object: str = "chat.completion.chunk"


class ModelCard(Struct, frozen=True):
    """A model that can be named."""

    id: str
    created: int
    owned_by: str = "homefire"
    object: str = "model"


class ModelCards(Struct, frozen=True):
    """All of them."""

    data: list[ModelCard]
    object: str = "list"


class Embedding(Struct, frozen=True):
    """One vector: numbers, or base64 of little-endian float32."""

    embedding: list[float] | str
    index: int
    object: str = "embedding"


class EmbeddingsUsage(Struct, frozen=True):
    """Tokens are counted for prompts only."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(Struct, frozen=True):
    """The vectors, in the order of the input."""

    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage
    object: str = "list"
