"""From a PEFT LoRA folder to a GGUF adapter: `python -m homefire.catalog.convert_adapter FOLDER BASE TARGET`.

A child process like `convert`, with the same promises and the same line on stdout. What llama.cpp cannot
apply (DoRA, biases, trained embeddings, other layers than the seven projections) is BadModel, never dropped.
Layout: llama.cpp's convert_lora_to_gguf.py (https://github.com/ggml-org/llama.cpp): tensors
`<name>.weight.lora_a` [rank, in] and `.lora_b` [out, rank] in f32, and `adapter.lora.alpha`; llama.cpp scales
by alpha / rank.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from homefire.catalog.architectures import ExpectedTensor, read_architecture
from homefire.catalog.checkpoint import ADAPTER_CONFIG, ADAPTER_FILE, Checkpoint, inside, open_single
from homefire.catalog.child import report_outcome
from homefire.catalog.convert import interleave_rotary_rows, publish
from homefire.catalog.tensors import read_tensor
from homefire.catalog.tokenizer import read_json
from homefire.errors import BadModel, quoted
from homefire.world import Files

_NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])(?:\.[^.]+)?\.weight")
_UNSUPPORTED = (
    "use_dora", "fan_in_fan_out", "modules_to_save", "alpha_pattern", "rank_pattern", "use_bdlora",
    "alora_invocation_tokens", "trainable_token_indices",
)  # fmt: skip
"""Settings of PEFT that change what an adapter means, and that must be off."""


def convert_adapter(folder: Path, base: Path, target: Path, *, files: Files | None = None) -> str:
    """Write `target` and its `.sha256`; the hex digest is returned. `base` is the model's own folder."""
    config = read_json(inside(folder, ADAPTER_CONFIG))
    alpha = read_alpha(config)
    architecture = read_architecture(read_json(inside(base, "config.json")))
    places = {tensor.name.removesuffix(".weight"): tensor for tensor in architecture.expected_tensors()}
    pairs = _pair_up(open_single(folder, ADAPTER_FILE), places)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.new")
    writer = gguf.GGUFWriter(aside, architecture.gguf_name)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    for module, (a, b) in sorted(pairs.items()):
        place = places[module]
        _check_shapes(place, a, b)
        if place.num_rope_heads:
            b = interleave_rotary_rows(b, place.num_rope_heads)
        writer.add_tensor(f"{place.gguf_name}.lora_a", np.ascontiguousarray(a))
        writer.add_tensor(f"{place.gguf_name}.lora_b", np.ascontiguousarray(b))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return publish(aside, target, files=files or Files())


def read_alpha(config: Mapping[str, Any]) -> float:
    """The alpha that makes llama.cpp's `alpha / rank` PEFT's scale; BadModel for what is not a plain LoRA."""
    if config.get("peft_type") != "LORA":
        raise BadModel(f"An adapter of the kind {quoted(config.get('peft_type'))} is not converted; LoRA is.")
    used = [name for name in _UNSUPPORTED if config.get(name)]
    if used:
        raise BadModel(f"The adapter uses {used[0]}, which the engine cannot apply.")
    if config.get("bias", "none") != "none" or config.get("lora_bias"):
        raise BadModel("The adapter trains biases, which the engine cannot apply.")
    try:
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadModel(f"{ADAPTER_CONFIG} lacks its rank or alpha: {error}.") from error
    return alpha * math.sqrt(rank) if config.get("use_rslora") else alpha


def _pair_up(
    checkpoint: Checkpoint, places: Mapping[str, ExpectedTensor]
) -> dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    sides: dict[str, dict[str, npt.NDArray[np.float32]]] = {}
    for name, (path, entry) in checkpoint.tensors.items():
        match = _NAME.fullmatch(name)
        if match is None or match["module"] not in places or "_proj" not in match["module"]:
            raise BadModel(f"The adapter changes {quoted(name)}, which the engine cannot apply.")
        sides.setdefault(match["module"], {})[match["side"]] = read_tensor(path, entry)
    if not sides:
        raise BadModel("The adapter holds no tensors.")
    halves = [module for module, found in sides.items() if len(found) != 2]
    if halves:
        raise BadModel(f"The adapter holds only one half of the pair for {quoted(halves[0])}.")
    return {module: (found["A"], found["B"]) for module, found in sides.items()}


def _check_shapes(place: ExpectedTensor, a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> None:
    rows, columns = place.shape
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != columns or b.shape[0] != rows or a.shape[0] != b.shape[1]:
        raise BadModel(
            f"The adapter does not fit its base: {quoted(place.name)} is {rows} × {columns}, "
            f"its pair {b.shape} × {a.shape}."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise BadModel(f"The adapter's pair for {quoted(place.name)} holds values that are not numbers.")


def main(arguments: list[str] | None = None) -> int:
    """The child process."""
    parser = argparse.ArgumentParser(prog="python -m homefire.catalog.convert_adapter", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--nice", type=int, default=0)
    options = parser.parse_args(arguments)
    os.nice(options.nice)
    return report_outcome(
        lambda: convert_adapter(options.folder, options.base, options.target), options.target
    )


if __name__ == "__main__":
    sys.exit(main())
