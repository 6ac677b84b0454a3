"""The few value types that every floor speaks: a message, how tokens are chosen, what a turn cost."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant"]
StopReason = Literal["stop", "length", "cancelled"]
"""`stop`: the model ended its answer or a stop string was met; `length`: the token limit was met."""


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: Role
    content: str


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
