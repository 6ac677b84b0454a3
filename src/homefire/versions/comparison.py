"""What changed from one model to another: metrics, gate scores, skills, and tensors layer by layer.

Two tensors are the same when their hashes are. A version's hashes are in its manifest; a base's are taken
from its file on the spot, which reads all of it once. What an adapter does not hold it takes from its base, so its
tensors are the base's and its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from homefire.errors import ModelNotFound
from homefire.store.store import Store
from homefire.versions.library import Library
from homefire.versions.weight_file import read_weight_file, tensor_chunks

_LAYER = re.compile(r"\blayers\.(\d+)\.")


class LayerChange(msgspec.Struct, frozen=True, kw_only=True):
    """The tensors of one layer in both models."""

    layer: str
    num_tensors: int
    num_changed: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """`metrics`, `scores` and `skills` map a name to (in a, in b); what one lacks is None there."""

    a: str
    b: str
    num_tensors: int
    num_changed: int
    """Tensors that differ, or that only one of them has."""
    layers: tuple[LayerChange, ...]
    metrics: dict[str, tuple[Any, Any]]
    scores: dict[str, tuple[Any, Any]]
    skills: dict[str, tuple[Any, Any]]
    examples_only_in_a: tuple[str, ...]
    examples_only_in_b: tuple[str, ...]


async def compare(library: Library, store: Store, *, a: str, b: str) -> Comparison:
    """Compare two versions, or a version and a base. Raises ModelNotFound."""
    one, other = (
        await asyncio.to_thread(_content, library, store, a),
        await asyncio.to_thread(_content, library, store, b),
    )
    layers = _layers(one.tensors, other.tensors)
    return Comparison(
        a=a,
        b=b,
        num_tensors=sum(layer.num_tensors for layer in layers),
        num_changed=sum(layer.num_changed for layer in layers),
        layers=layers,
        metrics=_pairs(one.metrics, other.metrics),
        scores=_pairs(_plain(one.scores), _plain(other.scores)),
        skills=_pairs(one.scores.get("skills", {}), other.scores.get("skills", {})),
        examples_only_in_a=tuple(sorted(one.examples - other.examples)),
        examples_only_in_b=tuple(sorted(other.examples - one.examples)),
    )


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    tensors: dict[str, str]
    metrics: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    examples: set[str] = set()


def _content(library: Library, store: Store, name: str) -> _Content:
    row = store.versions.get(name)
    if row is not None:
        manifest = library.manifest(name)
        tensors = {key: tensor.sha256 for key, tensor in manifest.tensors.items()}
        if manifest.kind == "adapter":
            tensors = {**_content(library, store, manifest.base.name).tensors, **tensors}
        return _Content(
            tensors=tensors,
            metrics=manifest.metrics,
            scores=row.gate_scores or {},
            examples=set(manifest.lineage.example_ids),
        )
    base = store.models.get(name)
    if base is None:
        raise ModelNotFound(f"There is no version or base {name}.", name=name)
    return _Content(tensors=_hash_tensors(store.home.root / base.path))


def _hash_tensors(folder: Path) -> dict[str, str]:
    hashes = {}
    for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
        weights = read_weight_file(path)
        for span in weights.tensors:
            digest = hashlib.sha256()
            for piece in tensor_chunks(weights, span):
                digest.update(piece)
            hashes[span.name] = digest.hexdigest()
    return hashes


def _layers(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[LayerChange, ...]:
    total: dict[str, int] = defaultdict(int)
    changed: dict[str, int] = defaultdict(int)
    for name in set(one) | set(other):
        layer = layer_of(name)
        total[layer] += 1
        changed[layer] += one.get(name) != other.get(name)
    return tuple(
        LayerChange(layer=layer, num_tensors=total[layer], num_changed=changed[layer])
        for layer in sorted(total, key=_layer_order)
    )


def layer_of(tensor: str) -> str:
    """`layer 3` for a tensor of the fourth block, else the last part of its name that is not `weight`."""
    found = _LAYER.search(tensor)
    if found:
        return f"layer {found.group(1)}"
    parts = [part for part in tensor.split(".") if part not in ("weight", "bias", "model")]
    return parts[-1] if parts else tensor


def _layer_order(layer: str) -> tuple[bool, int, str]:
    number = layer.removeprefix("layer ")
    return (not number.isdigit(), int(number) if number.isdigit() else 0, layer)


def _plain(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in scores.items() if isinstance(value, int | float)}


def _pairs(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (one.get(name), other.get(name)) for name in sorted(set(one) | set(other))}
