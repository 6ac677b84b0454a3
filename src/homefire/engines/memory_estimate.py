"""How much memory a GGUF model takes in llama.cpp, from its header alone.

Weights, the key-value cache of all slots in its own number format, what llama.cpp keeps for each cell of it, the
buffers of one batch, and the process around it. Within 10 % of what small models really take
(`tests/engines/test_memory_estimate.py`). Layers with a sliding window are counted with their window where the
header or llama.cpp says which they are, otherwise in full; compressed attention (MLA) is counted with keys and
values of the compressed row, which is an upper bound; the constant states of recurrent layers are left out.
Reading a header costs up to 0.2 s for a large vocabulary; its figures are remembered while the file stays.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from homefire.engines.base import GgufSource, ModelSpec
from homefire.engines.gguf_check import GgufHeader, check_gguf
from homefire.errors import BadModel, EngineOutOfMemory
from homefire.machine.memory import available_bytes

PROMPT_BATCH_TOKENS: Final = 256
"""A cancelled request stops between batches of its prompt; smaller is quicker to stop, larger is faster."""
SLOT_MULTIPLE_TOKENS: Final = 256
"""llama.cpp rounds the context of a slot up to this."""
ALL_F32: Final = 0
"""`general.file_type` of a file whose tensors are all f32; its key-value cache is kept in f32 too."""
PROCESS_BYTES: Final = 52 << 20
"""Python, the libraries and llama.cpp itself."""
CELL_BYTES: Final = 53
"""What llama.cpp keeps for each cell of the cache beside keys and values (measured)."""
MAX_LAYERS: Final = 10_000
"""No model has as many; a header can say anything."""
_WINDOW_PATTERNS: Final[Mapping[str, int]] = {"gemma2": 2, "gemma3": 6, "cohere2": 4, "gpt-oss": 2}
"""Every so-manieth layer sees everything, where the header does not say (llama.cpp's `set_swa_pattern`)."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The figures of a header that decide over memory."""

    weight_bytes: int
    kv_row_sizes: tuple[int, ...]
    """Numbers that each layer keeps for one token."""
    windows: tuple[int, ...]
    """Tokens that each layer sees; 0: all."""
    is_f32: bool
    embedding_length: int
    feed_forward_length: int
    num_tokens: int


def estimate_bytes(spec: ModelSpec) -> int:
    """What the model takes when it is loaded and used. Raises BadModel for a broken file."""
    assert isinstance(spec.source, GgufSource)
    shape = read_shape(Path(spec.source.path))
    adapters = sum(Path(adapter.path).stat().st_size for adapter in spec.source.adapters)
    slot_tokens = round_up(spec.context_length)
    numbers = sum(
        size * (min(slot_tokens, round_up(window + PROMPT_BATCH_TOKENS)) if window else slot_tokens)
        for size, window in zip(shape.kv_row_sizes, shape.windows, strict=True)
    )
    cache = spec.num_parallel * (numbers * (4 if shape.is_f32 else 2) + slot_tokens * CELL_BYTES)
    batch = 4 * PROMPT_BATCH_TOKENS * (6 * shape.embedding_length + 3 * shape.feed_forward_length)
    logits = 4 * shape.num_tokens * spec.num_parallel
    return shape.weight_bytes + adapters + cache + batch + logits + PROCESS_BYTES


def check_memory(spec: ModelSpec) -> None:
    """EngineOutOfMemory with the figures when a model surely does not fit, before the machine swaps."""
    needed, available = estimate_bytes(spec), available_bytes()
    if needed > available:
        raise EngineOutOfMemory(
            f"{spec.name} needs about {needed >> 20} MiB with {spec.num_parallel} × {spec.context_length} "
            f"tokens of context; {available >> 20} MiB are free.",
            hint="Lower serving.context_length or serving.num_parallel, or unload another model.",
            needed_bytes=needed,
            available_bytes=available,
        )


def round_up(num_tokens: int) -> int:
    """The context llama.cpp really makes when asked for `num_tokens`."""
    return -(-num_tokens // SLOT_MULTIPLE_TOKENS) * SLOT_MULTIPLE_TOKENS


def read_shape(path: Path) -> ModelShape:
    """The figures of a file; remembered while it stays as it is."""
    found = path.stat()
    return _read_shape(path, (found.st_ino, found.st_size, found.st_mtime_ns))


@functools.lru_cache(maxsize=256)
def _read_shape(path: Path, _signature: tuple[int, int, int]) -> ModelShape:
    header = check_gguf(path)
    try:
        return _shape_of(header)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError) as error:
        raise BadModel(
            f"The figures in the header of {path.name} cannot be those of a model: {error}.", file=str(path)
        ) from error


def _shape_of(header: GgufHeader) -> ModelShape:
    figures = _Figures(header.metadata, header.architecture)
    num_layers = figures.number("block_count", 0)
    if not 0 <= num_layers <= MAX_LAYERS:
        raise ValueError(f"it promises {num_layers} layers")
    heads = figures.per_layer("attention.head_count", num_layers, 1)
    embedding_length = figures.number("embedding_length", 0)
    head_dim = embedding_length // max(*heads, 1) if heads else 0
    row = figures.number("attention.key_length", head_dim) + figures.number(
        "attention.value_length", head_dim
    )
    kv_heads = figures.per_layer("attention.head_count_kv", num_layers, heads[0] if heads else 1)
    tokens = header.metadata.get("tokenizer.ggml.tokens", [])
    return ModelShape(
        weight_bytes=sum(tensor.size_bytes for tensor in header.tensors.values()),
        kv_row_sizes=tuple(count * row for count in kv_heads),
        windows=figures.windows(num_layers),
        is_f32=header.metadata.get("general.file_type") == ALL_F32,
        embedding_length=embedding_length,
        feed_forward_length=max(figures.per_layer("feed_forward_length", num_layers, 0), default=0),
        num_tokens=len(tokens) if isinstance(tokens, list) else 0,
    )


@dataclass(frozen=True, slots=True)
class _Figures:
    metadata: Mapping[str, Any]
    architecture: str

    def number(self, key: str, otherwise: int) -> int:
        value = self.metadata.get(f"{self.architecture}.{key}")
        return value if isinstance(value, int) else otherwise

    def per_layer(self, key: str, num_layers: int, otherwise: int) -> tuple[int, ...]:
        """One number for each layer: the header gives one for all, or a list."""
        value = self.metadata.get(f"{self.architecture}.{key}", otherwise)
        if isinstance(value, list):
            return tuple(int(item) for item in value[:num_layers])
        return (value if isinstance(value, int) else otherwise,) * num_layers

    def windows(self, num_layers: int) -> tuple[int, ...]:
        window = self.number("attention.sliding_window", 0)
        pattern = self.metadata.get(f"{self.architecture}.attention.sliding_window_pattern")
        if isinstance(pattern, list):
            return tuple(window if slides else 0 for slides in pattern[:num_layers])
        every = pattern if isinstance(pattern, int) else _WINDOW_PATTERNS.get(self.architecture, 0)
        if not window or not every:
            return (0,) * num_layers
        return tuple(window if layer % every < every - 1 else 0 for layer in range(num_layers))
