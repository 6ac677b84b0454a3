"""Tensors of a safetensors file as NumPy arrays, without torch and without reading what is not asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from homefire.catalog.safetensors_header import TensorEntry
from homefire.errors import BadModel

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def read_tensor(path: Path, entry: TensorEntry) -> npt.NDArray[np.float32]:
    """One tensor as float32, of `entry.shape`; BadModel for types other than plain floating point."""
    code = _DTYPES.get(entry.dtype)
    if code is None:
        raise BadModel(f"{path.name} holds a tensor of type {entry.dtype}, which is not converted.")
    raw = np.fromfile(path, dtype=code, count=entry.num_elements, offset=entry.start)
    if raw.size != entry.num_elements:
        raise BadModel(f"{path.name} ended while it was read.")
    if entry.dtype == "BF16":
        # bfloat16 is the upper half of a float32.
        values = (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    else:
        values = raw.astype(np.float32, copy=False)
    return values.reshape(entry.shape)
