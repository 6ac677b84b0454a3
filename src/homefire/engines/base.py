"""The contract between Homefire and whatever runs a model.

An engine holds the weights of one model and answers requests for it. It declares what it can do
(`capabilities`), so that a gap is a line in a list and never a silence. These types are also what crosses
the Unix socket to a worker process (msgpack of the structs below).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

import msgspec

from homefire.types import Message, Sampling, StopReason, Timings, Usage

Capability = Literal[
    "stream", "cancel", "stop_strings", "seed", "sampling", "json_schema", "grammar", "logprobs",
    "count", "batching", "embeddings", "adapters",
]  # fmt: skip


class Adapter(msgspec.Struct, frozen=True):
    """A LoRA adapter loaded beside the base weights (a GGUF file) and its strength."""

    path: str
    scale: float = 1.0


class EngineRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One generation: either `messages` (rendered with the model's chat template) or `prompt` (raw)."""

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    sampling: Sampling = Sampling()
    adapter_scales: tuple[float, ...] | None = None
    """One strength for each adapter of the `ModelFiles`; None: the strengths they were loaded with."""


class TokenLogprob(msgspec.Struct, frozen=True):
    """A generated token with its natural-log probability (before sampling) and its most likely rivals.

    A character that takes several tokens may come as one entry with the figures of its last token.
    """

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class Delta(msgspec.Struct, frozen=True, tag="delta"):
    """New text (never a part of a character), with log-probabilities when asked for."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


class Finish(msgspec.Struct, frozen=True, kw_only=True, tag="finish"):
    """The end of a generation; always the last item of a stream that did not raise."""

    stop_reason: StopReason
    usage: Usage
    timings: Timings
    stop_string: str | None = None


Generated = Delta | Finish


class ModelFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine loads: one GGUF file, perhaps adapters, and how much context to hold."""

    name: str
    digest: str
    """Identity of the weights, for logs and caches (`sha256:…`)."""
    gguf_path: str
    gguf_sha256: str
    """Checked against the file before native code sees it."""
    adapters: tuple[Adapter, ...] = ()
    adapter_sha256s: tuple[str, ...] = ()
    context_length: int
    """Tokens one request may fill (prompt and answer together)."""
    num_parallel: int = 4
    """Requests decoded together, each with `context_length` tokens of its own."""
    num_threads: int = 1
    nice: int = 0
    """Added to the worker's niceness: the gate's engine must not slow a chat."""


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine says of itself."""

    state: Literal["stopped", "starting", "ready", "failed"]
    pid: int | None = None
    rss_bytes: int | None = None
    load_ms: float | None = None
    num_active: int = 0
    num_restarts: int = 0


class Engine(Protocol):
    """One model, loaded. All methods raise errors of `homefire.errors` (EngineCrashed, ContextOverflow…)."""

    files: ModelFiles
    capabilities: frozenset[Capability]

    async def ensure_ready(self) -> None:
        """Load if needed. Concurrent callers share one load. Never trust an earlier status: ask this."""
        ...

    def generate(self, request: EngineRequest) -> AsyncIterator[Generated]:
        """Stream an answer. Closing the iterator (`aclose`) cancels within one token and frees the slot."""
        ...

    async def count_tokens(self, messages: Sequence[Message], *, prompt: str | None = None) -> int:
        """Tokens of the rendered conversation including the prompt for an answer (or of `prompt`, raw)."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of unit length for each text."""
        ...

    def status(self) -> EngineStatus:
        """Cheap: no round trip."""
        ...

    async def stop(self) -> None:
        """End the process and give its memory back; running requests get EngineCrashed."""
        ...
