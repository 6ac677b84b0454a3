from __future__ import annotations

import msgspec
import pytest

from homefire.errors import CorruptData
from homefire.versions.manifest import (
    BaseEntry,
    Lineage,
    Manifest,
    TensorEntry,
    WeightEntry,
    canonical_json,
    decode_manifest,
    encode_manifest,
)

MANIFEST = Manifest(
    version="v001",
    created_at="2026-11-20T17:30:05+00:00",
    kind="full",
    base=BaseEntry(name="ember", digest="sha256:00"),
    parent="ember",
    tensors={"a": TensorEntry(dtype="F32", shape=(2, 1), sha256="1" * 64)},
    weights={"model.safetensors": WeightEntry(header_sha256="2" * 64, tensors=("a",))},
    files={"model.safetensors": "3" * 64, "config.json": "4" * 64},
    size_bytes=10,
    lineage=Lineage(run_id="run_1", recipe={"learning_rate": 0.001}),
    metrics={"loss": 0.5},
    description="grüße",
)


def test_what_was_encoded_is_decoded_equal() -> None:
    assert decode_manifest(encode_manifest(MANIFEST)) == MANIFEST


def test_the_folder_name_reads_as_version_and_time() -> None:
    assert MANIFEST.folder_name == "v001-20261120-173005"


def test_blobs_are_tensors_headers_and_plain_files() -> None:
    assert MANIFEST.blobs == ("1" * 64, "2" * 64, "4" * 64)


def test_canonical_json_has_one_form_and_no_nan() -> None:
    assert canonical_json({"b": [1, float("nan")], "a": "ü"}) == '{"a":"ü","b":[1,null]}'.encode()


@pytest.mark.parametrize("change", [b" ", b"\n"])
def test_a_manifest_in_another_form_is_corrupt(change: bytes) -> None:
    with pytest.raises(CorruptData):
        decode_manifest(encode_manifest(MANIFEST) + change)


def test_a_newer_format_is_refused_by_name() -> None:
    newer = msgspec.structs.replace(MANIFEST, format=99)
    with pytest.raises(CorruptData, match="format 99"):
        decode_manifest(encode_manifest(newer))
