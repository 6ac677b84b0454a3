"""The Ollama dialect as types. Source: https://github.com/ollama/ollama/blob/main/docs/api.md.

A field or option that is not here is refused by name. Accepted without effect are only values that ask for
nothing (an empty `suffix`, `think: false`, a penalty of 0).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from homefire.api.logprobs import ChosenLogprob
from homefire.api.translation import (
    NumLogprobs,
    Probability,
    RepetitionPenalty,
    Seed,
    StopStrings,
    Temperature,
    TopK,
)


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """How tokens are chosen. Options of Ollama's own loader (`num_gpu`, `num_thread`, …) are refused."""

    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_k: TopK | None = None
    min_p: Probability | None = None
    repeat_penalty: RepetitionPenalty | None = None
    seed: Seed | None = None
    num_predict: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None
    """-1 as in Ollama: until the model stops (here at most `chat.max_tokens`)."""
    stop: StopStrings | None = None
    num_ctx: Annotated[int, Meta(ge=1)] | None = None
    """Checked against the model's context; every request has all of it, so a smaller one changes nothing."""
    # Accepted for the values that ask for nothing (`ollama.HARMLESS_OPTIONS`).
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    typical_p: float | None = None
    tfs_z: float | None = None
    repeat_last_n: int | None = None
    penalize_newline: bool | None = None
    num_keep: int | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    num_thread: int | None = None
    numa: bool | None = None
    low_vram: bool | None = None
    f16_kv: bool | None = None
    logits_all: bool | None = None
    vocab_only: bool | None = None
    embedding_only: bool | None = None
    use_mmap: bool | None = None
    use_mlock: bool | None = None


class CalledFunction(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What was called."""

    name: Annotated[str, Meta(min_length=1)]
    arguments: dict[str, Any] | None = None
    index: int | None = None
    description: str | None = None


class ToolCallPart(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A call in an assistant's message; older clients know no `id`."""

    function: CalledFunction
    id: str | None = None
    type: str | None = None


class ChatMessage(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A message as clients send it, also an answer sent back whole."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[Any] | None = None
    tool_calls: list[ToolCallPart] | None = None
    tool_name: str | None = None
    name: str | None = None
    """What older clients say for `tool_name`."""
    tool_call_id: str | None = None


class AskBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What both ways to ask have."""

    model: str
    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    options: Options | None = None
    keep_alive: float | str | None = None
    """Only 0 with an empty prompt does something: residency is the server's own decision."""
    logprobs: bool | None = None
    top_logprobs: NumLogprobs | None = None
    think: bool | str | None = None
    truncate: bool | None = None
    """What to do with a prompt that does not fit; None: the setting `chat.overflow`."""
    shift: bool | None = None


class ChatBody(AskBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`POST /api/chat`. No messages: load the model (or unload it with `keep_alive: 0`)."""

    messages: list[ChatMessage] | None = None
    tools: Any = None


class GenerateBody(AskBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`POST /api/generate`. An empty prompt: load the model (or unload it with `keep_alive: 0`)."""

    prompt: str | None = None
    system: str | None = None
    raw: bool | None = None
    suffix: str | None = None
    template: str | None = None
    context: list[int] | None = None
    images: list[Any] | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None


class EmbedBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /api/embed`: one text or many."""

    model: str
    input: str | Annotated[list[Any], Meta(max_length=2048)]
    truncate: bool | None = None
    """Accepted: a text that is too long is an error in any case, never cut."""
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    options: Options | None = None
    keep_alive: float | str | None = None


class OldEmbedBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /api/embeddings`: one text."""

    model: str
    prompt: str
    options: Options | None = None
    keep_alive: float | str | None = None


class ShowBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /api/show`; older clients say `name`."""

    model: str | None = None
    name: str | None = None
    verbose: bool | None = None
    # Refused unless empty.
    system: str | None = None
    template: str | None = None
    options: Any = None


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
    """`GET /api/version`: the Ollama release whose clients are served, and this program's own version."""

    version: str
    homefire: str


class EmbedAnswer(Struct, frozen=True):
    """`POST /api/embed`: the vectors, in the order of the input."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    prompt_eval_count: int


class OldEmbedAnswer(Struct, frozen=True):
    """`POST /api/embeddings`."""

    embedding: list[float]
