"""What is broken, incomplete, dangerous or elsewhere is refused by name before anything of it is used."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homefire.catalog.file_hashes import find_damage, folder_digest
from homefire.catalog.findings import Inspected
from homefire.catalog.inspect import inspect_path
from homefire.errors import BadModel, NotFound, UnsafeModel
from homefire.machine.hashing import hash_file


def hashes(found: Inspected) -> dict[str, str]:
    return {name: hash_file(Path(found.folder) / name) for name in found.files}


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_header(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite the header of a safetensors file, its data untouched."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def test_a_sound_folder_is_described(ember_copy: Path) -> None:
    found = inspect_path(ember_copy)
    assert (found.format, found.architecture) == ("safetensors", "qwen3")
    assert found.num_parameters > 100_000
    assert {"model.safetensors", "tokenizer.json", "config.json", "probes.jsonl"} <= set(found.files)
    assert found == inspect_path(ember_copy)
    assert find_damage(ember_copy, hashes(found)) == []


def test_the_digest_is_of_every_byte(ember_copy: Path) -> None:
    before = hashes(inspect_path(ember_copy))
    (ember_copy / "chat_template.jinja").write_text("{{ messages }}")
    assert folder_digest(hashes(inspect_path(ember_copy))) != folder_digest(before)
    assert find_damage(ember_copy, before) == ["chat_template.jinja is not what was registered."]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt", "weights.pkl"])
def test_pickle_is_refused_by_name(ember_copy: Path, name: str) -> None:
    (ember_copy / "model.safetensors").rename(ember_copy / name)
    with pytest.raises(UnsafeModel, match=name):
        inspect_path(ember_copy)
    with pytest.raises(UnsafeModel):
        inspect_path(ember_copy / name)


def test_pickle_in_the_index_is_refused(ember_copy: Path) -> None:
    (ember_copy / "model.safetensors").rename(ember_copy / "part.bin")
    index = {"weight_map": {"model.norm.weight": "part.bin"}}
    (ember_copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UnsafeModel, match=r"part\.bin"):
        inspect_path(ember_copy)


@pytest.mark.parametrize("place", ["../elsewhere.safetensors", "/etc/model.safetensors"])
def test_a_name_that_leads_out_of_the_folder_is_refused(ember_copy: Path, place: str) -> None:
    shutil.copy(ember_copy / "model.safetensors", ember_copy.parent / "elsewhere.safetensors")
    index = {"weight_map": {"model.norm.weight": place}}
    (ember_copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BadModel, match="outside"):
        inspect_path(ember_copy)


def test_a_link_that_leads_out_of_the_folder_is_refused(ember_copy: Path, tmp_path: Path) -> None:
    (ember_copy / "model.safetensors").rename(tmp_path / "real.safetensors")
    (ember_copy / "model.safetensors").symlink_to(tmp_path / "real.safetensors")
    with pytest.raises(BadModel, match="leads out"):
        inspect_path(ember_copy)


def test_missing_shards_and_promised_tensors_are_noticed(ember_copy: Path) -> None:
    index = ember_copy / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"model.norm.weight": "model-00002.safetensors"}}))
    with pytest.raises(BadModel, match=r"model-00002\.safetensors is missing"):
        inspect_path(ember_copy)
    index.write_text(json.dumps({"weight_map": {"model.other.weight": "model.safetensors"}}))
    with pytest.raises(BadModel, match="promises"):
        inspect_path(ember_copy)


def stretch(header: dict[str, Any]) -> None:
    header["model.norm.weight"]["data_offsets"][1] += 1 << 40


def swell(header: dict[str, Any]) -> None:
    header["model.norm.weight"]["shape"] = [1 << 40]


def overlap(header: dict[str, Any]) -> None:
    header["model.norm.weight"]["data_offsets"] = header["model.layers.0.input_layernorm.weight"][
        "data_offsets"
    ]


def lose(header: dict[str, Any]) -> None:
    names = sorted(
        (name for name in header if name != "__metadata__"), key=lambda n: header[n]["data_offsets"]
    )
    del header[names[-1]]


def invent(header: dict[str, Any]) -> None:
    header["model.norm.weight"]["dtype"] = "Q9"


@pytest.mark.parametrize("change", [stretch, swell, overlap, lose, invent])
def test_a_header_that_does_not_fit_its_file_is_refused(
    ember_copy: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    edit_header(ember_copy / "model.safetensors", change)
    with pytest.raises(BadModel):
        inspect_path(ember_copy)


@pytest.mark.parametrize("size", [0, 4, 100, 5000])
def test_a_file_that_is_cut_short_is_refused(ember_copy: Path, size: int) -> None:
    path = ember_copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BadModel):
        inspect_path(ember_copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "mamba"},
        {"hidden_size": 97},
        {"num_hidden_layers": 4},
        {"vocab_size": 10},
        {"use_sliding_window": True},
        {"quantization_config": {"bits": 4}},
        {"rope_parameters": {"rope_type": "longrope"}},
        {"hidden_act": "gelu"},
        {"num_attention_heads": None},
    ],
)
def test_a_configuration_that_cannot_be_served_faithfully_is_refused(
    ember_copy: Path, changes: dict[str, Any]
) -> None:
    edit_json(ember_copy / "config.json", **changes)
    with pytest.raises(BadModel):
        inspect_path(ember_copy)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pre_tokenizer", {"type": "Whitespace"}),
        ("normalizer", {"type": "Lowercase"}),
        ("model", {"type": "Unigram", "vocab": []}),
        ("model", {"type": "BPE", "vocab": {}, "merges": [], "byte_fallback": True}),
    ],
)
def test_a_tokenizer_that_would_be_read_differently_is_refused(
    ember_copy: Path, field: str, value: object
) -> None:
    edit_json(ember_copy / "tokenizer.json", **{field: value})
    with pytest.raises(BadModel):
        inspect_path(ember_copy)


def test_other_things_say_what_they_are(tmp_path: Path, ember_copy: Path) -> None:
    with pytest.raises(NotFound):
        inspect_path(tmp_path / "nothing")
    with pytest.raises(BadModel, match="Add its folder"):
        inspect_path(ember_copy / "model.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadModel, match="neither"):
        inspect_path(tmp_path / "empty")
    (ember_copy / "adapter_config.json").write_text("{}")
    with pytest.raises(BadModel, match="adapter"):
        inspect_path(ember_copy)
    (tmp_path / "fake.gguf").write_bytes(b"not GGUF at all")
    with pytest.raises(BadModel):
        inspect_path(tmp_path / "fake.gguf")
