"""Tensor files are the library's, written without a second copy and never believed without their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from homefire.errors import CorruptData, NotTrainable
from homefire.trainer.checkpoint import Randomness
from homefire.trainer.device import choose_device
from homefire.trainer.tensor_file import TensorFile, read_tensor_file


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "a.weight": torch.randn(5, 3),
        "half": torch.randn(7).to(torch.bfloat16),
        "float16": torch.randn(2, 2).half(),
        "count": torch.tensor(3.0),
        "ids": torch.arange(4),
        "flags": torch.tensor([True, False]),
        "empty": torch.zeros(0, 4),
        "turned": torch.randn(4, 6).t(),
        "ä": torch.tensor([1, 2], dtype=torch.uint8),
    }


def written(path: Path, file: TensorFile) -> Path:
    path.write_bytes(b"".join(file.pieces()))
    return path


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", TensorFile(tensors(), {"format": "pt"}))
    assert same(load_file(path), tensors())
    with safe_open(str(path), framework="pt") as opened:
        assert opened.metadata() == {"format": "pt"}


def test_what_the_library_writes_is_read(tmp_path: Path) -> None:
    plain = {name: tensor.contiguous() for name, tensor in tensors().items()}
    save_file(plain, tmp_path / "x.safetensors", metadata={"format": "pt"})
    assert same(read_tensor_file(tmp_path / "x.safetensors")[0], tensors())


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    file = TensorFile(tensors())
    path = written(tmp_path / "x.safetensors", file)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.hash() == (sha256, path.stat().st_size)
    assert read_tensor_file(path)[1] == sha256


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[:4],
        lambda data: b"",
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data.replace(b"F32", b"F99"),
        lambda data: data.replace(b'"shape":[5,3]', b'"shape":[9,3]'),
        lambda data: data.replace(b'"shape":[5,3]', b'"shape":[-5,-3]').replace(b"  ", b"", 1),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(damage(b"".join(TensorFile(tensors()).pieces())))
    with pytest.raises(CorruptData):
        read_tensor_file(path)


def test_no_piece_is_larger_than_a_few_megabytes() -> None:
    large = TensorFile({"large": torch.zeros(12 << 20)})
    assert max(len(piece) for piece in large.pieces()) <= 16 << 20


def test_the_generators_of_the_gpus_are_saved_and_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [torch.arange(16, dtype=torch.uint8), torch.arange(16, 32, dtype=torch.uint8)]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    restored: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", restored.extend)
    Randomness.capture().restore()
    assert all(torch.equal(one, other) for one, other in zip(states, restored, strict=True))


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(NotTrainable, match="cuda"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda", 0)
    assert choose_device("cpu") == torch.device("cpu")
