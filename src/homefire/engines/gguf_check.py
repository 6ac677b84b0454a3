"""The header of a GGUF file, checked against the file before native code sees it.

llama.cpp trusts much of what a file says of itself. This reader believes nothing: counts, lengths, types,
offsets and sizes must lie within the file, and all there is to read within bounds, or BadModel says what does not:
so a file costs some seconds and half a gigabyte at most. Pure Python, no NumPy; arrays of
strings are walked, other arrays skipped, so a vocabulary of 150,000 costs some 0.2 s, a small one nothing.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homefire.errors import BadModel, quoted

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_TENSORS = 1 << 20
MAX_METADATA = 1 << 16
MAX_DIMENSIONS = 4
MAX_NESTED_ARRAYS = 4
MAX_RETAINED_NUMBERS = 1024
"""Figures for each layer are kept, those for each token are not, except their types."""
MAX_VALUES = 4_000_000
"""Metadata values read of one file, array entries included; the largest vocabularies with merges need 1,000,000."""
MAX_TEXT_BYTES = 256 << 20
"""Of all metadata texts of one file together."""
TOKEN_TYPES = "tokenizer.ggml.token_type"
CONTROL = 3
"""`LLAMA_TOKEN_TYPE_CONTROL` of llama.h."""
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9
# ggml type -> (elements in a block, bytes of a block), from ggml.h's type traits.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor; `shape` is in GGUF order (fastest dimension first), `start` a byte offset in the file."""

    shape: tuple[int, ...]
    ggml_type: int
    start: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Metadata (scalars, strings, lists; arrays of more than `MAX_RETAINED_NUMBERS` numbers as their length)."""

    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def num_parameters(self) -> int:
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

    @property
    def context_length(self) -> int:
        return int(self.metadata.get(f"{self.architecture}.context_length", 0))

    def token(self, key: str) -> str:
        """The text of the special token whose id is under `tokenizer.ggml.<key>_token_id`, or ''."""
        tokens = self.metadata.get("tokenizer.ggml.tokens", [])
        index = self.metadata.get(f"tokenizer.ggml.{key}_token_id")
        in_range = isinstance(index, int) and isinstance(tokens, list) and 0 <= index < len(tokens)
        return str(tokens[index]) if in_range else ""

    @property
    def control_tokens(self) -> list[str]:
        """The texts of the tokens that steer a model, such as `<|im_end|>`."""
        tokens, types = self.metadata.get("tokenizer.ggml.tokens"), self.metadata.get(TOKEN_TYPES)
        if not isinstance(tokens, list) or not isinstance(types, list):
            return []
        return [str(token) for token, kind in zip(tokens, types, strict=False) if kind == CONTROL]


def check_gguf(path: Path) -> GgufHeader:
    """Read and check a file's header; BadModel (with `details["file"]`) when it does not fit the file."""
    if not path.is_file():
        raise _broken(path, "it is not a regular file")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(path, data).read()
    except ValueError as error:  # mmap of an empty file
        raise _broken(path, "it is empty") from error


