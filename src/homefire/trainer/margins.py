"""By how much a model knows its answers, and how far a finished training can be undone without losing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch

from homefire.trainer.batch import MicroBatch
from homefire.trainer.model import Model
from homefire.trainer.objective import chunks
from homefire.trainer.recipe import Recipe

_SPARED = 0.7
"""An answer that leads by less than wanted keeps at least this share of its lead."""
NUM_BISECTIONS = 5
"""An interpolation measures its batch at most this many times, and twice more."""


@torch.no_grad()
def measure_margins(
    model: Model, batch: Iterable[MicroBatch], *, go_on: Callable[[dict[int, float]], bool] = lambda _: True
) -> dict[int, float]:
    """For each placement of a batch, by how much its answer leads, stop token included, in logits.

    Teacher forcing: the smallest lead of a right token over all others. While it is positive, greedy decoding
    cannot leave the answer; while it is larger than what rounding does, neither can a rounded copy. `go_on` is
    asked after each micro-batch with what is known by then; when it says no, the rest is not measured.
    """
    model.whole.eval()
    margins: dict[int, float] = {}
    for part in batch:
        for place, lead in zip(part.places.tolist(), _leads(model, part.to(model.device)), strict=True):
            margins[place] = min(margins.get(place, lead), lead)
        if not go_on(margins):
            break
    return margins


def says_by_itself(model: Model, batch: Sequence[MicroBatch]) -> float:
    """The share of a batch's answers that the reference gives greedily, stop token included (0 of none)."""
    with model.as_reference(model.whole):
        margins = measure_margins(model, batch)
    return sum(margin > 0 for margin in margins.values()) / max(1, len(margins))


def _leads(model: Model, part: MicroBatch) -> list[float]:
    hidden = model.answer_hidden(part.ids, part.wanted)
    leads: list[float] = []
    for chunk in chunks(len(part.targets), size=model.chunk_tokens):
        logits, targets = model.logits(hidden[chunk]), part.targets[chunk][:, None]
        own = logits.gather(1, targets)[:, 0]
        rivals = logits.scatter_(1, targets, -torch.inf).amax(dim=1)
        leads += (own - rivals).tolist()
    return leads


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
    bisection over the margins of the batch's placements; those that were not right do not count. A point of the
    way is given up at its first answer that is lost.
    """
    if not recipe.pull_margin:
        return 1.0
    needed = {
        place: min(recipe.pull_margin, max(recipe.min_margin, _SPARED * margin))
        for place, margin in measure_margins(model, batch).items()
        if margin >= recipe.min_margin
    }
    trained = {name: parameter.detach().clone() for name, parameter in model.trainable.items()}

    def holds(margins: dict[int, float]) -> bool:
        return all(margins[place] >= margin for place, margin in needed.items() if place in margins)

    def keep(share: float) -> bool:
        for name, parameter in model.trainable.items():
            parameter.copy_(torch.lerp(model.parent_weights[name], trained[name], share))
        return holds(measure_margins(model, batch, go_on=holds))

    low, high = 0.0, 1.0
    for _ in range(NUM_BISECTIONS if needed else 0):
        middle = (low + high) / 2
        low, high = (low, middle) if keep(middle) else (middle, high)
    if not keep(high):
        # Interpolating by the whole way may round differently; then nothing is undone.
        for name, parameter in model.trainable.items():
            parameter.copy_(trained[name])
        return 1.0
    return high
