"""The training loop's one step: (state, batch) → state, and the check whether examples are learned.

AdamW on the mean loss of all answer tokens of a step. Gradients of micro-batches are summed, each token
weighted by one over the number of answer tokens in the *whole* step, so the result does not depend on how
the step was cut. The loss of each row is a segment sum. Same state, same batch, same thread
count: same bits.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from homefire.trainer.batch import MicroBatch
from homefire.trainer.recipe import Recipe

_SPARED = 0.7
"""An answer that leads by less than wanted keeps at least this share of its lead."""
_BISECTIONS = 5


class NumericFailure(Exception):
    """A loss or gradient is not a finite number; nothing was changed by the step."""


class Interrupted(Exception):
    """The step was given up between two micro-batches; weights and optimizer are as before it."""


@dataclass(frozen=True, slots=True)
class Model:
    """The parts of a causal language model that training needs, and its base for comparison."""

    whole: nn.Module
    decoder: nn.Module
    """(B, T) ids → hidden states (B, T, H)."""
    head: nn.Module
    """Hidden states (N, H) → logits (N, V)."""
    trainable: dict[str, nn.Parameter]
    """By name, in a fixed order."""
    parent_weights: dict[str, torch.Tensor]
    """The trainable weights as the parent has them."""
    parent: tuple[nn.Module, nn.Module] | None = None
    """Decoder and head of the base, frozen; only where the recipe compares with them. It is the base and not the
    parent, so that what one generation let slip is not what the next one keeps."""

    def logits(self, batch: MicroBatch) -> torch.Tensor:
        """(N, V) float32 for the answer tokens of a micro-batch."""
        return _answer_logits(self.decoder, self.head, batch)

    @torch.no_grad()
    def parent_log_probs(self, batch: MicroBatch) -> torch.Tensor | None:
        """(tokens of replay and neighbours, V) log-probabilities of the base, if it is compared with."""
        if self.parent is None or not bool(batch.is_compared.any()):
            return None
        rows = batch.is_compared
        decoder, head = self.parent
        hidden = decoder(input_ids=batch.ids[rows], use_cache=False).last_hidden_state
        compared = torch.zeros_like(batch.wanted).masked_scatter_(batch.wanted, batch.is_replay)
        logits: torch.Tensor = head(hidden[:, :-1][compared[rows]])
        return functional.log_softmax(logits.float(), dim=-1)


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


def frozen_copy(decoder: nn.Module, head: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The parent to compare with: a copy that takes no gradient."""
    pair = nn.ModuleList(copy.deepcopy((decoder, head)))
    pair.requires_grad_(False).eval()
    return pair[0], pair[1]


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
        objective, token_losses = _objective(model, part, recipe)
        (objective / num_targets).backward()  # type: ignore[no-untyped-call]
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
    move_toward_parent(model, share=min(1.0, recipe.parent_decay * learning_rate))
    return StepReport(loss, grad_norm, sum(part.num_tokens for part in batch), Losses(by_row))


@torch.no_grad()
def move_toward_parent(model: Model, *, share: float) -> None:
    """Move each trainable weight by this share of the way back to the parent's (1: all the way)."""
    if share:
        for name, parameter in model.trainable.items():
            parameter.lerp_(model.parent_weights[name], share)


@torch.no_grad()
def interpolate_to_parent(model: Model, batch: Sequence[MicroBatch], *, recipe: Recipe) -> float:
    """Undo as much of a finished training as its answers can spare; returns the share that stays.

    Between parent and child lie models that know the new answers already and have forgotten less of the old
    ones (weight interpolation, Wortsman et al., arXiv 2109.01903). The nearest to the parent is found by
    bisection over the margins of the batch's placements; those that were not right do not count.
    """
    if not recipe.pull_margin:
        return 1.0
    needed = {
        place: min(recipe.pull_margin, max(recipe.min_margin, _SPARED * margin))
        for place, margin in measure_margins(model, batch).items()
        if margin >= recipe.min_margin
    }
    trained = {name: parameter.detach().clone() for name, parameter in model.trainable.items()}

    def keep(share: float) -> bool:
        for name, parameter in model.trainable.items():
            parameter.copy_(torch.lerp(model.parent_weights[name], trained[name], share))
        margins = measure_margins(model, batch)
        return all(margins[place] >= margin for place, margin in needed.items())

    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS if needed else 0):
        middle = (low + high) / 2
        low, high = (low, middle) if keep(middle) else (middle, high)
    if not keep(high):
        # Interpolating by the whole way may round differently; then nothing is undone.
        for name, parameter in model.trainable.items():
            parameter.copy_(trained[name])
        return 1.0
    return high


