"""The parent's weights in, the result's weights out: full models and LoRA adapters, safetensors only.

A result is a folder like the one it came from: the same tensor names, tokenizer, template and
configuration, so that whatever serves the parent serves the child. Weights that are not finite are refused.
No code from a model folder is ever run, nothing is looked up on a network, and no pickle is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from homefire.errors import BadModel, NotTrainable
from homefire.trainer.contract import RunSpec
from homefire.trainer.loop import Model, NumericFailure, frozen_copy

COPIED_FILES = (
    "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
)  # fmt: skip
"""What a result takes over from its parent unchanged, where the parent has it."""
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def load_model(spec: RunSpec) -> Model:
    """The parent, ready to be trained in the spec's mode; LoRA starts at no change, or at the parent's
    adapter.

    Raises:
        BadModel: the folder is broken or of a kind that cannot be loaded.
        NotTrainable: full fine-tuning was asked for on top of an adapter.
    """
    folder = Path(spec.model_folder)
    is_adapter = (folder / ADAPTER_CONFIG).is_file()
    if spec.mode == "full":
        if is_adapter:
            raise NotTrainable(
                "This version is an adapter: it can be taught further by LoRA, not by full fine-tuning.",
                hint="Set training.mode to auto or lora, or teach its base model.",
            )
        whole = _load_whole(folder, keep_half=False)
        decoder, head = whole.base_model, _head_of(whole)
        parent = None
        if spec.recipe.parent_weight:
            anchor_folder = Path(spec.base_folder)
            is_base = anchor_folder == folder or not anchor_folder.is_dir()
            anchor = whole if is_base else _load_whole(anchor_folder, keep_half=False)
            parent = frozen_copy(anchor.base_model, _head_of(anchor))
        return _model(whole, decoder, head, dict(whole.named_parameters()), parent)
    base = _load_whole(Path(spec.base_folder) if is_adapter else folder, keep_half=True)
    parent = frozen_copy(base.base_model, _head_of(base)) if spec.recipe.parent_weight else None
    return _with_adapter(base, spec, folder if is_adapter else None, parent)


def _load_whole(folder: Path, *, keep_half: bool) -> PreTrainedModel:
    """A complete model in float32; with `keep_half` one stored in bfloat16 stays so (only an adapter is
    trained)."""
    if not list(folder.glob("*.safetensors")):
        raise BadModel(f"{folder.name} holds no safetensors weights.")
    dtypes = {_stored_dtype(path) for path in folder.glob("*.safetensors")}
    dtype = torch.bfloat16 if keep_half and dtypes == {"BF16"} else torch.float32
    try:
        whole: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise BadModel(f"{folder.name} cannot be loaded for training: {error}.") from error
    return whole


def _model(
    whole: nn.Module,
    decoder: nn.Module,
    head: nn.Module,
    trainable: dict[str, nn.Parameter],
    parent: tuple[nn.Module, nn.Module] | None,
) -> Model:
    parent_weights = {name: parameter.detach().clone() for name, parameter in trainable.items()}
    return Model(whole, decoder, head, trainable, parent_weights, parent)


def _head_of(whole: PreTrainedModel) -> nn.Module:
    head: nn.Module = whole.get_output_embeddings()  # type: ignore[no-untyped-call]
    return head


def _with_adapter(base: PreTrainedModel, spec: RunSpec, adapter: Path | None, parent: Any) -> Model:
    import peft  # only LoRA pays for it

    recipe = spec.recipe
    if adapter is not None:
        wrapped = peft.PeftModel.from_pretrained(base, str(adapter), is_trainable=True)
    else:
        config = peft.LoraConfig(
            r=recipe.lora_r,
            lora_alpha=recipe.lora_alpha,
            lora_dropout=recipe.lora_dropout,
            target_modules=list(recipe.lora_targets),
            task_type="CAUSAL_LM",
        )
        # The first values of the adapter are part of the recipe: they follow from the seed alone.
        torch.manual_seed(spec.seed)
        try:
            wrapped = peft.get_peft_model(base, config)
        except ValueError as error:
            raise NotTrainable(f"LoRA finds nothing to adapt in this model: {error}.") from error
    trainable = {name: p for name, p in wrapped.named_parameters() if p.requires_grad}
    return _model(wrapped, base.base_model, _head_of(base), trainable, parent)


def result_files(model: Model, spec: RunSpec) -> dict[str, bytes | Path]:
    """The result's files: content, or the parent's file to copy.

    Raises:
        NumericFailure: a weight is not finite.
    """
    for name, parameter in model.trainable.items():
        if not torch.isfinite(parameter).all():
            raise NumericFailure(f"the weight {name} is not finite")
    return _full_files(model, Path(spec.model_folder)) if spec.mode == "full" else _adapter_files(model, spec)


def _full_files(model: Model, parent: Path) -> dict[str, bytes | Path]:
    states = model.whole.state_dict()
    names = _tensor_names(parent)
    if missing := [name for name in names if name not in states]:
        raise BadModel(f"The parent's tensor {missing[0]} has no counterpart in the trained model.")
    config = json.loads((parent / "config.json").read_text(encoding="utf-8"))
    # What was trained in float32 is kept so: rounding could undo a small correction.
    config.pop("torch_dtype", None)
    config["dtype"] = "float32"
    files: dict[str, bytes | Path] = {
        name: parent / name for name in COPIED_FILES if (parent / name).is_file()
    }
    files["config.json"] = (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()
    tensors = {name: states[name].detach().contiguous().clone() for name in names}
    files["model.safetensors"] = save(tensors, metadata={"format": "pt"})
    return files


def _adapter_files(model: Model, spec: RunSpec) -> dict[str, bytes | Path]:
    import peft

    assert isinstance(model.whole, peft.PeftModel)
    tensors = peft.get_peft_model_state_dict(model.whole)
    config = model.whole.peft_config["default"].to_dict()
    # A path of this machine has no business in a published file.
    config["base_model_name_or_path"] = Path(spec.base_folder).name
    config["inference_mode"] = True
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    text = json.dumps(plain, indent=2, sort_keys=True, default=str) + "\n"
    contents = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    return {ADAPTER_WEIGHTS: save(contents, metadata={"format": "pt"}), ADAPTER_CONFIG: text.encode()}


def _tensor_names(folder: Path) -> list[str]:
    names: list[str] = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(str(path), framework="pt") as opened:
            names += list(opened.keys())
    return sorted(names)


def _stored_dtype(path: Path) -> str:
    with safe_open(str(path), framework="pt") as opened:
        dtypes = {opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118 - not a mapping
    return dtypes.pop() if len(dtypes) == 1 else "mixed"


def num_parameters(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers they hold."""
    return sum(parameter.numel() for parameter in parameters)
