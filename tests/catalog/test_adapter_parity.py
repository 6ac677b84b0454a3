"""A LoRA adapter in GGUF changes answers exactly as PEFT does, and its strength can be chosen per request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import peft
import pytest
import torch

from homefire.catalog.convert import convert
from homefire.catalog.convert_adapter import convert_adapter
from homefire.engines.base import Adapter
from homefire.errors import BadModel
from tests.catalog import tiny_models
from tests.catalog.parity import PROMPTS, Reference, answer, engine_for, measure

# PEFT asks transformers by an old name.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_adapter(base: Path, folder: Path, **changes: Any) -> Any:
    """Save a random adapter for a base, and give the two together."""
    torch.manual_seed(11)
    settings = {"r": 4, "lora_alpha": 6, "target_modules": PROJECTIONS, "task_type": "CAUSAL_LM", **changes}
    model = peft.get_peft_model(tiny_models.load_reference(base), peft.LoraConfig(**settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize(("kind", "changes"), [("qwen3", {}), ("llama", {"use_rslora": True})])
async def test_an_adapter_answers_as_in_peft(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    base, folder = tmp_path / "base", tmp_path / "adapter"
    tiny_models.make_model(base, kind, head_dim=16)
    model = make_adapter(base, folder, **changes)
    sha256 = convert(base, tmp_path / "base.gguf", dtype="f32")
    adapter_sha256 = convert_adapter(folder, base, tmp_path / "adapter.gguf")
    adapted, plain = Reference(base, model), Reference(base)
    full = Adapter(str(tmp_path / "adapter.gguf"), adapter_sha256)
    none = msgspec.structs.replace(full, scale=0.0)
    gguf = tmp_path / "base.gguf"
    async with (
        engine_for(gguf, sha256, tmp_path / "full", adapters=(full,)) as engine,
        engine_for(gguf, sha256, tmp_path / "none", adapters=(none,)) as without,
    ):
        num_equal, worst = await measure(engine, adapted)
        assert (num_equal, worst < 0.001) == (len(PROMPTS), True)
        num_equal, worst = await measure(without, plain)
        assert (num_equal, worst < 0.001) == (len(PROMPTS), True)
        changed = [await answer(engine, prompt) != await answer(without, prompt) for prompt in PROMPTS]
        assert any(changed), "the adapter is too weak for this test to show anything"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("use_dora", True),
        ("bias", "all"),
        ("modules_to_save", ["lm_head"]),
        ("peft_type", "IA3"),
        ("rank_pattern", {"q_proj": 8}),
    ],
)
def test_what_cannot_be_applied_is_refused(setting: str, value: object, tmp_path: Path) -> None:
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, setting: value}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(BadModel):
        convert_adapter(tmp_path, tmp_path, tmp_path / "adapter.gguf")
    assert not (tmp_path / "adapter.gguf").exists()


def test_an_adapter_for_another_base_is_refused(tmp_path: Path) -> None:
    tiny_models.make_model(tmp_path / "one", "qwen3", head_dim=16)
    tiny_models.make_model(tmp_path / "two", "qwen3", head_dim=32)
    make_adapter(tmp_path / "one", tmp_path / "adapter")
    with pytest.raises(BadModel, match="does not fit its base"):
        convert_adapter(tmp_path / "adapter", tmp_path / "two", tmp_path / "adapter.gguf")
