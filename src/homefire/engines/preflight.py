"""Before native code gets a model: are its bytes the registered ones, and does it fit in memory?

llama.cpp maps files unread and takes memory as it goes, so both would otherwise show as nonsense or a kill.
"""

from __future__ import annotations

from pathlib import Path

from homefire.engines.base import GgufSource, ModelSpec
from homefire.engines.gguf_check import check_gguf
from homefire.errors import EngineOutOfMemory
from homefire.machine.memory import available_bytes

SLOT_MULTIPLE_TOKENS = 256
"""llama.cpp rounds the context of a slot up to this."""
ALL_F32 = 0
"""`general.file_type` of a file whose tensors are all f32; its key-value cache is kept in f32 too."""


def estimate_bytes(spec: ModelSpec) -> int:
    """What loading will need at least: the weights and the key-value caches of all slots."""
    assert isinstance(spec.source, GgufSource)
    header = check_gguf(Path(spec.source.path))
    name = header.architecture

    def figure(key: str, otherwise: int) -> int:
        value = header.metadata.get(f"{name}.{key}", otherwise)
        return value if isinstance(value, int) else otherwise

    num_heads = figure("attention.head_count", 1)
    num_kv_heads = figure("attention.head_count_kv", num_heads)
    head_dim = figure("embedding_length", 0) // max(num_heads, 1)
    row = num_kv_heads * (
        figure("attention.key_length", head_dim) + figure("attention.value_length", head_dim)
    )
    num_rows = figure("block_count", 0) * round_up(spec.context_length) * spec.num_parallel
    weights = sum(tensor.size_bytes for tensor in header.tensors.values())
    number_bytes = 4 if header.metadata.get("general.file_type") == ALL_F32 else 2
    return weights + num_rows * row * number_bytes


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
