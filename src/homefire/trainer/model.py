"""A causal language model under training, and its parent and reference inside the same memory.

The parent is what the run starts from: what weights are pulled back to, and who is asked what was known before. The
reference is what the divergence is taken from: of a full model its base, so that what one generation let slip is not
what the next one keeps; of an adapter its parent. Both differ from the model in its trainable weights alone (all of
them, or an adapter), so they are the same modules with those tensors exchanged. That is exact for a full
model, for a first adapter (whose parent adds nothing) and for an adapter taught further (whose parent is the
earlier adapter, not the base), and costs one copy of what is trained instead of a second model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Model:
    """The parts of a causal language model that training needs."""

    whole: nn.Module
    decoder: nn.Module
    """(B, T) ids → hidden states (B, T, H)."""
    head: nn.Module
    """Hidden states (N, H) → logits (N, V)."""
    trainable: dict[str, nn.Parameter]
    """By name, in a fixed order."""
    parent_weights: dict[str, torch.Tensor]
    """The trainable weights as the parent has them; never written to."""
    chunk_tokens: int
    """Logits are made for at most so many tokens at once."""
    base_weights: dict[str, torch.Tensor] | None = None
    """The same as the base has them; None where the parent is the reference."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(iter(self.trainable.values())).device

    def answer_hidden(self, ids: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """(N, H) hidden states from which the wanted tokens are predicted; ids (B, T), wanted (B, T - 1) bool."""
        hidden: torch.Tensor = self.decoder(input_ids=ids, use_cache=False).last_hidden_state
        return hidden[:, :-1][wanted]

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(n, V) float32 of hidden states (n, H). Call it for at most `chunk_tokens` of them."""
        logits: torch.Tensor = self.head(hidden)
        return logits.float()

    @contextlib.contextmanager
    def as_parent(self, part: nn.Module) -> Iterator[None]:
        """Inside, `part` of this model computes what it does in the parent, without dropout.

        Take no gradient inside. The tensors are exchanged, not copied.
        """
        with self._with_weights(part, self.parent_weights):
            yield

    @contextlib.contextmanager
    def as_reference(self, part: nn.Module) -> Iterator[None]:
        """Inside, `part` of this model computes what it does in the reference, likewise."""
        weights = self.parent_weights if self.base_weights is None else self.base_weights
        with self._with_weights(part, weights):
            yield

    @contextlib.contextmanager
    def _with_weights(self, part: nn.Module, weights: dict[str, torch.Tensor]) -> Iterator[None]:
        inside = {id(parameter) for parameter in part.parameters()}
        names = [name for name, parameter in self.trainable.items() if id(parameter) in inside]
        was_training = part.training
        self._exchange(names, weights)
        part.eval()
        try:
            yield
        finally:
            part.train(was_training)
            self._exchange(names, weights)

    def _exchange(self, names: list[str], weights: dict[str, torch.Tensor]) -> None:
        for name in names:
            parameter = self.trainable[name]
            parameter.data, weights[name] = weights[name], parameter.data
