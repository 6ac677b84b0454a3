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
        f"**{100 * sum(s[n] for s in figures.accuracy.values()) / len(figures.accuracy):.1f} %**"
        for n in turns
    )
    hashes = [
        f"| `{name}` | {(folder / name).stat().st_size:,} | `{file_sha256(folder / name)}` |"
        for name in HASHED_FILES
    ]
    text = Path(__file__).with_name("card_template.md").read_text(encoding="utf-8")
    filled = {
        "num_parameters": f"{figures.num_parameters:,}",
        "hidden": recipe.hidden,
        "layers": recipe.layers,
        "heads": recipe.heads,
        "head_dim": recipe.head_dim,
        "kv_heads": recipe.kv_heads,
        "feed_forward": recipe.feed_forward,
        "vocab_size": recipe.vocab_size,
        "seed": recipe.seed,
        "num_steps": f"{recipe.num_steps:,}",
        "batch_tokens": f"{recipe.batch_tokens:,}",
        "muon_rate": f"{recipe.muon_rate:g}",
        "learning_rate": f"{recipe.learning_rate:g}",
        "decay_steps": f"{recipe.decay_steps:,}",
        "cpu_min": f"{figures.cpu_s / 60:.0f}",
        "made_with": ", ".join(f"{name} {version}" for name, version in figures.versions.items()),
        "asked": " / ".join(str(figures.num_asked[n]) for n in turns),
        "accuracy": "\n".join([head, f"|---|{'---|' * len(turns)}", *rows, f"| **mean** | {mean} |"]),
        "teaching": teaching.strip(),
        "num_probes": figures.num_probes,
        "num_replay_rows": figures.num_replay_rows,
        "hashes": "\n".join(hashes),
    }
    text = text.format(**filled)
    (folder / "README.md").write_text(text)
    return text
