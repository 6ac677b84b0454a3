"""Every token that ends an answer in the original ends it here: instruct models have up to three."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from homefire.catalog.convert import convert
from homefire.engines.base import EngineRequest
from homefire.engines.gguf_check import check_gguf
from homefire.engines.process import LlamaCppEngine
from homefire.types import Sampling
from homefire.world import World
from tests.engines.support import QUICK, Answer, collect, spec_for

PROMPT = "<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n"


async def greedy(gguf: Path, sockets: Path) -> Answer:
    engine = LlamaCppEngine(spec_for(gguf), sockets=sockets, settings=QUICK, world=World())
    try:
        sampling = Sampling(temperature=0.0, max_tokens=30, num_logprobs=1)
        return await collect(engine, EngineRequest(prompt=PROMPT, sampling=sampling))
    finally:
        await engine.stop()


@pytest.mark.parametrize("number", [1, 2])
async def test_a_further_stop_token_ends_the_answer(number: int, ember_copy: Path, tmp_path: Path) -> None:
    convert(ember_copy, tmp_path / "before.gguf", dtype="f32")
    whole = await greedy(tmp_path / "before.gguf", tmp_path)
    tokens = [entry.token for entry in whole.logprobs]
    stop = next(token for token in tokens[2:] if tokens.count(token) == 1)
    names = check_gguf(tmp_path / "before.gguf").metadata["tokenizer.ggml.tokens"]
    stop_id = names.index(stop.replace(" ", "Ġ"))
    eos_id = check_gguf(tmp_path / "before.gguf").metadata["tokenizer.ggml.eos_token_id"]
    ids = [eos_id, stop_id] if number == 1 else [eos_id, 0, stop_id]
    (ember_copy / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
    convert(ember_copy, tmp_path / "after.gguf", dtype="f32")
    cut = await greedy(tmp_path / "after.gguf", tmp_path)
    # A stop token that is not a special one is shown, as in transformers.
    assert cut.text == "".join(tokens[: tokens.index(stop) + 1])
    assert cut.finish.stop_reason == "stop"
