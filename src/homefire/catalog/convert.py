"""From a safetensors folder to one GGUF file: `python -m homefire.catalog.convert FOLDER TARGET --dtype f16`.

Runs as a child process of the server, because it needs NumPy and gguf (never torch). Tensors stream one at a
time, so memory stays at about three times the largest tensor. The target appears whole or not at all: written
aside, flushed, renamed, with `<target>.sha256` beside it. Equal input gives equal bytes.

On success one JSON line `{"sha256": …, "size_bytes": …}` goes to stdout. A HomefireError becomes the line
`{"error": {"code", "message", "hint"}}` and exit status 10.

Layout of the metadata: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, and llama.cpp's own
converter (https://github.com/ggml-org/llama.cpp), whose choices per tensor are followed: vectors stay f32;
Llama's query and key rows are reordered from half-rotation to interleaved pairs.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, quants

from homefire.catalog.architectures import Architecture, ExpectedTensor, check_tensors, read_architecture
from homefire.catalog.checkpoint import Checkpoint, open_checkpoint
from homefire.catalog.child import report_outcome
from homefire.catalog.tensors import read_tensor
from homefire.catalog.tokenizer import TokenizerData, read_json, read_optional_json, read_tokenizer
from homefire.engines.template import strip_generation_marks
from homefire.errors import BadModel, quoted
from homefire.machine.hashing import hash_file
from homefire.world import Files

DTYPES = {
    "f32": GGMLQuantizationType.F32,
    "f16": GGMLQuantizationType.F16,
    "bf16": GGMLQuantizationType.BF16,
    "q8_0": GGMLQuantizationType.Q8_0,
}
LARGEST_F16 = 65504.0
_SAMPLING_KEYS = {
    "temperature": "general.sampling.temp",
    "top_p": "general.sampling.top_p",
    "min_p": "general.sampling.min_p",
    "repetition_penalty": "general.sampling.penalty_repeat",
}


def convert(folder: Path, target: Path, *, dtype: str, files: Files | None = None) -> str:
    """Write `target` and its `.sha256`; the hex digest is returned. BadModel says why a folder cannot be."""
    config = read_json(folder / "config.json")
    architecture = read_architecture(config)
    checkpoint = open_checkpoint(folder)
    check_tensors(architecture, {name: entry.shape for name, (_, entry) in checkpoint.tensors.items()})
    tokenizer = read_tokenizer(folder, vocab_size=architecture.vocab_size)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.new")
    writer = gguf.GGUFWriter(aside, architecture.gguf_name)
    _write_figures(writer, architecture, dtype)
    _write_tokenizer(writer, tokenizer)
    _write_sampling(writer, folder)
    _write_tensors(writer, architecture, checkpoint, DTYPES[dtype])
    writer.close()
    return publish(aside, target, files=files or Files())


def publish(aside: Path, target: Path, *, files: Files) -> str:
    """Flush a finished file, write its hash beside the target, then give it the target's name."""
    sha256 = hash_file(aside)
    hash_path = target.with_name(target.name + ".sha256")
    hash_aside = target.with_name(f".{hash_path.name}.new")
    hash_aside.write_text(sha256 + "\n", encoding="ascii")
    for path in (aside, hash_aside):
        files.fsync_file(path)
    # The hash first: a file without its hash would be trusted by nobody, and is made again.
    files.replace(hash_aside, hash_path)
    files.replace(aside, target)
    files.fsync_directory(target.parent)
    return sha256


def _write_figures(writer: gguf.GGUFWriter, model: Architecture, dtype: str) -> None:
    writer.add_file_type(
        {
            "f32": gguf.LlamaFileType.ALL_F32,
            "f16": gguf.LlamaFileType.MOSTLY_F16,
            "bf16": gguf.LlamaFileType.MOSTLY_BF16,
            "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
        }[dtype]
    )
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(model.context_length)
    writer.add_embedding_length(model.hidden_size)
    writer.add_block_count(model.num_layers)
    writer.add_feed_forward_length(model.feed_forward_size)
    writer.add_head_count(model.num_heads)
    writer.add_head_count_kv(model.num_kv_heads)
    writer.add_key_length(model.head_dim)
    writer.add_value_length(model.head_dim)
    writer.add_rope_dimension_count(model.head_dim)
    writer.add_layer_norm_rms_eps(model.rms_epsilon)
    writer.add_rope_freq_base(model.rope_theta)
    writer.add_vocab_size(model.vocab_size)
    kind = model.rope["rope_type"]
    if kind in ("linear", "yarn"):
        scaling = gguf.RopeScalingType.LINEAR if kind == "linear" else gguf.RopeScalingType.YARN
        writer.add_rope_scaling_type(scaling)
        writer.add_rope_scaling_factor(float(model.rope["factor"]))
    if kind == "yarn":
        original = int(model.rope.get("original_max_position_embeddings") or model.context_length)
        writer.add_rope_scaling_orig_ctx_len(original)


def _write_tokenizer(writer: gguf.GGUFWriter, tokenizer: TokenizerData) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tokenizer.pre_tokenizer)
    writer.add_token_list(list(tokenizer.tokens))
    writer.add_token_types(list(tokenizer.types))
    if tokenizer.merges:
        writer.add_token_merges(list(tokenizer.merges))
    if tokenizer.normalizer:
        writer.add_string("homefire.normalizer", tokenizer.normalizer)
    if tokenizer.bos_id is not None:
        writer.add_bos_token_id(tokenizer.bos_id)
    for add, token_id in zip(
        (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id),
        tokenizer.stop_ids,
        strict=False,
    ):
        add(token_id)
    if tokenizer.pad_id is not None:
        writer.add_pad_token_id(tokenizer.pad_id)
    if tokenizer.unk_id is not None:
        writer.add_unk_token_id(tokenizer.unk_id)
    writer.add_add_bos_token(tokenizer.add_bos)
    writer.add_add_eos_token(False)
    if tokenizer.chat_template is not None:
        writer.add_chat_template(strip_generation_marks(tokenizer.chat_template))


