"""Trains models of real sizes for a few steps: do they fit, as computed, and does the trainer ever fall silent?

    python -m bench.gpu.training --shape 0.6B [--device cuda] [--steps 8] [--record]
    python -m bench.gpu.training --shape tiny --device cpu

A model of the Qwen3 family with random weights in bfloat16 (no published weights are needed, and random ones take as
much time and memory), taught three facts by the worker's own `Trainer` in this process: an adapter above 50 M
parameters, all weights below. The plan (activation checkpointing, tokens at a time) is the one the server would choose
for the memory that is free. Printed: seconds a step, the peak of memory over the estimate, a checkpoint's seconds and
bytes, and the longest time without a mark of progress, the last interpolation included. A resumed run must then end
with the same weights, bit for bit.

Cost: the model's size once on the disk (1.2 GB for 0.6B, 16 GB for 8B); on a CPU about a minute a step for 0.6B.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import resource
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import torch
import transformers
from tests.support.trainer import EMBER, make_run

from bench.results import record
from homefire.machine.memory import available_bytes, gpu_available_bytes
from homefire.trainer.contract import Checkpointed, Device, RunSpec, Stepped, WorkerEvent
from homefire.trainer.control import Control
from homefire.trainer.memory import MemoryEstimate, Plan, choose_plan
from homefire.trainer.recipe import Recipe
from homefire.trainer.trainer import LeaveRequested, Trainer
from homefire.training.memory_plan import read_shape
from homefire.world import World

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 2048, "tie_word_embeddings": True},
    "0.6B": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16,
             "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936, "tie_word_embeddings": True},
    "1.7B": {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16,
             "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936, "tie_word_embeddings": True},
    "4B": {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32,
           "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936, "tie_word_embeddings": True},
    "8B": {"hidden_size": 4096, "intermediate_size": 12_288, "num_hidden_layers": 36, "num_attention_heads": 32,
           "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936, "tie_word_embeddings": False},
}  # fmt: skip
"""As in the configurations that are published with Qwen3, except `tiny`."""


@dataclass
class Seen:
    """What a run told: its steps, its checkpoints, and the longest time between two marks of progress."""

    steps: list[Stepped] = field(default_factory=list)
    saves: list[Checkpointed] = field(default_factory=list)
    silent_s: float = 0.0
    silent_in: str = ""


class Watched(Control):
    """A control that measures. `leave_after`: it wants a pause once so many steps were taken."""

    def __init__(self, *, leave_after: int | None = None) -> None:
        super().__init__(0, cast(BinaryIO, None))
        self.seen, self._leave_after = Seen(), leave_after
        self._marked_s, self._doing = time.monotonic(), "starting"

    def beat(self, phase: str) -> None:
        """A mark of progress; what passed since the last one belongs to the phase before."""
        now_s = time.monotonic()
        if now_s - self._marked_s > self.seen.silent_s:
            self.seen.silent_s, self.seen.silent_in = now_s - self._marked_s, self._doing
        self._marked_s, self._doing = now_s, phase

    def emit(self, event: WorkerEvent) -> None:
        """Kept instead of sent."""
        self.beat(self._doing)
        if isinstance(event, Stepped):
            self.seen.steps.append(event)
            if self._leave_after is not None and event.step >= self._leave_after:
                self._take("pause")
        elif isinstance(event, Checkpointed):
            self.seen.saves.append(event)


def make_model(folder: Path, shape: str) -> Path:
    """A folder with random bfloat16 weights of this shape and ember's tokenizer."""
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        if (EMBER / name).exists():
            shutil.copyfile(EMBER / name, folder / name)
    theirs = transformers.AutoConfig.from_pretrained(EMBER)
    config = transformers.Qwen3Config(
        **SHAPES[shape], bos_token_id=theirs.bos_token_id, eos_token_id=theirs.eos_token_id,
        max_position_embeddings=4096,
    )  # fmt: skip
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        torch.manual_seed(0)
        transformers.Qwen3ForCausalLM(config).save_pretrained(folder, max_shard_size="2GB")
    finally:
        torch.set_default_dtype(before)
    return folder


