"""The OpenAI chat dialect as types: what is understood, and what goes back.

Source: https://platform.openai.com/docs/api-reference/chat. A field that is not here is refused by name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from homefire.api.logprobs import ChosenLogprob
from homefire.api.translation import (
    NumLogprobs,
    Positive,
    Probability,
    RepetitionPenalty,
    Seed,
    StopStrings,
    Temperature,
    TopK,
)


class TextPart(Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="text", tag_field="type"):
    """A part of a message; other kinds (pictures, sound, files) are refused by their `type`."""

    text: str
    # Where a cache may begin; every prefix is cached here.
    cache_control: Any = None
    prompt_cache_breakpoint: Any = None


class FunctionCall(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """`arguments` is a JSON object as a string; some models write nothing for none."""

    name: Annotated[str, Meta(min_length=1)]
    arguments: str | None = None
    parsed_arguments: Any = None
    """What OpenAI's client adds, decoded from `arguments`."""


class ToolCallPart(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A call in an assistant's message. `index` stays from a stream that was put together."""

    id: Annotated[str, Meta(min_length=1)]
    type: str | None = None
    function: FunctionCall | None = None
    custom: Any = None
    index: int | None = None


class ChatMessage(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A message as clients send it, or an answer sent back whole (its empty fields pass)."""

    role: str
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCallPart] | None = None
    function_call: FunctionCall | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    parsed: Any = None
    """What OpenAI's client adds, decoded from `content`."""
    # Refused unless empty.
    refusal: str | None = None
    audio: Any = None
    annotations: Any = None
    images: Any = None
    reasoning_details: Any = None
    thinking_blocks: Any = None
    provider_specific_fields: dict[str, Any] | None = None


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
    """Accepted: padding against traffic analysis, which this server does not add."""


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
    stop: StopStrings | None = None
    seed: Seed | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: NumLogprobs | None = None
    # Extensions other local servers have too.
    top_k: TopK | None = None
    min_p: Probability | None = None
    repetition_penalty: RepetitionPenalty | None = None
    # Accepted without effect: notes for the provider's own records, and wishes about caches.
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, str] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: Any = None
    parallel_tool_calls: bool | None = None
    # Accepted for the values that ask for nothing (`openai.HARMLESS`).
    n: int | None = None
    store: bool | None = None
    service_tier: str | None = None
    modalities: list[str] | None = None
    logit_bias: dict[str, float] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    tools: Any = None
    tool_choice: Any = None
    functions: Any = None
    function_call: Any = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None
    moderation: Any = None


class EmbeddingsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/embeddings`. Texts only: tokens of another tokenizer mean nothing here."""

    model: str
    input: str | Annotated[list[Any], Meta(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Positive | None = None
    """The length the model's vectors have; another one is refused."""
    user: str | None = None


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
