from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest

from homefire.errors import BadModel
from homefire.versions.weight_file import non_finite_tensors, read_weight_file
from tests.support.small_models import floats, write_safetensors


def test_parts_in_file_order_make_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(
        path, {"b": ("F32", (2,), floats(1, 2)), "a": ("F32", (0,), b""), "c": ("I8", (3,), b"xyz")}
    )
    weights = read_weight_file(path)
    whole = path.read_bytes()
    body = b"".join(whole[span.start : span.start + span.size_bytes] for span in weights.tensors)
    assert weights.header + body == whole
    assert {span.name: span.shape for span in weights.tensors} == {"b": (2,), "a": (0,), "c": (3,)}


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"a": ("F32", (2,), floats(1, 2))})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadModel):
        read_weight_file(path)


@pytest.mark.parametrize(
    ("dtype", "pack"),
    [("F64", "<d"), ("F32", "<f"), ("F16", "<e"), ("BF16", "bf16")],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_found_in_every_float_type(
    tmp_path: Path, dtype: str, pack: str, value: float
) -> None:
    def encode(number: float) -> bytes:
        return struct.pack("<f", number)[2:] if pack == "bf16" else struct.pack(pack, number)

    sound = [0.0, -1.5, 3.0, 65504.0 if dtype == "F16" else 1e38, 2.0**-14]
    path = tmp_path / "model.safetensors"
    good = b"".join(encode(number) for number in sound)
    bad = b"".join(encode(number) for number in [*sound[:3], value, *sound[3:]])
    write_safetensors(
        path, {"good": (dtype, (5,), good), "bad": (dtype, (6,), bad), "int": ("I8", (2,), b"\xff\xff")}
    )
    assert non_finite_tensors(read_weight_file(path)) == ("bad",)
