"""What looking at a model's files finds: what `inspect.py` tells the server about them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

import msgspec


class Inspected(msgspec.Struct, frozen=True, kw_only=True):
    """What a valid model is. `files`: its files, relative to `folder`, sorted."""

    format: Literal["safetensors", "gguf"]
    folder: str
    architecture: str
    num_parameters: int
    context_length: int
    size_bytes: int
    files: tuple[str, ...]


class TemplateText(msgspec.Struct, frozen=True, kw_only=True):
    """A chat template as it is written, with the special tokens it may name."""

    source: str
    bos_token: str = ""
    eos_token: str = ""
    special_tokens: Mapping[str, str] = {}

    @property
    def fingerprint(self) -> str:
        """`sha256:…` of everything that decides the rendering."""
        content = msgspec.json.encode(self, order="sorted")
        return f"sha256:{hashlib.sha256(content).hexdigest()}"
