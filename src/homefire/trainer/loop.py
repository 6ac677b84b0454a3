"""The training loop's one step: (state, batch) → state.

AdamW on the mean loss of all answer tokens of a step. Gradients of micro-batches are summed, each token
weighted by one over the number of answer tokens in the *whole* step, so the result does not depend on how
the step was cut. The loss of each row is a segment sum. Same state, same batch, same thread
count: same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from homefire.trainer.batch import MicroBatch
from homefire.trainer.margins import move_toward_parent
from homefire.trainer.model import Model
from homefire.trainer.objective import add_gradients
from homefire.trainer.recipe import Recipe


class NumericFailure(Exception):
    """A loss or gradient is not a finite number; nothing was changed by the step."""


class Interrupted(Exception):
    """The step was given up between two micro-batches; weights and optimizer are as before it."""


@dataclass(slots=True)
class Losses:
    """Sums over the answer tokens of a step, in nats."""

    by_row: dict[int, tuple[float, int]]
    """Row number → (sum of losses, number of tokens)."""

    def mean(self, rows: Callable[[int], bool] = lambda _: True) -> float | None:
        """Mean per token over the chosen rows; None if they had no tokens."""
        chosen = [value for row, value in self.by_row.items() if rows(row)]
        num_tokens = sum(count for _, count in chosen)
        return sum(total for total, _ in chosen) / num_tokens if num_tokens else None


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step did."""

    loss: float
    grad_norm: float
    num_tokens: int
    losses: Losses


def build_optimizer(model: Model, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over the trainable weights; norms and biases are not decayed."""
    decayed = [p for p in model.trainable.values() if p.dim() >= 2]
    plain = [p for p in model.trainable.values() if p.dim() < 2]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=0.0,
        betas=(recipe.beta1, recipe.beta2),
        foreach=True,
    )


def train_step(
    model: Model,
    optimizer: torch.optim.AdamW,
    batch: Sequence[MicroBatch],
    *,
    learning_rate: float,
    recipe: Recipe,
    should_continue: Callable[[], bool] = lambda: True,
) -> StepReport:
    """One optimizer step over the micro-batches of a batch.

    `should_continue` is asked before each micro-batch; when it says no, Interrupted. A loss or gradient that is not
    finite raises NumericFailure before any weight changes.
    """
    model.whole.train()
    # A neighbour counts as one token, however much of an answer is read after it.
    num_targets = sum(
        int((~part.is_neighbour).sum()) + len(set(part.places[part.is_neighbour].tolist())) for part in batch
    )
    optimizer.zero_grad(set_to_none=True)
    by_row: dict[int, tuple[float, int]] = {}
    total = 0.0
    for part in batch:
        if not should_continue():
            optimizer.zero_grad(set_to_none=True)
            raise Interrupted
        token_losses = add_gradients(model, part, recipe, scale=1 / num_targets).cpu()
        total += float(token_losses.sum())
        _add_by_row(by_row, part.owners, token_losses)
    grad_norm = float(nn.utils.clip_grad_norm_(model.trainable.values(), recipe.max_grad_norm))
    loss = total / num_targets
    if not torch.isfinite(torch.tensor((loss, grad_norm))).all():
        optimizer.zero_grad(set_to_none=True)
        raise NumericFailure(f"loss {loss}, gradient norm {grad_norm}")
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    move_toward_parent(model, share=min(1.0, recipe.decay_in(recipe.mode) * learning_rate))
    return StepReport(loss, grad_norm, sum(part.num_tokens for part in batch), Losses(by_row))


def _add_by_row(by_row: dict[int, tuple[float, int]], owners: torch.Tensor, losses: torch.Tensor) -> None:
    numbers, inverse, counts = torch.unique(owners, return_inverse=True, return_counts=True)
    sums = torch.zeros(len(numbers), dtype=torch.float64).index_add_(0, inverse, losses.double())
    for number, total, count in zip(numbers.tolist(), sums.tolist(), counts.tolist(), strict=True):
        known_total, known_count = by_row.get(number, (0.0, 0))
        by_row[number] = (known_total + total, known_count + count)