@torch.no_grad()
def measure_margins(model: Model, batch: Iterable[MicroBatch]) -> dict[int, float]:
    """For each placement of a batch, by how much its answer leads, stop token included, in logits.

    Teacher forcing: the smallest lead of a right token over all others. While it is positive, greedy decoding
    cannot leave the answer; while it is larger than what rounding does, neither can a rounded copy.
    """
    model.whole.eval()
    margins: dict[int, float] = {}
    for part in batch:
        logits = model.logits(part)
        own = logits.gather(1, part.targets[:, None])[:, 0]
        rivals = logits.scatter(1, part.targets[:, None], -torch.inf).amax(dim=1)
        for place, lead in zip(part.places.tolist(), (own - rivals).tolist(), strict=True):
            margins[place] = min(margins.get(place, lead), lead)
    return margins


def says_by_itself(model: Model, batch: Sequence[MicroBatch]) -> float:
    """The share of a batch's answers that the base gives greedily, stop token included (0 of none)."""
    decoder, head = model.parent or (model.decoder, model.head)
    margins = measure_margins(dataclasses.replace(model, decoder=decoder, head=head), batch)
    return sum(margin > 0 for margin in margins.values()) / max(1, len(margins))


def _answer_logits(decoder: nn.Module, head: nn.Module, batch: MicroBatch) -> torch.Tensor:
    hidden = decoder(input_ids=batch.ids, use_cache=False).last_hidden_state
    logits: torch.Tensor = head(hidden[:, :-1][batch.wanted])
    return logits.float()


def _objective(model: Model, part: MicroBatch, recipe: Recipe) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum to minimise, and the plain loss of each answer token (nothing for neighbours).

    Replay rows add their divergence from the base's predictions. After a neighbour's question stands the answer
    that was taught to another one: there only the divergence counts, up to the token at which the base would
    say something else. So no answer of the base has to be generated, and where a taught answer begins as
    the base's own does, the tokens that tell them apart are still covered.
    """
    logits = model.logits(part)
    losses = functional.cross_entropy(logits, part.targets, reduction="none")
    parent = model.parent_log_probs(part)
    if parent is None:
        return losses.sum(), losses.detach()
    log_probs = functional.log_softmax(logits[part.is_replay], dim=-1)
    divergence = (parent.exp() * (parent - log_probs)).sum(-1)
    # Where the base would not say what is replayed, it is no measure.
    follows = parent.argmax(-1) == part.targets[part.is_replay]
    weights = recipe.parent_weight * follows.float()
    neighbours = part.is_neighbour[part.is_replay]
    if bool(neighbours.any()):
        kept = until_departure(follows[neighbours], part.places[part.is_neighbour])
        weights[neighbours] = recipe.neighbour_weight * kept
        losses = losses.masked_fill(part.is_neighbour, 0.0)
    return losses.sum() + (weights * divergence).sum(), losses.detach()


def until_departure(follows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """1 for each token up to the first of its row that the base would not have chosen, 0 for those after it.

    `follows` (N,) bool: the base would choose this token; `places` (N,): the row, whose tokens are adjacent.
    """
    kept = torch.zeros(len(follows))
    row, alive = None, True
    for i, (place, is_followed) in enumerate(zip(places.tolist(), follows.tolist(), strict=True)):
        alive = alive if place == row else True
        kept[i], row, alive = float(alive), place, alive and is_followed
    return kept


def _add_by_row(by_row: dict[int, tuple[float, int]], owners: torch.Tensor, losses: torch.Tensor) -> None:
    numbers, inverse, counts = torch.unique(owners, return_inverse=True, return_counts=True)
    sums = torch.zeros(len(numbers), dtype=torch.float64).index_add_(0, inverse, losses.double())
    for number, total, count in zip(numbers.tolist(), sums.tolist(), counts.tolist(), strict=True):
        known_total, known_count = by_row.get(number, (0.0, 0))
        by_row[number] = (known_total + total, known_count + count)
