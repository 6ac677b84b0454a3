"""The header of a safetensors file, read and checked against the file without loading a tensor.

Promise: what comes out lies inside the file, overlaps nothing and has the size its shape says; anything else
is BadModel. Pure Python, so the server can look at a model without NumPy. Costs one read of the header.
Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homefire.errors import BadModel, quoted

MAX_HEADER_BYTES = 100 * 1024 * 1024
MAX_DIMENSIONS = 16
ITEM_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor: `start` and `end` are byte offsets in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def num_elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """All tensors of one file by name, and its free-form metadata."""

    tensors: dict[str, TensorEntry]
    metadata: dict[str, str]


def read_header(path: Path) -> SafetensorsHeader:
    """Read and check the header of one file; BadModel says what is wrong with it."""
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        prefix = file.read(8)
        if len(prefix) < 8:
            raise _broken(path, "it is shorter than a safetensors header")
        header_bytes = int.from_bytes(prefix, "little")
        if header_bytes > min(MAX_HEADER_BYTES, size_bytes - 8):
            raise _broken(path, f"its header claims {header_bytes} bytes, the file has {size_bytes}")
        raw = file.read(header_bytes)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"its header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise _broken(path, "its header is not an object")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise _broken(path, "its metadata is not an object")
    data_start = 8 + header_bytes
    tensors = {
        name: _read_entry(path, name, entry, data_start=data_start, size_bytes=size_bytes)
        for name, entry in header.items()
    }
    _check_layout(path, tensors, data_start, size_bytes)
    return SafetensorsHeader(tensors, {str(key): str(value) for key, value in metadata.items()})


def _read_entry(path: Path, name: str, entry: Any, *, data_start: int, size_bytes: int) -> TensorEntry:
    try:
        dtype, shape = str(entry["dtype"]), tuple(int(size) for size in entry["shape"])
        start, end = (int(offset) for offset in entry["data_offsets"])
    except (TypeError, LookupError, ValueError, OverflowError) as error:
        raise _broken(path, f"the entry of tensor {quoted(name)} is malformed") from error
    # Before anything is multiplied: a few thousand numbers of a few thousand digits never end.
    if len(shape) > MAX_DIMENSIONS or max((*shape, start, end)) > size_bytes * 8:
        raise _broken(path, f"tensor {quoted(name)} is said to be larger than the file")
    if dtype not in ITEM_BITS:
        raise _broken(path, f"tensor {quoted(name)} has the unknown type {quoted(dtype)}")
    if any(size < 0 for size in shape) or not 0 <= start <= end:
        raise _broken(path, f"tensor {quoted(name)} has a negative size or offset")
    if math.prod(shape) * ITEM_BITS[dtype] != (end - start) * 8:
        raise _broken(
            path,
            f"tensor {quoted(name)} of shape {list(shape)} and type {dtype} does not fill its {end - start} bytes",
        )
    return TensorEntry(dtype, shape, data_start + start, data_start + end)


def _check_layout(path: Path, tensors: dict[str, TensorEntry], data_start: int, size_bytes: int) -> None:
    position = data_start
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != position:
            raise _broken(path, f"tensor {quoted(name)} overlaps another or leaves a hole")
        position = entry.end
    if position != size_bytes:
        raise _broken(
            path, f"its tensors end at byte {position}, the file at {size_bytes}: it is cut short or damaged"
        )


def _broken(path: Path, why: str) -> BadModel:
    return BadModel(
        f"The file {path.name} is broken: {why}.", hint="Fetch or copy it again.", file=str(path), why=why
    )
