"""The memory estimate agrees with what is really allocated, and a run that does not fit is changed or refused."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Qwen3Config, Qwen3ForCausalLM

from homefire.config.schema import TrainingSettings
from homefire.errors import NotTrainable
from homefire.machine import memory as machine_memory
from homefire.trainer.batch import TokenRow, collate
from homefire.trainer.memory import MemoryEstimate, ModelShape, Plan, choose_plan, estimate
from homefire.trainer.model import Model
from homefire.trainer.objective import add_gradients
from homefire.trainer.recipe import Recipe
from homefire.training import memory_plan
from tests.support.trainer import EMBER

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning"
)  # PEFT asks for it
TOLERANCE = 0.12
RECIPE = Recipe(learning_rate=1e-3)
SMALL = ModelShape(
    hidden=64,
    intermediate=192,
    num_layers=4,
    query_width=96,
    key_width=48,
    num_heads=6,
    num_key_heads=3,
    vocabulary=500,
    is_tied=True,
)
QWEN3 = {
    "0.6B": ModelShape(1024, 3072, 28, 2048, 1024, 16, 8, 151_936, True),
    "1.7B": ModelShape(2048, 6144, 28, 2048, 1024, 16, 8, 151_936, True),
    "4B": ModelShape(2560, 9728, 36, 4096, 1024, 32, 8, 151_936, True),
    "8B": ModelShape(4096, 12_288, 36, 4096, 1024, 32, 8, 151_936, False),
}


class PeakBytes(TorchDispatchMode):
    """The most bytes alive at once of what is allocated inside, whatever holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._alive: dict[int, int] = {}
        self._before: set[int] = set()

    def leave_out(self, tensors: Iterator[torch.Tensor]) -> None:
        self._before |= {tensor.untyped_storage()._cdata for tensor in tensors}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, (list, tuple)) else (result,):
            if isinstance(each, torch.Tensor):
                self._note(each.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._alive or key in self._before:
            return
        self._alive[key] = storage.nbytes()
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self._now -= self._alive.pop(key, 0)


def counted_peak(shape: ModelShape, plan: Plan, *, num_rows: int, row_tokens: int) -> int:
    """Bytes beyond weights, parent and optimizer in the second of two micro-batches of a step."""
    head_size = shape.query_width // shape.num_heads
    config = Qwen3Config(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_key_heads,
        head_dim=head_size,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.is_tied,
    )
    torch.manual_seed(0)
    plain = Qwen3ForCausalLM(config).to(torch.float32 if plan.mode == "full" else torch.bfloat16)
    whole: Any = plain
    if plan.mode == "lora":
        import peft

        targets = list(RECIPE.lora_targets)
        lora = peft.LoraConfig(
            r=plan.lora_r, lora_alpha=8, lora_dropout=0.05, target_modules=targets, task_type="CAUSAL_LM"
        )
        whole = peft.get_peft_model(plain, lora)
    if plan.activation_checkpointing:
        plain.activation_checkpointing_enable({"use_reentrant": False})
    trainable = {name: p for name, p in whole.named_parameters() if p.requires_grad}
    parent = {name: p.detach().clone() for name, p in trainable.items()}
    model = Model(whole, plain.base_model, plain.get_output_embeddings(), trainable, parent, 10_000)  # type: ignore[no-untyped-call]
    row = TokenRow(tuple(range(row_tokens)), (-1,) + (0,) * (row_tokens - 1))
    (part,) = collate([row] * num_rows, replay_from=0, max_tokens=100_000)
    whole.train()
    gc.collect()
    with PeakBytes() as counted:
        counted.leave_out(iter([*whole.parameters(), *parent.values()]))
        for _ in range(2):
            add_gradients(model, part, RECIPE, scale=1.0)
    return counted.peak


def moving(found: MemoryEstimate) -> int:
    """The part of an estimate that a counted peak is to be compared with."""
    return found.gradients + found.activations + found.working


@pytest.mark.parametrize("mode", ["full", "lora"])
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("vocabulary", [200, 4000])
def test_the_estimate_is_what_is_allocated(mode: Any, again: bool, vocabulary: int) -> None:
    shape = replace(SMALL, vocabulary=vocabulary)
    plan = Plan(mode, 4 * 96, activation_checkpointing=again, lora_r=4)
    counted = counted_peak(shape, plan, num_rows=4, row_tokens=96)
    assert moving(estimate(shape, plan)) == pytest.approx(counted, rel=TOLERANCE)
    # The control: an estimate that forgets a layer is noticed.
    if not again and vocabulary == 200:
        assert moving(estimate(replace(shape, num_layers=3), plan)) != pytest.approx(counted, rel=TOLERANCE)


def test_the_weights_are_counted_exactly() -> None:
    shape = ModelShape.from_config(json.loads((EMBER / "config.json").read_text()))
    assert shape is not None
    stored = (EMBER / "model.safetensors").stat().st_size
    # The norms of heads are not counted; the header is in the file.
    assert estimate(shape, Plan("full", 1)).weights == pytest.approx(stored, rel=0.005)


@pytest.mark.parametrize(("name", "billions"), [("0.6B", 0.596), ("1.7B", 1.72), ("4B", 4.02), ("8B", 8.19)])
def test_the_shapes_have_the_weights_they_are_named_for(name: str, billions: float) -> None:
    shape = QWEN3[name]
    assert (shape.num_linear + shape.num_other) / 1e9 == pytest.approx(billions, rel=0.01)


def test_an_eight_billion_model_is_taught_on_24_gb_by_an_adapter_with_activations_computed_again() -> None:
    plan = Plan("full", 4096)
    choice = choose_plan(
        QWEN3["8B"], Recipe(), plan, available_bytes=24_000_000_000, may_adapt=True, longest_row=1024
    )
    assert choice.plan is not None
    assert (choice.plan.mode, choice.plan.activation_checkpointing) == ("lora", True)
    assert "adapter" in choice.why
    assert choice.estimate.total_bytes <= 24_000_000_000


def test_what_fits_is_left_as_it_was_asked() -> None:
    plan = Plan("full", 4096)
    choice = choose_plan(SMALL, Recipe(), plan, available_bytes=4 << 30, may_adapt=True, longest_row=512)
    assert (choice.plan, choice.why) == (plan, "")


def test_full_fine_tuning_that_was_asked_for_does_not_become_an_adapter() -> None:
    choice = choose_plan(
        QWEN3["8B"], Recipe(), Plan("full", 4096), available_bytes=24 << 30, may_adapt=False, longest_row=512
    )
    assert choice.plan is None
    assert "at least" in choice.why


class Base:
    """A model of the catalog, as far as the plan looks at it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name, self.context_length, self.num_parameters = (
            folder,
            "large",
            40_960,
            8_190_000_000,
        )


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    config = {
        "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": False,
        "dtype": "bfloat16",
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(memory_plan, "available_bytes", lambda: 24_000_000_000)
    return Base(tmp_path)


def test_a_run_is_changed_so_that_it_fits_and_says_so(large: Any) -> None:
    recipe, again, why = memory_plan.fit_to_memory(
        Recipe().resolved(large.num_parameters),
        base=large,
        settings=TrainingSettings(),
        longest_line_bytes=3000,
        may_adapt=True,
    )
    assert (recipe.mode, again) == ("lora", True)
    assert "free, so" in why
    needs = memory_plan.describe_need(large, Recipe(), TrainingSettings())
    assert needs is not None
    assert "LoRA" in needs


def test_a_run_that_cannot_fit_is_refused_before_it_starts(
    large: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_plan, "available_bytes", lambda: 8_000_000_000)
    with pytest.raises(NotTrainable, match="at least"):
        memory_plan.fit_to_memory(
            Recipe().resolved(large.num_parameters),
            base=large,
            settings=TrainingSettings(),
            longest_line_bytes=3000,
            may_adapt=True,
        )


@pytest.mark.parametrize(("answer", "expected"), [("23028\n", 23028 << 20), ("[N/A]\n", None)])
def test_what_a_gpu_has_free_is_asked_of_its_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, expected: int | None
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{answer}'\n")
    tool.chmod(0o700)
    monkeypatch.setattr(machine_memory.shutil, "which", lambda _name: str(tool))
    assert machine_memory.gpu_available_bytes() == expected
