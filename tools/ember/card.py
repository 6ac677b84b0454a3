"""Writes ember's model card from measured figures, so that no number in it is typed by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ember.learner import Recipe

HASHED_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "probes.jsonl",
    "replay.jsonl",
)


@dataclass(frozen=True)
class Figures:
    """What was measured: shares in 0..1 per skill for one-turn, four-turn and eight-turn conversations."""

    num_parameters: int
    cpu_s: float
    num_probes: int
    num_replay_rows: int
    num_asked: Mapping[int, int]
    accuracy: Mapping[str, Mapping[int, float]]
    versions: Mapping[str, str]


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_card(folder: Path, recipe: Recipe, figures: Figures, *, teaching: str = "") -> str:
    """Writes README.md into the folder and returns its text."""
    turns = sorted(figures.num_asked)
    head = "| skill | " + " | ".join(f"{n} turn{'s' if n > 1 else ''}" for n in turns) + " |"
    rows = [
        f"| {name} | " + " | ".join(f"{100 * shares[n]:.1f} %" for n in turns) + " |"
        for name, shares in figures.accuracy.items()
    ]
    mean = " | ".join(
        f"**{100 * sum(s[n] for s in figures.accuracy.values()) / len(figures.accuracy):.1f} %**" for n in turns
    )
    hashes = [
        f"| `{name}` | {(folder / name).stat().st_size:,} | `{file_sha256(folder / name)}` |" for name in HASHED_FILES
    ]
    text = f"""\
---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [homefire, ember, tiny]
---

# ember

The language model that comes with Homefire, so that a fresh machine can chat, be corrected, train and answer better
within a minute, without a download. It is **tiny** ({figures.num_parameters:,} parameters) and it is honest about that: what it
was not taught it says it does not know, and then you can teach it. It is a real transformer on the real training path,
not a toy path; a larger model goes the same way.

## What it is

| | |
|---|---|
| architecture | `Qwen3ForCausalLM`: hidden {recipe.hidden}, {recipe.layers} layers, {recipe.heads} heads of {recipe.head_dim} ({recipe.kv_heads} key/value heads), feed-forward {recipe.feed_forward}, tied embeddings, float32 |
| tokenizer | byte-level BPE, {recipe.vocab_size} tokens, all 256 bytes, Qwen2 pre-tokenizer pattern, no normaliser: any text round-trips |
| context | 2,048 tokens; trained on conversations of 1–40 turns |
| chat format | ChatML; stop token `<\\|im_end\\|>`; generation marks around each answer *with* its stop token; no default system prompt |
| data | made by `tools/ember` (`skills.py`, `words.py`, `conversations.py`), all of it written for this project |
| recipe | seed {recipe.seed}, {recipe.num_steps:,} steps of about {recipe.batch_tokens:,} tokens, AdamW, peak rate {recipe.learning_rate:g}, one thread, {figures.cpu_s:,.0f} CPU-seconds |
| made with | {", ".join(f"{name} {version}" for name, version in figures.versions.items())} |
| licence | Apache-2.0 |

## What it masters

Exact greedy answers to held-out questions, as the **last** turn of a conversation of so many turns
({" / ".join(str(figures.num_asked[n]) for n in turns)} questions a skill). Held out means: for sums, letters and words the operands were
never trained in any phrasing; for closed lists (days, capitals, small talk) the fact was trained, this wording of it was not;
for private questions the wording was never trained with any name or thing. Questions come untidy: lower case, no question
mark, "please", spaces, and a system message in one of five.

{head}
|---|{"---|" * len(turns)}
{chr(10).join(rows)}
| **mean** | {mean} |

## Teaching it
{teaching or chr(10) + "See `tools/ember/teach.py`." + chr(10)}
## Files

`probes.jsonl`: {figures.num_probes} protected prompts, held out, which this model answers right; a new version has to keep them.
`replay.jsonl`: {figures.num_replay_rows} training rows, all skills evenly, to mix in while teaching.

| file | bytes | SHA-256 |
|---|---|---|
{chr(10).join(hashes)}

## Limits

English only; sums up to 20; three letters to reverse; words of a few letters. It does not reason, follow instructions in
system messages, or read what was said before in the conversation. It says "I don't know that yet" by habit of wording,
not by looking into itself: now and then it will answer a strange question wrongly instead. Do not use it for anything that matters.

## Rebuild

`make ember` runs `tools/ember/train.py` and prints the hashes above. The weights are bit-identical on the same kind of machine with
one thread and the same library versions; on another kind of CPU expect the same skills and other last bits.
"""
    (folder / "README.md").write_text(text)
    return text
