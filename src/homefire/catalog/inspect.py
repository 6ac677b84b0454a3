"""Inspecting a model on disk before anything of it is used: what it is, and whether it is whole and harmless.

Refuses pickle (UnsafeModel), and what is broken, incomplete, or leads out of its folder (BadModel). Every
byte is hashed: the digest is the SHA-256 over the canonical JSON of {relative path: SHA-256}, the same as
that of a version's files. Pure Python; costs one read of the whole model (about 1 GB/s).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from homefire.catalog.architectures import check_tensors, read_architecture
from homefire.catalog.checkpoint import ADAPTER_CONFIG, inside, open_checkpoint, refuse_pickle
from homefire.catalog.tokenizer import read_json, read_tokenizer
from homefire.engines.gguf_check import check_gguf
from homefire.errors import BadModel, NotFound, UnsafeModel
from homefire.machine.hashing import hash_file

GGUF_MAGIC = b"GGUF"
SIDE_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "README.md", "LICENSE",
    "probes.jsonl", "replay.jsonl",
)  # fmt: skip
"""What belongs to a safetensors model beside its weights; other files in its folder are left alone."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a valid model is. `files`: relative path -> SHA-256 in hex."""

    format: Literal["safetensors", "gguf"]
    folder: Path
    architecture: str
    num_parameters: int
    context_length: int
    size_bytes: int
    files: dict[str, str]
    digest: str


def inspect_path(path: Path) -> Inspected:
    """Look at a GGUF file, or at a folder with a safetensors model or exactly one GGUF file."""
    if not path.exists():
        raise NotFound(f"There is nothing at {path}.", path=str(path))
    if path.is_file():
        return _inspect_file(path)
    if (path / ADAPTER_CONFIG).exists():
        raise BadModel(
            f"{path} is a LoRA adapter, not a whole model.",
            hint="Merge it into its base model first, and add that.",
        )
    if (path / "config.json").exists():
        return _inspect_safetensors(path)
    ggufs = sorted(path.glob("*.gguf"))
    if len(ggufs) == 1:
        return _inspect_gguf(inside(path, ggufs[0].name))
    if ggufs:
        raise BadModel(f"{path} holds {len(ggufs)} GGUF files; name the one to add.")
    refuse_pickle(path)
    raise BadModel(f"{path} is not a model: it has neither config.json nor a GGUF file.")


def _inspect_file(path: Path) -> Inspected:
    with path.open("rb") as file:
        start = file.read(len(GGUF_MAGIC))
    if start == GGUF_MAGIC:
        return _inspect_gguf(path)
    if path.suffix == ".safetensors":
        raise BadModel(f"{path.name} is a part of a model.", hint=f"Add its folder: {path.parent}")
    if path.suffix == ".gguf":
        raise BadModel(f"{path.name} is not a GGUF file: it starts with other bytes.")
    raise UnsafeModel(
        f"{path.name} is neither GGUF nor safetensors; only those are read, because they cannot run code."
    )


def _inspect_gguf(path: Path) -> Inspected:
    header = check_gguf(path)
    context_length = header.context_length
    if not header.tensors or context_length <= 0:
        raise BadModel(f"{path.name} is a GGUF file, but not a language model.")
    files = {path.name: hash_file(path)}
    return Inspected(
        format="gguf",
        folder=path.parent,
        architecture=header.architecture,
        num_parameters=header.num_parameters,
        context_length=context_length,
        size_bytes=path.stat().st_size,
        files=files,
        digest=folder_digest(files),
    )


def _inspect_safetensors(folder: Path) -> Inspected:
    architecture = read_architecture(read_json(inside(folder, "config.json")))
    checkpoint = open_checkpoint(folder)
    shapes = {name: entry.shape for name, (_, entry) in checkpoint.tensors.items()}
    check_tensors(architecture, shapes)
    read_tokenizer(folder, vocab_size=architecture.vocab_size)
    names = [str(path.relative_to(folder)) for path in checkpoint.files]
    names += [name for name in (*SIDE_FILES, "model.safetensors.index.json") if (folder / name).exists()]
    files = {name: hash_file(inside(folder, name)) for name in sorted(names)}
    return Inspected(
        format="safetensors",
        folder=folder,
        architecture=architecture.gguf_name,
        num_parameters=sum(entry.num_elements for _, entry in checkpoint.tensors.values()),
        context_length=architecture.context_length,
        size_bytes=sum((folder / name).stat().st_size for name in files),
        files=files,
        digest=folder_digest(files),
    )


def folder_digest(files: Mapping[str, str]) -> str:
    """`sha256:…` over the canonical JSON of {relative path: SHA-256 hex}."""
    content = json.dumps(dict(files), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(content.encode()).hexdigest()


def has_hash(path: Path, sha256: str) -> bool:
    """Read the whole file and compare."""
    return hash_file(path) == sha256.removeprefix("sha256:")


def find_damage(
    folder: Path, files: Mapping[str, str], *, is_sound: Callable[[Path, str], bool] = has_hash
) -> list[str]:
    """One sentence for each file that is missing or not what was registered; empty when all is well."""
    problems: list[str] = []
    for name, wanted in sorted(files.items()):
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing.")
        elif not is_sound(path, wanted):
            problems.append(f"{name} is not what was registered.")
    return problems
