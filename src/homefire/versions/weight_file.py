"""A safetensors file as its parts: the header's bytes, the tensors in file order, and whether all are finite.

The server imports neither numpy nor torch, yet it must split weights into blobs and see that none is broken.
The header is believed only after `catalog.safetensors_header` checked it against the file. Tensors are
streamed in pieces of `CHUNK_BYTES`; memory stays there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from homefire.catalog.safetensors_header import ITEM_BITS, read_header
from homefire.errors import BadModel, quoted

CHUNK_BYTES = 1 << 20


class TensorSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor's place: `start` and `size_bytes` count from the beginning of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    size_bytes: int


class WeightFile(msgspec.Struct, frozen=True, kw_only=True):
    """A checked file: `header` are the raw bytes before the first tensor, `tensors` are in file order."""

    path: Path
    header: bytes
    tensors: tuple[TensorSpan, ...]


def read_weight_file(path: Path) -> WeightFile:
    """The parts of a safetensors file; BadModel when it is not a valid one."""
    entries = read_header(path).tensors
    spans = sorted(
        (
            TensorSpan(
                name=name,
                dtype=entry.dtype,
                shape=entry.shape,
                start=entry.start,
                size_bytes=entry.end - entry.start,
            )
            for name, entry in entries.items()
        ),
        key=lambda span: (span.start, span.size_bytes, span.name),
    )
    with path.open("rb") as stream:
        length = 8 + int.from_bytes(stream.read(8), "little")
        stream.seek(0)
        header = stream.read(length)
    return WeightFile(path=path, header=header, tensors=tuple(spans))


def tensor_chunks(weights: WeightFile, span: TensorSpan) -> Iterator[bytes]:
    """The tensor's bytes in pieces of at most `CHUNK_BYTES` (a multiple of every element's size)."""
    with weights.path.open("rb") as stream:
        stream.seek(span.start)
        remaining = span.size_bytes
        while remaining:
            piece = stream.read(min(CHUNK_BYTES, remaining))
            if not piece:
                raise BadModel(f"{weights.path.name} ends inside the tensor {quoted(span.name)}.")
            remaining -= len(piece)
            yield piece


def non_finite_tensors(weights: WeightFile) -> tuple[str, ...]:
    """Names of the floating-point tensors that hold a NaN or an infinity.

    A value is one when all bits of its exponent are set; the test runs over whole byte columns in C, about
    a nanosecond a value.
    """
    return tuple(
        span.name
        for span in weights.tensors
        if any(_has_non_finite(span.dtype, piece) for piece in tensor_chunks(weights, span))
    )


_EXPONENT_MASKS = {"F64": (0x7F, 0xF0), "F32": (0x7F, 0x80), "BF16": (0x7F, 0x80), "F16": (0x7C, 0x00)}
"""The exponent's bits in the last and the last but one byte of a little-endian value."""


def _has_non_finite(dtype: str, piece: bytes) -> bool:
    masks = _EXPONENT_MASKS.get(dtype)
    if masks is None:
        return False
    width = ITEM_BITS[dtype] // 8
    high = piece[width - 1 :: width].translate(_mask_table(masks[0]))
    low = piece[width - 2 :: width].translate(_mask_table(masks[1]))
    return bool(int.from_bytes(high, "little") & int.from_bytes(low, "little"))


def _mask_table(mask: int) -> bytes:
    return bytes(byte & mask == mask for byte in range(256))
