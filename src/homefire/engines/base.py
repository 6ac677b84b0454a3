"""The contract between Homefire and whatever runs a model.

An engine holds the weights of one model and answers requests for it. It declares what it can do
(`capabilities`), so that a gap is a line in a list and never a silence. These types are also what crosses
the Unix socket to a worker process (msgpack of the structs below).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

import msgspec

from homefire.errors import EngineError
from homefire.types import Message, Sampling, StopReason, Timings, Usage

Capability = Literal[
    "stream", "cancel", "stop_strings", "seed", "sampling", "json_schema", "grammar", "logprobs",
    "count", "batching", "embeddings", "adapters", "sleep",
]  # fmt: skip


class Adapter(msgspec.Struct, frozen=True):
    """A LoRA adapter loaded beside the base weights (a GGUF file) and its strength."""

    path: str
    sha256: str
    scale: float = 1.0


class GgufSource(msgspec.Struct, frozen=True, tag="gguf"):
    """One GGUF file, perhaps with adapters."""

    path: str
    sha256: str
    adapters: tuple[Adapter, ...] = ()

    @property
    def identity(self) -> str:
        """The same for the same weights, wherever they lie."""
        return ":".join((self.sha256, *(adapter.sha256 for adapter in self.adapters)))


class FolderSource(msgspec.Struct, frozen=True, tag="folder"):
    """A folder of safetensors and tokenizer files; `files` maps relative path to SHA-256."""

    path: str
    files: dict[str, str]
    base: FolderSource | None = None
    """Of an adapter: the whole model that it belongs to."""

    @property
    def identity(self) -> str:
        """The same for the same files, wherever they lie."""
        own = ":".join(f"{name}={sha256}" for name, sha256 in sorted(self.files.items()))
        return own if self.base is None else f"{own}:{self.base.identity}"


class UrlSource(msgspec.Struct, frozen=True, tag="url"):
    """A model on another server, by the name it has there."""

    url: str
    model: str

    @property
    def identity(self) -> str:
        """What another server serves under a name; it may change that without our knowing."""
        return f"{self.url}#{self.model}"


Source = GgufSource | FolderSource | UrlSource
SourceKind = Literal["gguf", "folder", "url"]
"""What an engine reads; its factory says so as `source_kind`, and the catalog provides it."""


class EngineRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One generation: either `messages` (rendered with the model's chat template) or `prompt` (raw)."""

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    sampling: Sampling = Sampling()
    conversation: str | None = None
    """Requests with the same key share a prefix: an engine may keep what it computed for the next one."""


class TokenLogprob(msgspec.Struct, frozen=True, gc=False):
    """A generated token with its natural-log probability (before sampling) and its most likely rivals.

    A character that takes several tokens may come as one entry with the figures of its last token.
    """

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class Delta(msgspec.Struct, frozen=True, gc=False, tag="delta"):
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


class Embeddings(msgspec.Struct, frozen=True):
    """One vector of unit length for each text, and the tokens that all of them had."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One model as the catalog hands it to an engine: where its weights are and how it is to be run."""

    name: str
    digest: str
    """Identity of the weights, for logs and caches (`sha256:…`)."""
    engine: str
    """The name under which a plugin registered the engine that runs it."""
    source: Source
    context_length: int
    """Tokens one request may fill (prompt and answer together), as asked for."""
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
    """One model and what runs it. All methods raise errors of `homefire.errors` (EngineCrashed, …)."""

    spec: ModelSpec
    capabilities: frozenset[Capability]

    @property
    def context_length(self) -> int:
        """Tokens one request may fill; what the spec asks for unless the engine holds fewer."""
        ...

    async def estimate(self) -> int:
        """Bytes of memory it takes while loaded; 0 for a model on another server.

        Reads metadata at most, off the event loop, and no weights. Raises BadModel for a broken file.
        """
        ...

    async def ensure_ready(self) -> None:
        """Load if needed. Concurrent callers share one load. Never trust an earlier status: ask this."""
        ...

    async def sleep(self) -> None:
        """Give the accelerator's memory back but keep what makes `wake` fast. Capability `sleep`."""
        ...

    async def wake(self) -> None:
        """Undo `sleep`. Capability `sleep`."""
        ...

    def generate(self, request: EngineRequest) -> AsyncIterator[Generated]:
        """Stream an answer. Closing the iterator (`aclose`) cancels within one token and frees the slot."""
        ...

    async def count_tokens(self, messages: Sequence[Message], *, prompt: str | None = None) -> int:
        """Tokens of the rendered conversation including the prompt for an answer (or of `prompt`, raw)."""
        ...

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """All texts in one call. ContextOverflow, with its figures, for a text that is too long."""
        ...

    def status(self) -> EngineStatus:
        """Cheap: no round trip."""
        ...

    async def stop(self) -> None:
        """End the process and give its memory back; running requests get EngineCrashed."""
        ...


class NoSleep:
    """For engines without the capability `sleep`."""

    async def sleep(self) -> None:
        """Not offered: the planner unloads such an engine instead."""
        raise EngineError("This engine cannot sleep.", hint="Unload the model instead.")

    async def wake(self) -> None:
        """Not offered."""
        raise EngineError("This engine cannot sleep.", hint="Load the model instead.")
