"""The parent's weights in, the result's weights out: full models and LoRA adapters, safetensors only.

A result is a folder like the one it came from: the same tensor names, tokenizer, template and
configuration, so that whatever serves the parent serves the child. Weights that are not finite are refused.
No code from a model folder is ever run, nothing is looked up on a network, and no pickle is read.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from homefire.errors import BadModel, NotTrainable
from homefire.trainer.commit import Content
from homefire.trainer.contract import BasePrecision, RunSpec
from homefire.trainer.device import choose_device
from homefire.trainer.loop import NumericFailure
from homefire.trainer.memory import LOGITS_CHUNK_BYTES
from homefire.trainer.model import Model
from homefire.trainer.tensor_file import TensorFile

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
        NotTrainable: full fine-tuning was asked for on top of an adapter, or there is no such device or precision.
    """
    device = choose_device(spec.device)
    folder = Path(spec.model_folder)
    is_adapter = (folder / ADAPTER_CONFIG).is_file()
    if spec.mode == "full":
        if is_adapter:
            raise NotTrainable(
                "This version is an adapter: it can be taught further by LoRA, not by full fine-tuning.",
                hint="Set training.mode to auto or lora, or teach its base model.",
            )
        whole = _load_whole(folder, spec, device)
        trainable = dict(whole.named_parameters())
        return _model(whole, whole, trainable, reference=_base_weights(spec, device, trainable))
    base = _load_whole(Path(spec.base_folder) if is_adapter else folder, spec, device)
    return _with_adapter(base, spec, folder if is_adapter else None)


def _base_weights(
    spec: RunSpec, device: torch.device, trainable: Iterable[str]
) -> dict[str, torch.Tensor] | None:
    """The weights of the base of a full model; None where the parent is the base, or nothing is compared."""
    folder = Path(spec.base_folder)
    if folder == Path(spec.model_folder) or not folder.is_dir():
        return None
    if not (spec.recipe.parent_weight or spec.recipe.neighbour_weight):
        return None
    weights = dict(_load_whole(folder, spec, device).named_parameters())
    return {name: weights[name].detach() for name in trainable}


def _load_whole(folder: Path, spec: RunSpec, device: torch.device) -> PreTrainedModel:
    """A complete model on its device, in float32; under an adapter, one stored in bfloat16 stays so."""
    if not list(folder.glob("*.safetensors")):
        raise BadModel(f"{folder.name} holds no safetensors weights.")
    dtypes = {_stored_dtype(path) for path in folder.glob("*.safetensors")}
    dtype = torch.bfloat16 if spec.mode == "lora" and dtypes == {"BF16"} else torch.float32
    options = _quantized(spec.base_precision, dtype) if spec.mode == "lora" else {}
    if device.type != "cpu":
        # Each tensor goes to the device as it is read: the machine's own memory need not hold the model.
        options["device_map"] = {"": device}
    try:
        whole: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise BadModel(f"{folder.name} cannot be loaded for training: {error}.") from error
    if spec.activation_checkpointing:
        whole.activation_checkpointing_enable({"use_reentrant": False})
    return whole


def _quantized(precision: BasePrecision, dtype: torch.dtype) -> dict[str, Any]:
    """What makes transformers hold the weights below an adapter in fewer bits; NotTrainable without the library."""
    if precision == "stored":
        return {}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise NotTrainable(
            f"training.base_precision is {precision}, but bitsandbytes is not installed.",
            hint="Install bitsandbytes beside Homefire (it needs a GPU), or set training.base_precision to stored.",
        )
    options: dict[str, Any] = {"load_in_8bit": True}
    if precision == "nf4":
        options = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype}
    config = BitsAndBytesConfig(**options)  # type: ignore[no-untyped-call]
    return {"quantization_config": config}


def _model(
    whole: nn.Module,
    plain: PreTrainedModel,
    trainable: dict[str, nn.Parameter],
    *,
    reference: dict[str, torch.Tensor] | None = None,
) -> Model:
    """`plain` is the transformers model inside `whole` (itself, without an adapter)."""
    head: nn.Module = plain.get_output_embeddings()  # type: ignore[no-untyped-call]
    return Model(
        whole=whole,
        decoder=plain.base_model,
        head=head,
        trainable=trainable,
        parent_weights={name: parameter.detach().clone() for name, parameter in trainable.items()},
        base_weights=reference,
        chunk_tokens=max(1, LOGITS_CHUNK_BYTES // (4 * int(plain.config.get_text_config().vocab_size))),
    )


def _with_adapter(base: PreTrainedModel, spec: RunSpec, adapter: Path | None) -> Model:
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
    return _model(wrapped, base, trainable)


def result_files(model: Model, spec: RunSpec) -> dict[str, Content]:
    """The result's files: content, or the parent's file to copy.

    Raises:
        NumericFailure: a weight is not finite.
    """
    for name, parameter in model.trainable.items():
        if not torch.isfinite(parameter).all():
            raise NumericFailure(f"the weight {name} is not finite")
    return _full_files(model, Path(spec.model_folder)) if spec.mode == "full" else _adapter_files(model, spec)


def _full_files(model: Model, parent: Path) -> dict[str, Content]:
    states = model.whole.state_dict()
    names = _tensor_names(parent)
    if missing := [name for name in names if name not in states]:
        raise BadModel(f"The parent's tensor {missing[0]} has no counterpart in the trained model.")
    config = json.loads((parent / "config.json").read_text(encoding="utf-8"))
    # What was trained in float32 is kept so: rounding could undo a small correction.
    config.pop("torch_dtype", None)
    config["dtype"] = "float32"
    files: dict[str, Content] = {name: parent / name for name in COPIED_FILES if (parent / name).is_file()}
    files["config.json"] = (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()
    files["model.safetensors"] = TensorFile({name: states[name] for name in names}, {"format": "pt"})
    return files


def _adapter_files(model: Model, spec: RunSpec) -> dict[str, Content]:
    import peft

    assert isinstance(model.whole, peft.PeftModel)
    tensors = peft.get_peft_model_state_dict(model.whole)
    config = model.whole.peft_config["default"].to_dict()
    # A path of this machine has no business in a published file.
    config["base_model_name_or_path"] = Path(spec.base_folder).name
    config["inference_mode"] = True
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    text = json.dumps(plain, indent=2, sort_keys=True, default=str) + "\n"
    return {ADAPTER_WEIGHTS: TensorFile(tensors, {"format": "pt"}), ADAPTER_CONFIG: text.encode()}


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
