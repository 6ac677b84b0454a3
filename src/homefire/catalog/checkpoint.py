"""Where the tensors of a model folder are: one safetensors file, or shards under an index.

Every header is checked against its file, every shard named by the index must be there, and no name may lead
out of the folder. Pickle is refused by name before anything is opened. Pure Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from homefire.catalog.safetensors_header import TensorEntry, read_header
from homefire.catalog.tokenizer import read_json
from homefire.errors import BadModel, UnsafeModel, quoted

SINGLE_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
ADAPTER_FILE, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`tensors`: name -> (file, place in it). `files`: the weight files, sorted."""

    tensors: Mapping[str, tuple[Path, TensorEntry]]
    files: tuple[Path, ...]


def open_checkpoint(folder: Path) -> Checkpoint:
    """Find and check a folder's weights; UnsafeModel for pickle alone, BadModel for what is broken."""
    if (folder / INDEX_FILE).exists():
        return _open_shards(folder)
    if (folder / SINGLE_FILE).exists():
        return open_single(folder, SINGLE_FILE)
    refuse_pickle(folder)
    raise BadModel(f"{folder} holds neither {SINGLE_FILE} nor {INDEX_FILE}.")


def open_single(folder: Path, name: str) -> Checkpoint:
    """The tensors of one safetensors file in a folder."""
    path = inside(folder, name)
    tensors = {tensor: (path, entry) for tensor, entry in read_header(path).tensors.items()}
    return Checkpoint(tensors, (path,))


def refuse_pickle(folder: Path) -> None:
    """UnsafeModel when a folder's weights are pickle: loading those would run whatever they say."""
    found = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PICKLE_SUFFIXES)
    if found:
        raise UnsafeModel(
            f"The weights come as pickle ({found[0]}), which can run code when it is read; refused.",
            hint="Fetch the safetensors or GGUF files of this model.",
            files=found,
        )


def inside(folder: Path, name: str) -> Path:
    """The file of that name in the folder; BadModel when the name or a link leads out of it."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise BadModel(f"The model names a file outside of its folder: {quoted(name)}.")
    path = folder / pure
    if not path.exists():
        raise BadModel(f"The file {name} is missing: the folder is incomplete.", hint="Fetch it again.")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BadModel(f"The file {name} is a link that leads out of the model's folder.")
    if not path.is_file():
        raise BadModel(f"{name} is not a regular file.")
    return path


def _open_shards(folder: Path) -> Checkpoint:
    places = read_json(inside(folder, INDEX_FILE)).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise BadModel(f"{INDEX_FILE} has no weight_map.")
    headers = {}
    for name in sorted({str(place) for place in places.values()}):
        if not name.endswith(".safetensors"):
            raise UnsafeModel(f"{INDEX_FILE} names {name}, which is not a safetensors file; refused.")
        path = inside(folder, name)
        headers[name] = (path, read_header(path).tensors)
    tensors: dict[str, tuple[Path, TensorEntry]] = {}
    for tensor, place in places.items():
        path, entries = headers[str(place)]
        if tensor not in entries:
            raise BadModel(f"{INDEX_FILE} promises tensor {quoted(tensor)} in {place}; it is not there.")
        tensors[tensor] = (path, entries[tensor])
    return Checkpoint(tensors, tuple(path for path, _ in headers.values()))
