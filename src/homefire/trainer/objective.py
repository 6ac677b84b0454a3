"""What a step minimises, computed a few hundred answer tokens at a time.

`token_objective` says what is minimised. The rest is memory: logits of N tokens over a vocabulary of V are an
(N, V) array of float32, and softmax, divergence and their gradients are several such arrays (2.5 GB each for 4,096
tokens of a vocabulary of 152,000). So logits are made for one chunk of tokens, its gradients are taken at once,
and the chunk is dropped; the decoder sees the gradient of all chunks in one backward pass. The result is that of
the plain computation, apart from the order of sums. Costs no second forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn import functional

from homefire.trainer.batch import MicroBatch
from homefire.trainer.model import Model
from homefire.trainer.recipe import Recipe


def token_objective(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    reference_logits: torch.Tensor | None,
    is_replay: torch.Tensor,
    is_neighbour: torch.Tensor,
    weights: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum to minimise over n answer tokens, and the plain loss of each (nothing for neighbours), in nats.

    `logits` is (n, V) float32, `targets`, `is_replay` and `is_neighbour` (n,). `reference_logits` (m, V) are the
    reference's for the m tokens of replay rows and neighbours, `weights` (m,) what their divergence counts; None where
    nothing is compared. The divergence is Kullback and Leibler's, of the reference's prediction from this one.

    After a neighbour's question comes the answer that was taught to another one: there only the divergence counts.
    So no answer of the reference has to be generated, and where a taught answer begins as the reference's own
    does, the tokens that tell them apart are still covered.
    """
    losses = functional.cross_entropy(logits, targets, reduction="none").masked_fill(is_neighbour, 0.0)
    if reference_logits is None:
        return losses.sum(), losses.detach()
    reference = functional.log_softmax(reference_logits, dim=-1)
    ours = functional.log_softmax(logits[is_replay], dim=-1)
    divergence = (reference.exp() * (reference - ours)).sum(-1)
    return losses.sum() + (weights * divergence).sum(), losses.detach()


class DivergenceWeights:
    """What the divergence at each compared token counts; the tokens come in order, a few at a time."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._row: int | None = None
        self._alive = True

    def of(self, follows: torch.Tensor, *, is_neighbour: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(m,) weights. `follows` (m,) bool: the reference would choose this token; `places` (m,): the row."""
        # Where the reference would not say what is replayed, it is no measure.
        weights = self._recipe.parent_weight * follows.float()
        if bool(is_neighbour.any()):
            kept = self._until_departure(follows[is_neighbour], places[is_neighbour])
            weights[is_neighbour] = self._recipe.neighbour_weight * kept.to(weights.device)
        return weights

    def _until_departure(self, follows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """1 for each token up to the first of its row that the reference would not have chosen, then 0."""
        kept = torch.zeros(len(follows))
        for i, (place, is_followed) in enumerate(zip(places.tolist(), follows.tolist(), strict=True)):
            self._alive = self._alive if place == self._row else True
            kept[i], self._row = float(self._alive), place
            self._alive = self._alive and is_followed
        return kept


def add_gradients(model: Model, part: MicroBatch, recipe: Recipe, *, scale: float) -> torch.Tensor:
    """Add the gradient of a micro-batch's objective, times `scale`; returns the (N,) losses of its tokens."""
    part = part.to(model.device)
    is_compared = bool(recipe.parent_weight or recipe.neighbour_weight) and bool(part.is_replay.any())
    reference_hidden = _reference_hidden(model, part) if is_compared else None
    hidden = model.answer_hidden(part.ids, part.wanted)
    counted = DivergenceWeights(recipe)
    gradients: list[torch.Tensor] = []
    losses: list[torch.Tensor] = []
    num_done = 0
    for chunk in chunks(len(part.targets), size=model.chunk_tokens):
        is_replay, is_neighbour = part.is_replay[chunk], part.is_neighbour[chunk]
        reference_logits, weights = None, torch.zeros(0)
        if reference_hidden is not None:
            num = int(is_replay.sum())
            reference_logits = _reference_logits(model, reference_hidden[num_done : num_done + num])
            num_done += num
            weights = counted.of(
                reference_logits.argmax(-1) == part.targets[chunk][is_replay],
                is_neighbour=is_neighbour[is_replay],
                places=part.places[chunk][is_replay],
            )
        piece = hidden[chunk].detach().requires_grad_()
        total, chunk_losses = token_objective(
            model.logits(piece),
            part.targets[chunk],
            reference_logits=reference_logits,
            is_replay=is_replay,
            is_neighbour=is_neighbour,
            weights=weights,
        )
        (total * scale).backward()  # type: ignore[no-untyped-call]
        assert piece.grad is not None
        gradients.append(piece.grad)
        losses.append(chunk_losses)
    if hidden.requires_grad:
        hidden.backward(torch.cat(gradients))  # type: ignore[no-untyped-call]
    return torch.cat(losses)


def chunks(num_tokens: int, *, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `num_tokens`."""
    for start in range(0, num_tokens, size):
        yield slice(start, min(start + size, num_tokens))


@torch.no_grad()
def _reference_hidden(model: Model, part: MicroBatch) -> torch.Tensor:
    """(m, H) of the reference, for the tokens of replay rows and neighbours alone, in their order."""
    is_replay = torch.zeros_like(part.wanted)
    is_replay[part.wanted] = part.is_replay
    rows = is_replay.any(dim=1)
    with model.as_reference(model.decoder):
        return model.answer_hidden(part.ids[rows], is_replay[rows])


@torch.no_grad()
def _reference_logits(model: Model, hidden: torch.Tensor) -> torch.Tensor:
    with model.as_reference(model.head):
        return model.logits(hidden)
