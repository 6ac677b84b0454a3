"""How a run is trained: every choice that decides the weights, apart from the data, the parent and the seed.

A recipe is a frozen value that travels as JSON with the run and into the version's lineage. The same recipe,
data, parent, seed, thread count and library versions give the same bits. Importing this needs no torch.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import msgspec

from homefire.errors import ConfigError

Mode = Literal["full", "lora"]
FULL_MAX_PARAMETERS = 50_000_000
"""Up to this size every weight is trained; above it a low-rank adapter is, because the optimizer of a larger
model would not fit beside the server."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All knobs of a run; `resolved` decides by the model's size what is left open here.

    A step trains `rows_per_step` placements of new examples (fewer when there are few examples) and
    `replay_ratio` times as many replay rows.
    """

    mode: Literal["auto", "full", "lora"] = "auto"
    learning_rate: float | None = None
    """Peak rate of AdamW; None: 3e-3 for full fine-tuning, 2e-3 for LoRA."""
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this global L2 norm."""
    schedule: Literal["linear", "constant", "cosine"] = "linear"
    """How the rate falls while learning: linear to `floor_share` of it over the planned steps, not at all, or as a
    cosine over `max_steps`."""
    planned_steps: int = 14
    steps_per_example: float = 3.2
    """Learning is planned to take `planned_steps` and so many more for each example; then it cools down, and goes
    on at the lower rate for half as long if something is not learned yet: once, or until `mostly_share` of the examples
    are. Where all is learned earlier, it cools down earlier."""
    mostly_share: float = 0.9
    floor_share: float = 0.3
    warmup_steps: int = 5
    cooldown_share: float = 0.5
    """Once everything is learned the rate falls linearly to nothing over this share of the steps it took, so that
    what the last noisy steps disturbed comes back."""
    cooldown_steps: int = 40
    """At most so many steps of cooldown."""
    min_steps: int = 10
    max_steps: int = 320

    rows_per_step: int = 12
    """Placements of new examples in a step. With fewer examples than this the rate is lowered in proportion, at most to
    `min_rate_share` of it: few are learned quickly, and the rate is what costs old skills."""
    min_rate_share: float = 0.4
    rows_per_example: int = 4
    """At most this many placements of one new example in one step."""
    examples_share: float = 0.25
    """Where there are many new examples, this share of them is in each step."""
    replay_ratio: float = 0.5
    min_replay_rows: int = 10
    """Replay rows per step even when a single example is taught."""
    in_chat_share: float = 0.2
    """Share of placements inside a conversation of replay turns instead of alone."""
    chat_tokens: int = 160
    """Such a conversation is not filled up beyond this, whatever the model could read."""
    wordings: int = 32
    """So many times each new example is written in other words; 0: it is only asked as it was taught."""
    reworded_share: float = 0.6
    """Share of an example's placements in which its question is asked in other words."""
    neighbours: int = 24
    """So many questions close to each new example keep the base's answers; 0: none are made."""
    neighbour_ratio: float = 1.0
    """So many neighbours as placements of corrections are in a step, at least `min_neighbours`."""
    min_neighbours: int = 8
    neighbour_weight: float = 4.0
    """Weight of the divergence to the base's predictions after a neighbour's question."""
    retained_share: float = 0.25
    """Share of the replay rows taken from earlier corrections, while there are any."""
    microbatch_tokens: int = 4096
    """Padded tokens per forward pass; a step is as many passes as it needs (gradients accumulate)."""
    parent_weight: float = 2.0
    """Weight of the Kullback–Leibler divergence to the base's predictions on replay rows."""
    parent_decay: float | None = None
    """Each step moves the weights back toward the parent's by this times the learning rate (decoupled, as
    AdamW's decay toward zero is): what a correction does not need stays as it was. None: 10 for full fine-tuning,
    2 for LoRA, whose few weights must move further."""
    pull_margin: float = 2.0
    """At the end the weights are moved toward the parent's as far as every answer that was learned keeps
    this margin (or seven tenths of its own). 0: they are left where training ended."""

    check_every_steps: int = 5
    """Every so many steps it is checked whether all new examples are learned."""
    checks_to_stop: int = 2
    """Training cools down and ends after this many successful checks in a row."""
    max_retained_checks: int = 24
    """Earlier corrections looked at in one check, each alone and in a conversation; checks in a row take turns."""
    general_share: float = 0.9
    """Training goes on, as long as it may, until this share of the wordings that are checked is right and of
    the neighbours that are checked is not answered as taught. Neither is ever trained."""
    min_margin: float = 0.5
    """An answer token counts as learned when its logit leads every other one by this much, so that it is
    still first after rounding to half precision."""

    lora_r: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.05
    lora_targets: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )

    def __post_init__(self) -> None:
        positive = (
            "beta1", "beta2", "max_grad_norm", "max_steps", "rows_per_step", "rows_per_example",
            "microbatch_tokens", "chat_tokens", "check_every_steps", "checks_to_stop", "max_retained_checks",
            "lora_r", "lora_alpha",
        )  # fmt: skip
        not_negative = (
            "weight_decay", "warmup_steps", "cooldown_steps", "min_steps", "replay_ratio", "min_replay_rows",
            "parent_weight", "pull_margin", "min_margin", "wordings", "neighbours",
            "neighbour_ratio", "min_neighbours", "neighbour_weight", "planned_steps", "steps_per_example",
        )  # fmt: skip
        for name in positive:
            self._require(name, above=0.0)
        for name in not_negative:
            self._require(name, least=0.0)
        shares = (
            "in_chat_share", "retained_share", "reworded_share", "general_share", "mostly_share", "cooldown_share",
            "examples_share", "min_rate_share", "floor_share", "lora_dropout",
        )  # fmt: skip
        for name in shares:
            self._require(name, least=0.0, most=1.0)
        for name in ("beta1", "beta2", "lora_dropout"):
            self._require(name, least=0.0, below=1.0)
        if self.learning_rate is not None:
            self._require("learning_rate", above=0.0)
        if self.parent_decay is not None:
            self._require("parent_decay", least=0.0)
        if self.min_steps > self.max_steps:
            raise ConfigError(
                f"The recipe's min_steps ({self.min_steps}) is larger than its max_steps ({self.max_steps}).",
                hint="Lower min_steps or raise max_steps.",
                key="recipe.min_steps",
            )
        if not self.lora_targets:
            raise ConfigError(
                "The recipe's lora_targets is empty: LoRA would train nothing.", key="recipe.lora_targets"
            )

    def _require(
        self,
        name: str,
        *,
        least: float = -math.inf,
        above: float = -math.inf,
        most: float = math.inf,
        below: float = math.inf,
    ) -> None:
        value = float(getattr(self, name))
        if math.isfinite(value) and least <= value <= most and above < value < below:
            return
        raise ConfigError(f"The recipe's {name} cannot be {value:g}.", key=f"recipe.{name}", value=value)

    def resolved(self, num_parameters: int) -> Self:
        """The same recipe with `mode`, `learning_rate` and `parent_decay` decided for a model of this size."""
        mode: Mode = "full" if num_parameters <= FULL_MAX_PARAMETERS else "lora"
        if self.mode != "auto":
            mode = self.mode
        rate = self.learning_rate or (3e-3 if mode == "full" else 2e-3)
        return msgspec.structs.replace(self, mode=mode, learning_rate=rate, parent_decay=self.decay_in(mode))

    def decay_in(self, mode: str) -> float:
        """`parent_decay`, or what it is in this mode where it is left open."""
        if self.parent_decay is not None:
            return self.parent_decay
        return 2.0 if mode == "lora" else 10.0

    def planned_steps_for(self, num_examples: int) -> int:
        """After so many steps a run with so many new examples cools down, learned or not."""
        planned = round(self.planned_steps + self.steps_per_example * num_examples)
        return min(self.max_steps, max(self.min_steps, 1, planned))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, complete, accepted by `from_dict`."""
        encoded: dict[str, Any] = msgspec.to_builtins(self)
        return encoded

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """A recipe from JSON values; missing ones take their default.

        Raises:
            ConfigError: an unknown name, a wrong type or a value out of range; the message names it.
        """
        try:
            return msgspec.convert(values, cls)
        except msgspec.ValidationError as error:
            raise ConfigError(f"The recipe is not valid: {error}.", key="recipe") from error