def _write_sampling(writer: gguf.GGUFWriter, folder: Path) -> None:
    """The model's own sampling, where its makers state one; greedy is stated by absence."""
    config = read_optional_json(folder / "generation_config.json")
    if not config.get("do_sample"):
        return
    for theirs, ours in _SAMPLING_KEYS.items():
        if isinstance(config.get(theirs), int | float):
            writer.add_float32(ours, float(config[theirs]))
    if isinstance(config.get("top_k"), int):
        writer.add_int32("general.sampling.top_k", config["top_k"])


def _write_tensors(
    writer: gguf.GGUFWriter, model: Architecture, checkpoint: Checkpoint, dtype: GGMLQuantizationType
) -> None:
    factors = _llama3_factors(model)
    expected = list(model.expected_tensors())
    if factors is not None:
        writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
    chosen = {tensor.name: _tensor_type(tensor, dtype) for tensor in expected}
    for tensor in expected:
        _announce(writer, tensor, chosen[tensor.name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if factors is not None:
        writer.write_tensor_data(factors)
    for tensor in expected:
        file, entry = checkpoint.tensors[tensor.name]
        values = read_tensor(file, entry)
        if tensor.num_rope_heads:
            values = interleave_rotary_rows(values, tensor.num_rope_heads)
        writer.write_tensor_data(_encode(values, chosen[tensor.name], tensor.name))


def _tensor_type(tensor: ExpectedTensor, dtype: GGMLQuantizationType) -> GGMLQuantizationType:
    if len(tensor.shape) == 1:
        return GGMLQuantizationType.F32
    if dtype == GGMLQuantizationType.Q8_0 and tensor.shape[-1] % 32:
        return GGMLQuantizationType.F16
    return dtype


def _announce(writer: gguf.GGUFWriter, tensor: ExpectedTensor, kind: GGMLQuantizationType) -> None:
    if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
        dtype = np.dtype(np.float32 if kind == GGMLQuantizationType.F32 else np.float16)
        num_bytes = int(np.prod(tensor.shape)) * dtype.itemsize
        writer.add_tensor_info(tensor.gguf_name, tensor.shape, dtype, num_bytes)
        return
    shape = quants.quant_shape_to_byte_shape(tensor.shape, kind)
    num_bytes = int(np.prod(shape))
    writer.add_tensor_info(tensor.gguf_name, shape, np.dtype(np.uint8), num_bytes, raw_dtype=kind)


def _encode(values: npt.NDArray[np.float32], kind: GGMLQuantizationType, name: str) -> npt.NDArray[Any]:
    if not np.isfinite(values).all():
        raise BadModel(f"Tensor {quoted(name)} holds values that are not numbers: the model is damaged.")
    if kind == GGMLQuantizationType.F16 and float(np.abs(values).max(initial=0.0)) > LARGEST_F16:
        raise BadModel(
            f"Tensor {quoted(name)} holds values beyond the range of f16.",
            hint='Set serving.gguf_dtype = "bf16".',
        )
    encoded: npt.NDArray[Any] = quants.quantize(np.ascontiguousarray(values), kind)
    return encoded


def interleave_rotary_rows(values: npt.NDArray[np.float32], num_heads: int) -> npt.NDArray[np.float32]:
    """Reorder the rows of each head from (first halves, second halves) to pairs, as llama.cpp's Llama wants.

    `values` is [num_heads * head_dim, …]; row i of a head's first half and row i of its second become
    neighbours.
    """
    halves = values.reshape(num_heads, 2, values.shape[0] // num_heads // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def _llama3_factors(model: Architecture) -> npt.NDArray[np.float32] | None:
    """Divisors of the rotary frequencies for `rope_type: llama3`, one for each pair of dimensions.

    As transformers' `_compute_llama3_parameters`: long waves are slowed by `factor`, short ones left alone,
    those between blended.
    """
    if model.rope["rope_type"] != "llama3":
        return None
    try:
        factor, low = float(model.rope["factor"]), float(model.rope["low_freq_factor"])
        high, original = (
            float(model.rope["high_freq_factor"]),
            float(model.rope["original_max_position_embeddings"]),
        )
    except KeyError as error:
        raise BadModel(f"config.json's llama3 rotary scaling lacks {error}.") from error
    exponents = np.arange(0, model.head_dim, 2, dtype=np.float64) / model.head_dim
    waves = 2 * np.pi * model.rope_theta**exponents
    smooth = np.clip((original / waves - low) / (high - low), 0.0, 1.0)
    blended = 1.0 / ((1.0 - smooth) / factor + smooth)
    return blended.astype(np.float32)


def main(arguments: list[str] | None = None) -> int:
    """The child process."""
    parser = argparse.ArgumentParser(prog="python -m homefire.catalog.convert", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="f16")
    parser.add_argument("--nice", type=int, default=0)
    options = parser.parse_args(arguments)
    os.nice(options.nice)
    return report_outcome(
        lambda: convert(options.folder, options.target, dtype=options.dtype), options.target
    )


if __name__ == "__main__":
    sys.exit(main())
