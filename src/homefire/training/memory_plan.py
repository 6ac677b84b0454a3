"""Whether a model can be taught in the memory there is, and how: asked before a run starts, and by `models show`.

The estimate is `trainer.memory`'s; here are the facts it needs: the model's shape, the device, what is free on it.
Nothing is loaded, and torch is not imported: what a GPU has free is asked of nvidia-smi.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from homefire.config.schema import TrainingSettings
from homefire.errors import NotTrainable
from homefire.machine.memory import available_bytes, gpu_available_bytes
from homefire.trainer.memory import Choice, ModelShape, Plan, choose_plan
from homefire.trainer.recipe import Recipe

if TYPE_CHECKING:
    from homefire.catalog.models import ModelInfo

_BYTES_PER_TOKEN = 3
"""Of text in JSON lines, at least; a row is taken for no shorter than it is."""
_CHAT_TOKENS = 512


def fit_to_memory(
    recipe: Recipe, *, base: ModelInfo, settings: TrainingSettings, longest_line_bytes: int, may_adapt: bool
) -> tuple[Recipe, bool, str]:
    """The recipe that fits into the free memory, whether to compute activations again, and what was changed, in words.

    `recipe` is resolved. A model whose shape is not known is tried as asked. Raises:
        NotTrainable: there is no way that fits.
    """
    shape = read_shape(base.folder)
    asked = settings.activation_checkpointing == "on"
    if shape is None:
        return recipe, asked, ""
    choice = _choose(
        shape,
        recipe,
        settings,
        longest_row=longest_line_bytes // _BYTES_PER_TOKEN,
        base=base,
        may_adapt=may_adapt,
    )
    if choice.plan is None:
        raise NotTrainable(
            f"{choice.why}: {base.name} cannot be taught now.",
            hint="Free some memory, teach a smaller model, or hold its weights in 4 bits (training.base_precision).",
            name=base.name,
        )
    plan = choice.plan
    fitted = msgspec.structs.replace(recipe, mode=plan.mode, microbatch_tokens=plan.microbatch_tokens)
    if plan.mode != recipe.mode and settings.learning_rate is None:
        fitted = msgspec.structs.replace(fitted, learning_rate=None).resolved(base.num_parameters)
    return fitted, plan.activation_checkpointing, choice.why


def describe_need(base: ModelInfo, recipe: Recipe, settings: TrainingSettings) -> str | None:
    """What teaching a model takes here, as a sentence; None where its shape is not known."""
    shape = read_shape(base.folder)
    if shape is None:
        return None
    resolved = recipe.resolved(base.num_parameters)
    choice = _choose(shape, resolved, settings, longest_row=0, base=base, may_adapt=recipe.mode == "auto")
    if choice.plan is None:
        return f"no: {choice.why[0].lower()}{choice.why[1:]}"
    how = "all weights" if choice.plan.mode == "full" else "an adapter (LoRA)"
    again = ", activations computed again" if choice.plan.activation_checkpointing else ""
    return f"about {choice.estimate.total_bytes / 1e9:.1f} GB of memory for {how}{again}"


def read_shape(folder: Path) -> ModelShape | None:
    """The shape of the model in a folder; None where it states none that is known."""
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return ModelShape.from_config(config) if isinstance(config, dict) else None


def _choose(
    shape: ModelShape,
    recipe: Recipe,
    settings: TrainingSettings,
    *,
    longest_row: int,
    base: ModelInfo,
    may_adapt: bool,
) -> Choice:
    longest_row = max(_CHAT_TOKENS, min(longest_row, base.context_length))
    plan = Plan(
        mode="lora" if recipe.mode == "lora" else "full",
        microbatch_tokens=max(recipe.microbatch_tokens, longest_row),
        activation_checkpointing=settings.activation_checkpointing == "on",
        base_precision=settings.base_precision,
        lora_r=recipe.lora_r,
        has_dropout=recipe.lora_dropout > 0,
    )
    return choose_plan(
        shape,
        recipe,
        plan,
        available_bytes=_free_bytes(settings),
        may_adapt=may_adapt,
        longest_row=longest_row,
        may_checkpoint=settings.activation_checkpointing != "off",
    )


def _free_bytes(settings: TrainingSettings) -> int:
    """On the device that the trainer will choose."""
    if settings.device in ("auto", "cuda") and not _is_cpu_build():
        free = gpu_available_bytes()
        if free is not None:
            return free
    return available_bytes()


def _is_cpu_build() -> bool:
    """Whether the PyTorch that is installed can use no GPU, whatever the machine has."""
    try:
        return importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return True