def plan_run(run_dir: Path, folder: Path, *, device: Device, steps: int) -> tuple[RunSpec, MemoryEstimate]:
    """A run of so many steps, with the plan that fits into the memory of the device."""
    shape = read_shape(folder)
    assert shape is not None
    recipe = Recipe(min_steps=steps, max_steps=steps, cooldown_steps=1).resolved(
        shape.num_linear + shape.num_other
    )
    free = (gpu_available_bytes() if device == "cuda" else None) or available_bytes()
    asked = Plan("lora" if recipe.mode == "lora" else "full", recipe.microbatch_tokens, lora_r=recipe.lora_r)
    choice = choose_plan(shape, recipe, asked, available_bytes=free, may_adapt=True, longest_row=512)
    if choice.plan is None:
        raise SystemExit(choice.why)
    print(choice.why or "fits as asked", flush=True)
    recipe = msgspec.structs.replace(
        recipe, mode=choice.plan.mode, microbatch_tokens=choice.plan.microbatch_tokens
    )
    spec = make_run(
        run_dir, recipe=recipe, model_folder=folder, checkpoint_every_steps=max(1, steps // 2), is_augmented=True,
        activation_checkpointing=choice.plan.activation_checkpointing,
    )  # fmt: skip
    return msgspec.structs.replace(spec, base_folder=str(folder), device=device), choice.estimate


def train(spec: RunSpec, run_dir: Path, control: Watched) -> str:
    """Train to the end, or until the control wants a pause; the SHA-256 of the result, empty without one."""
    trainer = Trainer(spec, run_dir, control=control, world=World(), started_s=time.monotonic())
    try:
        done = trainer.work()
    except LeaveRequested:
        return ""
    control.beat("done")
    return hashlib.sha256(repr(sorted(done.files.items())).encode()).hexdigest()


def peak_bytes(device: Device) -> int:
    """The most memory that was held at once: on the GPU what torch allocated, else this process's resident set."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(shape: str, *, device: Device, steps: int, root: Path) -> dict[str, float]:
    """Train once to the end, once with a pause in the middle; the figures."""
    maker = multiprocessing.get_context("spawn").Process(target=make_model, args=(root / "model", shape))
    maker.start()  # apart, so that what it holds is not counted
    maker.join()
    spec, needed = plan_run(root / "whole", root / "model", device=device, steps=steps)
    control = Watched()
    result = train(spec, root / "whole", control)
    peak, seen = peak_bytes(device), control.seen
    spec, _ = plan_run(root / "paused", root / "model", device=device, steps=steps)
    assert train(spec, root / "paused", Watched(leave_after=steps // 2)) == ""
    is_same = train(spec, root / "paused", Watched()) == result
    step_s = sorted(event.num_tokens / event.tokens_per_s for event in seen.steps)
    print(
        f"mode {spec.mode}, {spec.recipe.microbatch_tokens} tokens at a time, longest silence in: {seen.silent_in}"
    )
    return {
        "seconds a step (median)": step_s[len(step_s) // 2],
        "peak of memory, GB": peak / 1e9,
        "peak of memory over the estimate": peak / needed.total_bytes,
        "a checkpoint, GB": seen.saves[-1].size_bytes / 1e9,
        "a checkpoint, seconds": max(save.save_s for save in seen.saves),
        "longest time without a mark of progress, seconds": seen.silent_s,
        "a run that was paused ends with the same weights": float(is_same),
    }


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="0.6B")
    parser.add_argument("--device", choices=("auto", "cuda", "mps", "cpu"), default="auto")
    parser.add_argument("--steps", type=int, default=8, help="at least 2")
    parser.add_argument("--record", action="store_true", help="write rows into bench/results/learning.json")
    options = parser.parse_args()
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options.shape, device=device, steps=max(2, options.steps), root=Path(folder))
    command = (
        f"python -m bench.gpu.training --shape {options.shape} --device {device} --steps {options.steps}"
    )
    for what, value in figures.items():
        print(f"{what:52} {value:10.3f}")
    if options.record:
        record(
            f"teaching a {options.shape} shape on {device}: peak of memory over the estimate",
            figures["peak of memory over the estimate"],
            "share",
            reach="<= 1.12",
            better="lower",
            command=command,
            area="learning",
        )
        record(
            f"teaching a {options.shape} shape on {device}: longest time without a mark of progress",
            figures["longest time without a mark of progress, seconds"],
            "s",
            reach="no hang is taken for one: no limit of its own",
            better="lower",
            command=command,
            area="learning",
        )


if __name__ == "__main__":
    main()
