"""No file that says something untrue of itself gets past the check, and none makes it fail otherwise."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homefire.engines.gguf_check import check_gguf
from homefire.errors import BadModel


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def small_file(*, shape: tuple[int, ...] = (4, 2), kind: int = 0, offset: int = 0, data: int = 32) -> bytes:
    """A sound GGUF file with one f32 tensor, unless told otherwise."""
    head = (
        b"GGUF"
        + struct.pack("<IQQ", 3, 1, 1)
        + text("general.architecture")
        + struct.pack("<I", 8)
        + text("x")
    )
    head += text("t") + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
    head += struct.pack("<IQ", kind, offset)
    return head + bytes(-len(head) % 32 + data)


def test_a_sound_file_passes(tmp_path: Path, ember_gguf: Path) -> None:
    path = tmp_path / "small.gguf"
    path.write_bytes(small_file())
    assert check_gguf(path).tensors["t"].size_bytes == 32
    header = check_gguf(ember_gguf)
    assert (header.architecture, header.token("eos")) == ("qwen3", "<|im_end|>")
    assert header.context_length > 0
    assert "endgeneration" not in header.metadata["tokenizer.chat_template"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"nope" + bytes(100), "GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "claims"),
        (small_file()[:-1], "should end"),
        (small_file()[:40], "ends inside"),
        (small_file(kind=99), "unknown type"),
        (small_file(kind=8), "impossible shape"),
        (small_file(shape=(0, 2)), "impossible shape"),
        (small_file(shape=(1 << 62, 1 << 62)), "should end"),
        (small_file(shape=()), "dimensions"),
        (small_file(offset=7), "should end"),
        (small_file(offset=1 << 63), "should end"),
    ],
)
def test_an_untrue_file_is_refused(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(BadModel, match=why):
        check_gguf(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_sound_or_a_typed_error(data: st.DataObject, tmp_path: Path) -> None:
    content = bytearray(small_file())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "fuzzed.gguf"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        header = check_gguf(path)
    except BadModel:
        return
    size = path.stat().st_size
    assert all(tensor.start + tensor.size_bytes <= size for tensor in header.tensors.values())
