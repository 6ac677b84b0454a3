"""Asks the model held-out questions and counts exact greedy answers.

Promise: an answer counts only when every character up to the stop token is right. Cost: about a second for
a hundred short prompts on one thread (prompts of one length are answered together, without padding).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from transformers import DynamicCache, Qwen3ForCausalLM

from ember import tokens
from ember.conversations import Message


@torch.no_grad()
def answer_all(
    model: Qwen3ForCausalLM,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[Message]],
    max_new_tokens: int = 64,
) -> list[str]:
    """Greedy answers to conversations that end in a user message, in their order."""
    model.train(False)
    end = tokens.special_id(tokenizer, tokens.END)
    by_length: dict[int, list[int]] = defaultdict(list)
    encoded = [tokens.prompt_ids(tokenizer, prompt) for prompt in prompts]
    for i, ids in enumerate(encoded):
        by_length[len(ids)].append(i)
    answers = [""] * len(prompts)
    for _, members in sorted(by_length.items()):
        cache = DynamicCache(config=model.config)
        step_ids = torch.tensor([encoded[i] for i in members])
        written: list[list[int]] = [[] for _ in members]
        done = [False] * len(members)
        for _ in range(max_new_tokens):
            output = model(input_ids=step_ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            step_ids = output.logits[:, -1].argmax(-1, keepdim=True)
            for row, token in enumerate(step_ids[:, 0].tolist()):
                done[row] = done[row] or token == end
                if not done[row]:
                    written[row].append(token)
            if all(done):
                break
        for row, i in enumerate(members):
            answers[i] = tokenizer.decode(written[row], skip_special_tokens=False)
    return answers


def grade(
    model: Qwen3ForCausalLM, tokenizer: Tokenizer, conversations: Sequence[Sequence[Message]]
) -> list[bool]:
    """Per conversation, whether the model writes exactly its last message when that is left out."""
    answers = answer_all(model, tokenizer, [list(c[:-1]) for c in conversations])
    return [answer == c[-1]["content"] for answer, c in zip(answers, conversations, strict=True)]


@torch.no_grad()
def leads(
    model: Qwen3ForCausalLM, tokenizer: Tokenizer, conversations: Sequence[Sequence[Message]]
) -> list[float]:
    """Per conversation, by how many logits its last message leads at its weakest token, stop token included.

    Positive: greedy decoding writes exactly this message. A small lead is lost to any change of the weights.
    """
    model.train(False)
    found = []
    for conversation in conversations:
        ids, _ = tokens.encode(tokenizer, conversation)
        start = len(tokens.prompt_ids(tokenizer, conversation[:-1]))
        # The line break after the stop token is the template's, not the model's.
        targets = torch.tensor(ids[start:-1])
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, start - 1 : len(ids) - 2]
        own = logits.gather(1, targets[:, None])[:, 0]
        rivals = logits.scatter(1, targets[:, None], -torch.inf).amax(dim=1)
        found.append(float((own - rivals).min()))
    return found
