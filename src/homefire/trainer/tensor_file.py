"""Safetensors files, written and read one tensor at a time.

The library's own `save` builds the whole file in memory first, which for a model of 8 billion weights is a second
copy of 16 GB. Here a file is a stream of pieces: its header, then each tensor as it lies in memory (copied from the
device one at a time). Reading fills the tensors that are returned and hashes the very bytes they are filled with.
Format: https://huggingface.co/docs/safetensors (eight bytes of header length, JSON header, data without gaps).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec
import torch

from homefire.errors import CorruptData

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_PIECE_BYTES = 16 << 20
_MAX_HEADER_BYTES = 100_000_000
"""As the format says."""


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


@dataclass(frozen=True, slots=True)
class TensorFile:
    """A safetensors file of these tensors, not written yet. What they hold when it is written is what counts."""

    tensors: Mapping[str, torch.Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def pieces(self) -> Iterator[bytes | memoryview]:
        """The bytes of the file, in order; each time from the beginning."""
        ordered = sorted(self.tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
        header: dict[str, object] = {"__metadata__": dict(self.metadata)} if self.metadata else {}
        end = 0
        for name, tensor in ordered:
            start, end = end, end + tensor.numel() * tensor.element_size()
            header[name] = {
                "dtype": _NAMES[tensor.dtype],
                "shape": list(tensor.shape),
                "data_offsets": [start, end],
            }
        encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        encoded += b" " * (-len(encoded) % 8)
        yield len(encoded).to_bytes(8, "little") + encoded
        for _, tensor in ordered:
            data = _bytes_of(tensor.detach().cpu().contiguous())
            for start in range(0, len(data), _PIECE_BYTES):
                yield data[start : start + _PIECE_BYTES]

    def hash(self) -> tuple[str, int]:
        """SHA-256 in hex and size of the file."""
        digest, size = hashlib.sha256(), 0
        for piece in self.pieces():
            digest.update(piece)
            size += len(piece)
        return digest.hexdigest(), size


def read_tensor_file(path: Path) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors of a file, on the CPU, and the SHA-256 of the bytes they were filled with.

    Compare the hash before you use them. Raises:
        CorruptData: it is not a safetensors file, or it is cut short.
    """
    try:
        with path.open("rb", buffering=0) as file:
            return _read(file, path.stat().st_size)
    except OSError as error:
        raise CorruptData(f"{path.name} cannot be read: {error.strerror}.", path=str(path)) from error
    except (ValueError, KeyError, OverflowError, msgspec.DecodeError) as error:
        raise CorruptData(f"{path.name} is damaged: {error}.", path=str(path)) from error


def _read(file: BinaryIO, size: int) -> tuple[dict[str, torch.Tensor], str]:
    digest = hashlib.sha256()
    length = bytearray(8)
    _fill(file, memoryview(length), digest)
    header_bytes = int.from_bytes(length, "little")
    if header_bytes > min(size, _MAX_HEADER_BYTES):
        raise ValueError(f"its header claims {header_bytes} bytes")
    header = bytearray(header_bytes)
    _fill(file, memoryview(header), digest)
    fields = msgspec.json.decode(bytes(header), type=dict[str, msgspec.Raw])
    fields.pop("__metadata__", None)
    entries = {name: msgspec.json.decode(raw, type=_Entry) for name, raw in fields.items()}
    tensors: dict[str, torch.Tensor] = {}
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        dtype = _DTYPES[entry.dtype]
        start, end = entry.data_offsets
        num_bytes = math.prod(entry.shape) * dtype.itemsize
        if (
            min(entry.shape, default=0) < 0
            or start != position
            or end - start != num_bytes
            or 8 + header_bytes + end > size
        ):
            raise ValueError(f"the place of {name} is not where it says")
        tensors[name] = torch.empty(entry.shape, dtype=dtype)
        _fill(file, _bytes_of(tensors[name]), digest)
        position = end
    if 8 + header_bytes + position != size:
        raise ValueError("it has bytes that belong to no tensor")
    return tensors, digest.hexdigest()


def _fill(file: BinaryIO, target: memoryview, digest: hashlib._Hash) -> None:
    filled = 0
    while filled < len(target):
        num_read = file.readinto(target[filled : filled + _PIECE_BYTES])  # type: ignore[attr-defined]
        if not num_read:
            raise ValueError("it is cut short")
        digest.update(target[filled : filled + num_read])
        filled += num_read


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU."""
    view: memoryview = tensor.reshape(-1).view(torch.uint8).numpy().data
    return view
