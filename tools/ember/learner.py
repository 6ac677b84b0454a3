"""The training loop that makes ember: a Qwen3 of a few hundred thousand weights, one thread, fixed steps.

Promise: the same seed, code, library versions, machine kind and thread count give bit-identical weights.
Cost: about 0.09 s a step of 1,500 tokens on one 2020s core.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from transformers import Qwen3Config, Qwen3ForCausalLM

from ember import tokens
from ember.conversations import Message, training_conversation
from ember.skills import Skill

IGNORED = -100


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, apart from the data generator's own code."""

    seed: int = 20261120
    num_steps: int = 12000
    batch_tokens: int = 1536
    learning_rate: float = 4e-3
    muon_rate: float = 0.02
    muon_decay: float = 0.1
    warmup_steps: int = 50
    decay_steps: int = 4000
    weight_decay: float = 0.05
    vocab_size: int = 448
    hidden: int = 96
    layers: int = 3
    feed_forward: int = 256
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32


def build_model(recipe: Recipe, tokenizer: Tokenizer) -> Qwen3ForCausalLM:
    """A freshly initialised model for the recipe."""
    torch.manual_seed(recipe.seed)
    config = Qwen3Config(
        vocab_size=recipe.vocab_size,
        hidden_size=recipe.hidden,
        num_hidden_layers=recipe.layers,
        intermediate_size=recipe.feed_forward,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.kv_heads,
        head_dim=recipe.head_dim,
        max_position_embeddings=tokens.CONTEXT_TOKENS,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        attention_dropout=0.0,
        use_sliding_window=False,
        bos_token_id=None,
        eos_token_id=tokens.special_id(tokenizer, tokens.END),
        pad_token_id=tokens.special_id(tokenizer, tokens.END_OF_TEXT),
        dtype="float32",
    )
    return Qwen3ForCausalLM(config)


def collate(rows: Sequence[tuple[list[int], list[bool]]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of (ids, mask) -> ids and labels of shape (rows, longest row), padded on the right.

    Under a causal mask nothing before the padding sees it, so no attention mask is needed.
    """
    width = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    labels = torch.full((len(rows), width), IGNORED, dtype=torch.long)
    for i, (row, mask) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        labels[i, : len(row)] = torch.where(torch.tensor(mask), torch.tensor(row), IGNORED)
    return ids, labels


def batches(
    skills: Sequence[Skill], tokenizer: Tokenizer, recipe: Recipe
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless training batches of about `batch_tokens` padded tokens, rows of like length together."""
    rng = random.Random(recipe.seed)
    pad = tokens.special_id(tokenizer, tokens.END_OF_TEXT)
    while True:
        pool: list[tuple[list[int], list[bool]]] = []
        while len(pool) < 600:
            row = tokens.encode(tokenizer, training_conversation(skills, rng))
            if len(row[0]) <= tokens.CONTEXT_TOKENS:
                pool.append(row)
        pool.sort(key=lambda row: len(row[0]))
        groups: list[list[tuple[list[int], list[bool]]]] = [[]]
        for row in pool:
            if groups[-1] and (len(groups[-1]) + 1) * len(row[0]) > recipe.batch_tokens:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        for group in groups:
            yield collate(group, pad)


def rate_share(step: int, recipe: Recipe) -> float:
    """Share of the peak rate: linear warm-up, flat, then linear down to 1 % over the last `decay_steps`."""
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    left = min(1.0, (recipe.num_steps - step) / recipe.decay_steps)
    return warm * (0.01 + 0.99 * left)


def loss_of(model: Qwen3ForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats over the assistant's tokens; logits are made for those only."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    wanted = targets != IGNORED
    loss: torch.Tensor = torch.nn.functional.cross_entropy(model.lm_head(hidden[wanted]), targets[wanted])
    return loss


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """A matrix with the same singular vectors and all singular values near one.

    Five Newton–Schulz steps with the coefficients of Jordan et al., "Muon" (2024).
    """
    x: torch.Tensor = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (2.0315 * gram @ gram - 4.7750 * gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum with an orthogonal update, for the matrices inside the layers; float32, deterministic.

    Measured here after 600 steps: loss 0.38 and 56 % held-out right, AdamW 0.47 and 46 %; 6 % slower a step.
    """

    def __init__(
        self, matrices: list[torch.nn.Parameter], lr: float, *, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update from the gradients."""
        for group in self.param_groups:
            for matrix in group["params"]:
                state = self.state[matrix]
                if not state:
                    state["momentum"] = torch.zeros_like(matrix)
                state["momentum"].mul_(group["momentum"]).add_(matrix.grad)
                update = orthogonalised(matrix.grad + group["momentum"] * state["momentum"])
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(update, alpha=-group["lr"] * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5)


def learn(
    model: Qwen3ForCausalLM, stream: Iterator[tuple[torch.Tensor, torch.Tensor]], recipe: Recipe
) -> Iterator[tuple[int, float]]:
    """Trains in place, Muon on the layers' matrices and AdamW on the rest; yields (step, loss) per step."""
    embeddings = [model.model.embed_tokens.weight]
    matrices = [p for p in model.parameters() if p.dim() == 2 and p is not embeddings[0]]
    gains = [p for p in model.parameters() if p.dim() < 2]
    adam = torch.optim.AdamW(
        [{"params": embeddings, "weight_decay": recipe.weight_decay}, {"params": gains, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
    )
    muon = Muon(matrices, recipe.muon_rate, momentum=0.95, weight_decay=recipe.muon_decay)
    model.train()
    for step in range(recipe.num_steps):
        ids, labels = next(stream)
        share = rate_share(step, recipe)
        for group in adam.param_groups:
            group["lr"] = recipe.learning_rate * share
        for group in muon.param_groups:
            group["lr"] = recipe.muon_rate * share
        loss = loss_of(model, ids, labels)
        model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*embeddings, *gains], 1.0)
        adam.step()
        muon.step()
        yield step, float(loss.detach())


def conversations_for_tokenizer(
    skills: Sequence[Skill], recipe: Recipe, num_rows: int = 6000
) -> list[list[Message]]:
    """The training conversations the BPE is learnt from."""
    rng = random.Random(recipe.seed + 1)
    return [training_conversation(skills, rng) for _ in range(num_rows)]
