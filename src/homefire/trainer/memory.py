"""How much memory a run takes, computed from the model's shape before anything is loaded.

A pure function of a few numbers; no torch. What training holds at its peak:

    weights        the base, in the precision it is held in
    adapter        what is trained beside it (LoRA, float32)
    parent         a copy of what is trained, as the parent has it
    optimizer      AdamW's two moments of what is trained
    gradients      of what is trained
    activations    what the layers keep for the way back, per token of a micro-batch
    working        what comes and goes on top: one chunk of logits with the arrays made from it (`objective.py`), or
                   the gradients of one layer's inner values, whichever is more
    runtime        Python and the libraries

The bytes a layer keeps per token were counted by operation in models of the Qwen3 family (tokens × layers × a sum
over the widths inside a layer, whole numbers); `tests/trainer/test_memory.py` counts again and compares.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from homefire.trainer.contract import BasePrecision
from homefire.trainer.recipe import Mode, Recipe

LOGITS_CHUNK_BYTES = 64 << 20
"""Size of one float32 array of logits."""
RUNTIME_BYTES = 450 << 20
_LOGIT_ARRAYS = {4: 7.0, 2: 7.5}
"""So many arrays of the size of a chunk exist at once (logits, softmax, divergence, their gradients), by the bytes of a
weight: a head in half precision makes another."""
_BYTES_PER_WEIGHT = {"int8": 1.03, "nf4": 0.57}
"""Of the linear layers, with the scales that bitsandbytes keeps."""
_MIN_MICROBATCH_TOKENS = 512
_HEADROOM = 1.12
"""An estimate may be too low by this factor (counted at small shapes)."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The widths of a decoder of the Llama and Qwen kind."""

    hidden: int
    intermediate: int
    num_layers: int
    query_width: int
    """Heads times their size."""
    key_width: int
    num_heads: int
    num_key_heads: int
    vocabulary: int
    is_tied: bool
    """Whether embedding and head are one array."""
    stored_bytes: int = 2
    """Of one weight on the disk."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self | None:
        """The shape that a config.json states; None where it is of another kind."""
        try:
            num_heads = int(config["num_attention_heads"])
            num_key_heads = int(config.get("num_key_value_heads") or num_heads)
            head_size = int(config.get("head_dim") or config["hidden_size"] // num_heads)
            dtype = str(config.get("dtype") or config.get("torch_dtype") or "float32")
            return cls(
                hidden=int(config["hidden_size"]),
                intermediate=int(config["intermediate_size"]),
                num_layers=int(config["num_hidden_layers"]),
                query_width=num_heads * head_size,
                key_width=num_key_heads * head_size,
                num_heads=num_heads,
                num_key_heads=num_key_heads,
                vocabulary=int(config["vocab_size"]),
                is_tied=bool(config.get("tie_word_embeddings", False)),
                stored_bytes=2 if "16" in dtype else 4,
            )
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def linear_widths(self) -> tuple[tuple[int, int], ...]:
        """(in, out) of the seven linear maps of a layer: q, k, v, o, gate, up, down."""
        into_heads = (
            (self.hidden, self.query_width),
            (self.hidden, self.key_width),
            (self.hidden, self.key_width),
        )
        up = (self.hidden, self.intermediate)
        return (*into_heads, (self.query_width, self.hidden), up, up, (self.intermediate, self.hidden))

    @property
    def num_linear(self) -> int:
        """Weights in the linear maps of all layers."""
        return self.num_layers * sum(wide * high for wide, high in self.linear_widths)

    @property
    def num_other(self) -> int:
        """All other weights: embedding, head, norms."""
        embeddings = self.vocabulary * self.hidden * (1 if self.is_tied else 2)
        return embeddings + (2 * self.num_layers + 1) * self.hidden

    def num_adapter(self, rank: int) -> int:
        """Weights of an adapter of this rank on every linear map."""
        return self.num_layers * rank * sum(wide + high for wide, high in self.linear_widths)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is free to choose about a run's memory."""

    mode: Mode
    microbatch_tokens: int
    activation_checkpointing: bool = False
    base_precision: BasePrecision = "stored"
    lora_r: int = 16
    has_dropout: bool = True


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes of a run at its peak, by what they are for."""

    weights: int
    adapter: int
    parent: int
    optimizer: int
    gradients: int
    activations: int
    working: int
    runtime: int

    @property
    def total_bytes(self) -> int:
        """All of them."""
        held = self.weights + self.adapter + self.parent + self.optimizer + self.runtime
        return held + self.gradients + self.activations + self.working


def estimate(shape: ModelShape, plan: Plan) -> MemoryEstimate:
    """What a run of this plan takes at its peak."""
    is_full = plan.mode == "full"
    weight_bytes = 4 if is_full else shape.stored_bytes
    linear_bytes = _BYTES_PER_WEIGHT.get(plan.base_precision, weight_bytes) if not is_full else weight_bytes
    trained = 4 * (shape.num_linear + shape.num_other if is_full else shape.num_adapter(plan.lora_r))
    chunk_tokens = max(1, min(plan.microbatch_tokens, LOGITS_CHUNK_BYTES // (4 * shape.vocabulary)))
    logits = int(_LOGIT_ARRAYS[weight_bytes] * 4 * shape.vocabulary * chunk_tokens)
    logits += plan.microbatch_tokens * 16 * shape.hidden  # hidden states of the answers, and the parent's
    layer = _layer_bytes(shape, plan, weight_bytes)
    # On the way back, the gradients of the widest values of a layer exist beside what was kept.
    backward = 4 * (shape.intermediate * (1 if is_full else 3) + shape.hidden)
    if is_full:
        logits += (
            4 * shape.vocabulary * shape.hidden
        )  # the chunk's own gradient of the head, before it is added
    # The gradient of one map, before it is added to that of earlier micro-batches.
    added = 4 * max(wide * high for wide, high in shape.linear_widths) if is_full else 0
    kept = shape.num_layers * layer
    if plan.activation_checkpointing:
        # Every layer keeps its input alone; one at a time is computed again.
        kept = shape.num_layers * shape.hidden * weight_bytes
        backward += layer + 4 * shape.intermediate
    return MemoryEstimate(
        weights=int(shape.num_linear * linear_bytes) + shape.num_other * weight_bytes,
        adapter=0 if is_full else trained,
        parent=trained,
        optimizer=2 * trained,
        gradients=trained,
        activations=plan.microbatch_tokens * kept,
        working=max(logits, plan.microbatch_tokens * backward + added),
        runtime=RUNTIME_BYTES,
    )


def _layer_bytes(shape: ModelShape, plan: Plan, weight_bytes: int) -> int:
    """What one layer keeps of one token for the way back; each factor is the bytes for one unit of that width."""
    if plan.mode == "full":
        hidden, inner, query, key = 24, 16, 16, 16
    else:
        # Every map with an adapter keeps its own float32 copy of its input, and one more after dropout.
        half = weight_bytes == 2
        dropout = (20, 4, 4) if plan.has_dropout else (0, 0, 0)
        hidden, inner, query, key = 28 + dropout[0], 10 + dropout[1], 12 + dropout[2], 8
        if not half:
            inner, query, key = inner + 6, query + 4, key + 4
    rest = 8 * shape.num_heads + 4 * shape.num_key_heads + 8
    adapter = 0 if plan.mode == "full" else 4 * plan.lora_r * len(shape.linear_widths)
    widths = (
        hidden * shape.hidden + inner * shape.intermediate + query * shape.query_width + key * shape.key_width
    )
    return widths + rest + adapter


@dataclass(frozen=True, slots=True)
class Choice:
    """A plan that fits, and the sentence that says what was changed for it; or why there is none."""

    plan: Plan | None
    estimate: MemoryEstimate
    why: str = ""


def choose_plan(
    shape: ModelShape,
    recipe: Recipe,
    plan: Plan,
    *,
    available_bytes: int,
    may_adapt: bool,
    longest_row: int,
    may_checkpoint: bool = True,
) -> Choice:
    """The first plan that fits: as asked, with activations computed again, in smaller micro-batches, as an adapter.

    `may_adapt`: whether LoRA may take the place of full fine-tuning. No micro-batch is made smaller than the longest
    row, which is never cut.
    """
    candidates = _candidates(
        recipe, plan, may_adapt=may_adapt, longest_row=longest_row, may_checkpoint=may_checkpoint
    )
    found = [(each, why, estimate(shape, each)) for each, why in candidates]
    free, asked = _gb(available_bytes), _gb(found[0][2].total_bytes)
    for candidate, why, needed in found:
        if needed.total_bytes * _HEADROOM <= available_bytes:
            changed = f"As asked it would take {asked} of memory and {free} are free, so {why}."
            return Choice(candidate, needed, changed if why else "")
    least = min((needed for _, _, needed in found), key=lambda each: each.total_bytes)
    refused = (
        f"Teaching this model takes at least {_gb(least.total_bytes)} of memory here and {free} are free"
    )
    return Choice(None, least, refused)


def _candidates(
    recipe: Recipe, plan: Plan, *, may_adapt: bool, longest_row: int, may_checkpoint: bool
) -> list[tuple[Plan, str]]:
    small = max(_MIN_MICROBATCH_TOKENS, longest_row)
    bases = [(plan, "")]
    if may_adapt and plan.mode == "full":
        bases.append((replace(plan, mode="lora", lora_r=recipe.lora_r), "an adapter is trained (LoRA)"))
    found: list[tuple[Plan, str]] = []
    for base, first in bases:
        found.append((base, first))
        if not may_checkpoint:
            continue
        again = replace(base, activation_checkpointing=True)
        found.append((again, _joined(first, "activations are computed again")))
        if small < base.microbatch_tokens:
            smaller = replace(again, microbatch_tokens=small)
            found.append(
                (smaller, _joined(first, f"activations are computed again, {small} tokens at a time"))
            )
    return found


def _joined(first: str, second: str) -> str:
    return f"{first} and {second}" if first else second


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
