"""A converted model answers as the original does: the same greedy tokens, close log-probabilities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from homefire.catalog.convert import convert
from tests.catalog import tiny_models
from tests.catalog.parity import PROMPTS, Reference, engine_for, measure

LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
}  # fmt: skip
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("qwen3", {"head_dim": 32}),
    "qwen3-tied": ("qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
    "qwen2": ("qwen2", {}),
    "llama": ("llama", {}),
    "llama3-rope": ("llama", {"rope_parameters": LLAMA3_ROPE, "tie_word_embeddings": True}),
    "llama-biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "sharded": ("qwen2", {"max_shard_size": "60KB"}),
    "linear-rope": ("qwen2", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}),
}
TOLERANCES = {"f32": 0.0005, "f16": 0.1, "bf16": 0.5, "q8_0": 0.5}
"""Largest error of a log-probability; random weights with sharpened answers are harsher than trained ones."""
SAME_ANSWERS = {"f16": 3, "bf16": 1, "q8_0": 1}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny model by the name of its case, made once."""
    torch.set_num_threads(1)
    made: dict[str, Path] = {}

    def make(case: str) -> Path:
        if case not in made:
            made[case] = tmp_path_factory.mktemp(case)
            kind, changes = CASES[case]
            tiny_models.make_model(made[case], kind, **dict(changes))
        return made[case]

    return make


@pytest.mark.parametrize("case", CASES)
async def test_f32_gives_the_same_greedy_answers_and_close_logprobs(
    case: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = folder_of(case)
    sha256 = convert(folder, tmp_path / "model.gguf", dtype="f32")
    reference = Reference(folder)
    async with engine_for(tmp_path / "model.gguf", sha256, tmp_path) as engine:
        for prompt in PROMPTS:
            ids = reference.tokenizer(prompt, add_special_tokens=False)["input_ids"]
            assert await engine.count_tokens([], prompt=prompt) == len(ids)
        num_equal, worst = await measure(engine, reference)
    assert num_equal == len(PROMPTS)
    assert worst < TOLERANCES["f32"]


@pytest.mark.parametrize("dtype", ["f16", "bf16", "q8_0"])
@pytest.mark.parametrize("case", ["qwen3", "qwen2", "llama"])
async def test_shorter_numbers_stay_close(
    case: str, dtype: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = folder_of(case)
    sha256 = convert(folder, tmp_path / "model.gguf", dtype=dtype)
    async with engine_for(tmp_path / "model.gguf", sha256, tmp_path) as engine:
        num_equal, worst = await measure(engine, Reference(folder))
    print(case, dtype, num_equal, worst)
    assert worst < TOLERANCES[dtype]
    assert num_equal >= SAME_ANSWERS[dtype]
