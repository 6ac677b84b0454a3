"""What the catalog says of a model, and which names a model may have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from homefire.errors import InvalidRequest, quoted

LIVE, DEFAULT, BUNDLED = "live", "default", "ember"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION_NAME = re.compile(r"v\d+")
RESERVED = frozenset({LIVE, DEFAULT})


ModelFormat = Literal["safetensors", "gguf", "remote"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """A model on another server; what a plugin's hook `models` brings by name."""

    engine: str
    url: str
    model: str
    """Its name there."""
    context_length: int
    num_parallel: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model by name. An alias has a `target`; the rest is that of the model it means."""

    name: str
    kind: Literal["base", "version", "alias", "remote"]
    target: str | None
    format: ModelFormat
    engine: str
    """The name of the engine that runs it, as a plugin registered it."""
    num_parallel: int
    """Requests its engine answers together."""
    folder: Path
    """Where its files are; of a remote model a folder that does not exist."""
    digest: str
    """`sha256:…` of all its files."""
    base: str | None
    """Of a version: the base model it descends from."""
    parent: str | None
    """Of a version: the model it was trained from."""
    architecture: str
    num_parameters: int
    size_bytes: int
    context_length: int
    """Tokens the model was made for."""
    why_not_trainable: str | None
    created_at_s: float

    @property
    def trainable(self) -> bool:
        """Whether it can be taught here."""
        return self.why_not_trainable is None


@dataclass(frozen=True, slots=True)
class Resolved:
    """A name followed to the end: `chain` is every name on the way, the asked one first, the model's last."""

    name: str
    chain: tuple[str, ...]
    model: ModelInfo


def check_name(name: str) -> str:
    """The name, if a base model may have it; InvalidRequest says what is wrong with it."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{quoted(name)} cannot be a model's name.",
            hint="Use up to 64 of a–z, 0–9, '.', '_' and '-', beginning with a letter or digit.",
            param="name",
        )
    if name in RESERVED or _VERSION_NAME.fullmatch(name):
        raise InvalidRequest(f"The name {quoted(name)} is kept for Homefire's own use.", param="name")
    return name


def suggest_name(path: Path) -> str:
    """A name made from a file's or folder's own; `check_name` decides whether it will do."""
    stem = path.name.removesuffix(".gguf").lower()
    return re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-._")[:64]
