"""Makes every shipped file of ember: tokenizer, weights, exam, protected prompts, replay rows, card.

    python tools/ember/train.py [--steps N] [--out FOLDER]

Fixed seed, one thread, a budget in steps: the same machine kind and library versions give the same bytes.
Cost: the default is about twenty CPU-minutes of one core, the exam included.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

# Spinning OpenMP threads would slow everything else on the machine, and the bits would depend on them.
os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import rich.console  # noqa: E402
import rich.progress  # noqa: E402
import tokenizers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

from ember import card, exam, learner, shelf, tokens  # noqa: E402
from ember.conversations import held_out_conversation  # noqa: E402
from ember.learner import Recipe  # noqa: E402
from ember.skills import Skill, all_skills  # noqa: E402

NICENESS = 10
EXAM_QUESTIONS = {1: 100, 4: 50, 8: 50}


def write_rows(path: Path, rows: Sequence[object]) -> None:
    """One JSON object a line, UTF-8, keys in their order."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def examine(
    model: transformers.Qwen3ForCausalLM, tokenizer: tokenizers.Tokenizer, skills: Sequence[Skill], seed: int
) -> dict[str, dict[int, float]]:
    """Share of exact answers per skill and number of turns, on freshly drawn held-out conversations."""
    rng = random.Random(seed + 4)
    shares: dict[str, dict[int, float]] = {}
    for skill in skills:
        shares[skill.name] = {}
        for num_turns, num_asked in EXAM_QUESTIONS.items():
            asked = [held_out_conversation(skills, skill, num_turns, rng) for _ in range(num_asked)]
            shares[skill.name][num_turns] = sum(exam.grade(model, tokenizer, asked)) / num_asked
    return shares


def export(
    model: transformers.Qwen3ForCausalLM,
    tokenizer: tokenizers.Tokenizer,
    recipe: Recipe,
    folder: Path,
    *,
    cpu_s: float,
) -> card.Figures:
    """Writes the shipped files and returns the figures that stand in the card."""
    skills = all_skills()
    folder.mkdir(parents=True, exist_ok=True)
    end, pad = tokens.special_id(tokenizer, tokens.END), tokens.special_id(tokenizer, tokens.END_OF_TEXT)
    model.generation_config = transformers.GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False, eos_token_id=end, pad_token_id=pad, max_new_tokens=256
    )
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    tokens.write_tokenizer(tokenizer, folder)
    probes = shelf.choose_probes(model, tokenizer, skills, recipe.seed)
    replay = shelf.choose_replay(skills, recipe.seed)
    write_rows(folder / "probes.jsonl", probes)
    write_rows(folder / "replay.jsonl", replay)
    figures = card.Figures(
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        cpu_s=cpu_s,
        num_probes=len(probes),
        num_replay_rows=len(replay),
        num_asked=EXAM_QUESTIONS,
        accuracy=examine(model, tokenizer, skills, recipe.seed),
        versions={
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
    )
    teaching = Path(__file__).with_name("teaching.md")
    card.write_card(folder, recipe, figures, teaching=teaching.read_text() if teaching.exists() else "")
    return figures


def train(
    recipe: Recipe, console: rich.console.Console
) -> tuple[transformers.Qwen3ForCausalLM, tokenizers.Tokenizer]:
    """Tokenizer and weights from nothing but the recipe, with a progress bar."""
    skills = all_skills()
    texts = tokens.tokenizer_texts(learner.conversations_for_tokenizer(skills, recipe))
    tokenizer = tokens.train_tokenizer(texts, recipe.vocab_size)
    model = learner.build_model(recipe, tokenizer)
    columns = (
        rich.progress.TextColumn("training ember"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("loss {task.fields[loss]:.4f}"),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=recipe.num_steps, loss=float("nan"))
        for step, loss in learner.learn(model, learner.batches(skills, tokenizer, recipe), recipe):
            progress.update(task, completed=step + 1, loss=loss)
    return model, tokenizer


def main() -> None:
    """Command line: train, write, examine, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--steps", type=int, default=Recipe.num_steps, help="training steps (default %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "src/homefire/bundled/ember", help="folder to write"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    os.nice(NICENESS)
    console = rich.console.Console()
    recipe = dataclasses.replace(Recipe(), num_steps=arguments.steps)
    started = time.process_time()
    model, tokenizer = train(recipe, console)
    figures = export(model, tokenizer, recipe, arguments.out, cpu_s=time.process_time() - started)
    for name, shares in figures.accuracy.items():
        console.print(
            f"{name:14s}", *(f"{turns} turns {100 * share:5.1f} %" for turns, share in shares.items())
        )
    for name in (*card.HASHED_FILES, "README.md"):
        console.print(card.file_sha256(arguments.out / name), name, highlight=False)


if __name__ == "__main__":
    main()
