"""The Ollama dialect as types. Source: https://github.com/ollama/ollama/blob/main/docs/api.md.

A field or option that is not here is refused by name. Accepted without effect are only values that ask for
nothing (an empty `suffix`, `think: false`, a penalty of 0).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from homefire.api.logprobs import ChosenLogprob
from homefire.api.openai_types import Probability, Seed, Temperature


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """How tokens are chosen. Options of Ollama's own loader (`num_gpu`, `num_thread`, …) are refused."""

    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    min_p: Probability | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    seed: Seed | None = None
    num_predict: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None
    """-1 as in Ollama: until the model stops (here at most `chat.max_tokens`)."""
    stop: str | list[str] | None = None
    num_ctx: Annotated[int, Meta(ge=1)] | None = None
    """Checked against the model's context; every request has all of it, so a smaller one changes nothing."""
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    mirostat: int | None = None


class ChatMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """A message as clients send it, also an answer of ours sent back whole."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[Any] | None = None
    tool_name: str | None = None
    tool_calls: list[Any] | None = None


class ChatBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /api/chat`. No messages: load the model (or unload it with `keep_alive: 0`)."""

    model: str
    messages: list[ChatMessage] | None = None
    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    options: Options | None = None
    keep_alive: float | str | None = None
    """Only 0 with an empty prompt does something: residency is the server's own decision."""
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    think: bool | str | None = None
    tools: list[Any] | None = None


class GenerateBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /api/generate`. An empty prompt: load the model (or unload it with `keep_alive: 0`)."""

    model: str
    prompt: str | None = None
    system: str | None = None
    raw: bool | None = None
    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    options: Options | None = None
    keep_alive: float | str | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    think: bool | str | None = None
    suffix: str | None = None
    template: str | None = None
    context: list[int] | None = None
    images: list[Any] | None = None


class ShowBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /api/show`; older clients say `name`."""

    model: str | None = None
    name: str | None = None
    verbose: bool | None = None


# What goes back.


class AnswerMessage(Struct, frozen=True):
    """The model's message, or a piece of it."""

    content: str
    role: str = "assistant"


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of a stream, or the whole answer: `message` in chat, `response` in generate. Durations in ns."""

    model: str
    created_at: str
    message: AnswerMessage | msgspec.UnsetType = msgspec.UNSET
    response: str | msgspec.UnsetType = msgspec.UNSET
    done: bool | msgspec.UnsetType = msgspec.UNSET
    done_reason: str | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None
    logprobs: list[ChosenLogprob] | None = None
    trimmed_messages: int = 0
    """Ours: how many old messages were left out to fit."""


class Details(Struct, frozen=True):
    """What kind of model it is."""

    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class Tag(Struct, frozen=True):
    """A model in the list."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details


class Tags(Struct, frozen=True):
    """`GET /api/tags`."""

    models: list[Tag]


class Loaded(Struct, frozen=True):
    """A model in memory. It stays until its place is needed, so `expires_at` is far away."""

    name: str
    model: str
    size: int
    digest: str
    details: Details
    expires_at: str
    size_vram: int
    context_length: int


class LoadedModels(Struct, frozen=True):
    """`GET /api/ps`."""

    models: list[Loaded]


class Shown(Struct, frozen=True):
    """`POST /api/show`."""

    modelfile: str
    parameters: str
    template: str
    details: Details
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str


class VersionInfo(Struct, frozen=True):
    """`GET /api/version`."""

    version: str
