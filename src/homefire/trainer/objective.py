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
    parent_logits: torch.Tensor | None,
    is_replay: torch.Tensor,
    recipe: Recipe,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum to minimise over n answer tokens, and the plain loss of each, in nats.

    `logits` is (n, V) float32, `targets` and `is_replay` (n,). `parent_logits` (m, V) are the parent's for the m
    tokens of replay rows; None where the parent is not compared with. The divergence is Kullback and Leibler's,
    of the parent's prediction from this one.
    """
    losses = functional.cross_entropy(logits, targets, reduction="none")
    if parent_logits is None:
        return losses.sum(), losses.detach()
    parent = functional.log_softmax(parent_logits, dim=-1)
    ours = functional.log_softmax(logits[is_replay], dim=-1)
    divergence = (parent.exp() * (parent - ours)).sum()
    return losses.sum() + recipe.parent_weight * divergence, losses.detach()


def add_gradients(model: Model, part: MicroBatch, recipe: Recipe, *, scale: float) -> torch.Tensor:
    """Add the gradient of a micro-batch's objective, times `scale`; returns the (N,) losses of its tokens."""
    part = part.to(model.device)
    is_compared = bool(recipe.parent_weight) and bool(part.is_replay.any())
    parent_hidden = _parent_hidden_of_replay(model, part) if is_compared else None
    hidden = model.answer_hidden(part.ids, part.wanted)
    gradients: list[torch.Tensor] = []
    losses: list[torch.Tensor] = []
    num_replay_done = 0
    for chunk in chunks(len(part.targets), size=model.chunk_tokens):
        is_replay = part.is_replay[chunk]
        parent_logits = None
        if parent_hidden is not None:
            num_replay = int(is_replay.sum())
            parent_logits = _parent_logits(
                model, parent_hidden[num_replay_done : num_replay_done + num_replay]
            )
            num_replay_done += num_replay
        piece = hidden[chunk].detach().requires_grad_()
        total, chunk_losses = token_objective(
            model.logits(piece),
            part.targets[chunk],
            parent_logits=parent_logits,
            is_replay=is_replay,
            recipe=recipe,
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
def _parent_hidden_of_replay(model: Model, part: MicroBatch) -> torch.Tensor:
    """(m, H) of the parent, for the tokens of replay rows alone, in their order."""
    is_replay = torch.zeros_like(part.wanted)
    is_replay[part.wanted] = part.is_replay
    rows = is_replay.any(dim=1)
    with model.as_parent(model.decoder):
        return model.answer_hidden(part.ids[rows], is_replay[rows])


@torch.no_grad()
def _parent_logits(model: Model, hidden: torch.Tensor) -> torch.Tensor:
    with model.as_parent(model.head):
        return model.logits(hidden)
