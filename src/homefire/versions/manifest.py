"""The manifest of a version: every tensor and file by its hash, and where it all came from.

Its canonical JSON is the version's identity: the SHA-256 of those bytes is what the log records, so a
changed figure, name or byte anywhere is a different version. Two versions that share a tensor share its blob.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from homefire.errors import CorruptData

MANIFEST_NAME = "manifest.json"
FORMAT = 1


class TensorEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor: its type, its shape, and the blob that holds its bytes."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str


class WeightEntry(msgspec.Struct, frozen=True, kw_only=True):
    """How a weight file is put together: the blob of its header, then these tensors in this order."""

    header_sha256: str
    tensors: tuple[str, ...]


class BaseEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The base model this version descends from."""

    name: str
    digest: str


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """What made this version."""

    run_id: str | None = None
    dataset_id: str | None = None
    example_ids: tuple[str, ...] = ()
    recipe: dict[str, Any] = {}
    code_version: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a version consists of. `files` holds every file of the folder except the manifest, weights included."""

    format: int = FORMAT
    version: str
    created_at: str
    """UTC, ISO 8601, to the second."""
    kind: Literal["full", "adapter"]
    base: BaseEntry
    parent: str
    tensors: dict[str, TensorEntry]
    weights: dict[str, WeightEntry]
    files: dict[str, str]
    """Relative path → SHA-256 (hex) of the whole file."""
    size_bytes: int
    """Of all files together."""
    lineage: Lineage = Lineage()
    metrics: dict[str, Any] = {}
    description: str = ""

    @property
    def digest(self) -> str:
        """Identity of the weights and files alone (`sha256:…`): equal for two versions of equal content."""
        return folder_digest(self.files)

    @property
    def folder_name(self) -> str:
        """`v001-20261120-173000`: the readable folder under `models/versions`."""
        stamp = datetime.fromisoformat(self.created_at).strftime("%Y%m%d-%H%M%S")
        return f"{self.version}-{stamp}"

    @property
    def blobs(self) -> tuple[str, ...]:
        """Every blob this version needs, each once, sorted."""
        whole = {digest for path, digest in self.files.items() if path not in self.weights}
        headers = {entry.header_sha256 for entry in self.weights.values()}
        return tuple(sorted(whole | headers | {tensor.sha256 for tensor in self.tensors.values()}))


def folder_digest(files: Mapping[str, str]) -> str:
    """`sha256:…` over the canonical JSON of {relative path: SHA-256 hex}."""
    return "sha256:" + hashlib.sha256(canonical_json(dict(files))).hexdigest()


def canonical_json(value: Any) -> bytes:
    """One form for one value: sorted keys, no spaces, UTF-8; a NaN or infinity becomes null."""
    plain = _finite(msgspec.to_builtins(value))
    return json.dumps(
        plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest's canonical bytes; their SHA-256 is the version's identity."""
    return canonical_json(manifest)


def decode_manifest(data: bytes) -> Manifest:
    """The manifest in these bytes; CorruptData when they are not one, or not in canonical form."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as problem:
        raise CorruptData(f"A manifest cannot be read: {problem}.") from problem
    if manifest.format > FORMAT:
        raise CorruptData(
            f"The manifest of {manifest.version} has format {manifest.format}; this Homefire reads {FORMAT}.",
            hint="Use the Homefire that wrote it, or a newer one.",
        )
    if encode_manifest(manifest) != data:
        raise CorruptData(f"The manifest of {manifest.version} is not in the form it was written in.")
    return manifest


def utc_stamp(now_s: float) -> str:
    """ISO 8601 of a time in seconds since the epoch, in UTC, to the second."""
    return datetime.fromtimestamp(int(now_s), tz=UTC).isoformat()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