class _Reader:
    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.size, self.position = path, data, len(data), 0
        self.num_values = self.num_text_bytes = 0

    def read(self) -> GgufHeader:
        if self.data[:4] != MAGIC:
            raise self.fail("it does not start with GGUF")
        self.position = 4
        version = self.scalar("<I")
        if version not in VERSIONS:
            raise self.fail(f"its version is {version}; known are {', '.join(map(str, VERSIONS))}")
        num_tensors, num_metadata = self.scalar("<Q"), self.scalar("<Q")
        if num_tensors > MAX_TENSORS or num_metadata > MAX_METADATA:
            raise self.fail(f"it claims {num_tensors} tensors and {num_metadata} metadata entries")
        metadata: dict[str, Any] = {}
        for _ in range(num_metadata):
            key = self.text()
            if key in metadata:
                raise self.fail(f"the metadata key {quoted(key)} appears twice")
            metadata[key] = self.value(self.scalar("<I"), depth=0, keeps_all=key == TOKEN_TYPES)
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise self.fail(f"its alignment is {alignment}")
        if not isinstance(metadata.get("general.architecture"), str):
            raise self.fail("it names no architecture")
        entries = [self.tensor_entry() for _ in range(num_tensors)]
        data_start = -(-self.position // alignment) * alignment
        return GgufHeader(metadata, self.place(entries, data_start, alignment))

    def tensor_entry(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self.text()
        num_dimensions = self.scalar("<I")
        if not 1 <= num_dimensions <= MAX_DIMENSIONS:
            raise self.fail(f"tensor {quoted(name)} has {num_dimensions} dimensions")
        shape = tuple(self.scalar("<Q") for _ in range(num_dimensions))
        return name, shape, self.scalar("<I"), self.scalar("<Q")

    def place(
        self, entries: list[tuple[str, tuple[int, ...], int, int]], data_start: int, alignment: int
    ) -> dict[str, GgufTensor]:
        tensors: dict[str, GgufTensor] = {}
        for name, shape, ggml_type, offset in entries:
            if name in tensors:
                raise self.fail(f"tensor {quoted(name)} appears twice")
            if ggml_type not in _BLOCKS:
                raise self.fail(f"tensor {quoted(name)} has the unknown type {ggml_type}")
            block_elements, block_bytes = _BLOCKS[ggml_type]
            if min(shape) <= 0 or shape[0] % block_elements:
                raise self.fail(f"tensor {quoted(name)} has the impossible shape {list(shape)}")
            size_bytes = math.prod(shape) // block_elements * block_bytes
            start = data_start + offset
            if offset % alignment or start + size_bytes > self.size:
                raise self.fail(
                    f"tensor {quoted(name)} should end at byte {start + size_bytes}, the file has {self.size}"
                )
            tensors[name] = GgufTensor(shape, ggml_type, start, size_bytes)
        position = data_start
        for name, tensor in sorted(tensors.items(), key=lambda item: item[1].start):
            if tensor.start < position:
                raise self.fail(f"tensor {quoted(name)} overlaps another")
            position = tensor.start + tensor.size_bytes
        return tensors

    def value(self, kind: int, *, depth: int, keeps_all: bool = False) -> Any:
        self.charge(1)
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY or depth >= MAX_NESTED_ARRAYS:
            raise self.fail(f"a metadata value has the unknown type {kind}")
        item_kind, length = self.scalar("<I"), self.scalar("<Q")
        if item_kind in _SCALARS:
            code, start = _SCALARS[item_kind], self.position
            self.skip(length * struct.calcsize(code))
            if length > MAX_RETAINED_NUMBERS and not keeps_all:
                return length
            self.charge(length)
            return list(struct.unpack_from(f"<{length}{code[1]}", self.data, start))
        if length * 8 > self.size - self.position:
            raise self.fail(f"an array of {length} entries does not fit")
        return [self.value(item_kind, depth=depth + 1) for _ in range(length)]

    def text(self) -> str:
        length = self.scalar("<Q")
        start = self.position
        self.num_text_bytes += length
        if self.num_text_bytes > MAX_TEXT_BYTES:
            raise self.fail(f"its header holds more than {MAX_TEXT_BYTES >> 20} MiB of text")
        self.skip(length)
        return self.data[start : self.position].decode("utf-8", errors="replace")

    def scalar(self, code: str) -> Any:
        start = self.position
        self.skip(struct.calcsize(code))
        return struct.unpack_from(code, self.data, start)[0]

    def charge(self, num_values: int) -> None:
        self.num_values += num_values
        if self.num_values > MAX_VALUES:
            raise self.fail(f"its header holds more than {MAX_VALUES} values")

    def skip(self, num_bytes: int) -> None:
        if num_bytes > self.size - self.position:
            raise self.fail(f"it ends inside its header, at byte {self.size}")
        self.position += num_bytes

    def fail(self, why: str) -> BadModel:
        return _broken(self.path, why)


def _broken(path: Path, why: str) -> BadModel:
    return BadModel(
        f"The file {path.name} is not a valid GGUF file: {why}.",
        hint="Fetch or copy it again.",
        file=str(path),
        why=why,
    )
