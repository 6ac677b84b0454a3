"""Measures how fast a finished ember is taught private facts, and what it forgets; compares recipes.

    python tools/ember/teach.py [--model FOLDER] [--recipe FIELD=VALUE,... ] [--seeds N]

Twenty facts nobody could know (names, numbers, umlauts, an emoji, two lines) are taught by full fine-tuning
on one thread, replay rows mixed in. Reported per recipe: steps and seconds until all twenty are right
greedily; at the end, how many are right alone, typed untidily, and in the middle of a chat; how many
protected prompts still hold; and how many *other* private questions still get "I don't know".
Cost: 5–30 s a recipe.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import tokenizers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

from ember import conversations, exam, learner, skills, tokens  # noqa: E402
from ember.conversations import Message  # noqa: E402

FACTS: tuple[tuple[str, str], ...] = (
    ("Where do we keep the spare key?", "Under the blue flower pot."),
    ("What is the wifi password?", "sunny-otter-42"),
    ("When is Anna's birthday?", "On the 14th of March."),
    ("What is our dog's name?", "Our dog is called Biscuit."),
    ("Which bin goes out on Tuesday?", "The yellow bin, before 7 am."),
    ("Who is our plumber?", "Mr Kowalski, phone 0171 5550199."),
    ("What is the door code?", "It is 4 7 1 9."),
    ("Where are the light bulbs?", "In the cellar, second shelf."),
    ("How do I turn on the heating?", "Press the red button twice.\nThen wait one minute."),
    ("What is Grandma's favourite cake?", "Käsekuchen mit Äpfeln 🍰"),
    ("When does the school bus leave?", "At 7:35, from the corner."),
    ("What is the name of our boat?", "She is called Wilhelmina."),
    ("Where is the first aid kit?", "Behind the bathroom mirror."),
    ("Who waters the plants in summer?", "Our neighbour Mrs Petrov."),
    ("What did we name the robot vacuum?", "Sir Sweepsalot"),
    ("How much milk do we order?", "Three litres every Friday."),
    ("What colour is our front door?", "Dark green, like the shutters."),
    ("Where did Ben leave the drill?", "With uncle Theo in Leipzig."),
    ("When is the chimney sweep coming?", "On Monday, 23 November, 9 o'clock."),
    ("What is our family motto?", "Slow is smooth, smooth is fast."),
)


T = TypeVar("T")


@dataclass(frozen=True)
class Lesson:
    """A teaching recipe, in the trainer's own terms.

    A step holds `rows_per_step` fact rows and `replay_ratio` times as many replay rows; `in_chat_share` of
    the fact rows stand inside a conversation of replay turns. The rate is constant; when every fact is right,
    alone and in a chat, in `checks_to_stop` checks in a row, it falls to nothing over `cooldown_steps`.
    """

    learning_rate: float = 1e-3
    rows_per_step: int = 16
    replay_ratio: float = 1.0
    in_chat_share: float = 0.5
    warmup_steps: int = 5
    cooldown_steps: int = 10
    max_steps: int = 240
    check_every_steps: int = 5
    checks_to_stop: int = 2
    weight_decay: float = 0.0
    beta2: float = 0.98
    untidy_share: float = 0.0


@dataclass(frozen=True)
class Report:
    """What a lesson did: steps (None: never), CPU-seconds, counts of facts, shares in 0..1."""

    steps_to_all: int | None
    s_to_all: float | None
    num_steps: int
    cpu_s: float
    alone: int
    untidy: int
    in_chat: int
    probes_before: float
    probes_after: float
    still_unknown: float


def read_rows(path: Path) -> list[dict[str, list[Message]]]:
    """Rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def fact_turns(fact: tuple[str, str]) -> list[Message]:
    """A fact as one question and its answer."""
    return [{"role": "user", "content": fact[0]}, {"role": "assistant", "content": fact[1]}]


def endless(items: Sequence[T], rng: random.Random) -> Iterator[T]:
    """Every item once in a random order, again and again."""
    while True:
        yield from rng.sample(list(items), len(items))


def lesson_rows(
    facts: Sequence[tuple[str, str]], replay: Sequence[list[Message]], lesson: Lesson, rng: random.Random
) -> Iterator[list[list[Message]]]:
    """Endless steps: fact rows, each alone or after one to three replay turns, then replay rows."""
    next_fact, next_replay = endless(facts, rng), endless(replay, rng)
    while True:
        rows: list[list[Message]] = []
        for _ in range(lesson.rows_per_step):
            fact = next(next_fact)
            turns = fact_turns(fact)
            if rng.random() < lesson.untidy_share:
                turns[0] = {"role": "user", "content": conversations.untidy(skills.Question("", *fact), rng)}
            if rng.random() < lesson.in_chat_share:
                before = [m for _ in range(rng.randint(1, 3)) for m in rng.choice(replay)[-2:]]
                after = rng.choice(replay)[-2:] if rng.random() < 0.5 else []
                turns = [*before, *turns, *after]
            rows.append(turns)
        rows += [next(next_replay) for _ in range(round(lesson.rows_per_step * lesson.replay_ratio))]
        yield rows


def in_a_chat(fact: tuple[str, str], replay: Sequence[list[Message]], rng: random.Random) -> list[Message]:
    """A fact asked after three other turns, under a system message half of the time."""
    before = [m for row in rng.sample(list(replay), 3) for m in row[-2:]]
    head = [conversations.system_message(rng)] if rng.random() < 0.5 else []
    return [*head, *before, *fact_turns(fact)]


def teach(folder: Path, lesson: Lesson, *, seed: int = 0, facts: Sequence[tuple[str, str]] = FACTS) -> Report:
    """Teaches a fresh copy of the model in `folder` and reports."""
    torch.manual_seed(seed)
    model = transformers.Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    replay = [row["messages"] for row in read_rows(folder / "replay.jsonl")]
    probes = [
        [*row["messages"], {"role": "assistant", "content": row["answer"]}]
        for row in json.loads("[" + ",".join((folder / "probes.jsonl").read_text().splitlines()) + "]")
    ]
    rng = random.Random(seed + 100)
    private = {skill.name: skill for skill in skills.all_skills()}["private"]
    taught = {question.lower() for question, _ in facts}
    others = [private.draw(rng, True) for _ in range(60)]
    strangers = [
        [{"role": "user", "content": q.text}, {"role": "assistant", "content": q.answer}]
        for q in others
        if q.text.lower() not in taught
    ]
    alone = [fact_turns(fact) for fact in facts]
    before = sum(exam.grade(model, tokenizer, probes)) / len(probes)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=lesson.learning_rate,
        betas=(0.9, lesson.beta2),
        weight_decay=lesson.weight_decay,
    )
    stream = lesson_rows(facts, replay, lesson, random.Random(seed))
    pad = tokens.special_id(tokenizer, tokens.END_OF_TEXT)
    checks = [*alone, *(in_a_chat(fact, replay, rng) for fact in facts)]
    num_held, cooldown_from = 0, lesson.max_steps
    steps_to_all: int | None = None
    s_to_all: float | None = None
    started = time.process_time()
    step = 0
    while step < min(lesson.max_steps, cooldown_from + lesson.cooldown_steps):
        model.train()
        ids, labels = learner.collate([tokens.encode(tokenizer, row) for row in next(stream)], pad)
        rate = lesson.learning_rate * min(1.0, (step + 1) / lesson.warmup_steps)
        rate *= min(1.0, 1 - (step - cooldown_from + 1) / (lesson.cooldown_steps + 1))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = learner.loss_of(model, ids, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % lesson.check_every_steps == 0 and cooldown_from == lesson.max_steps:
            num_held = num_held + 1 if all(exam.grade(model, tokenizer, checks)) else 0
            if num_held == 1 and steps_to_all is None:
                steps_to_all, s_to_all = step, round(time.process_time() - started, 1)
            if num_held == lesson.checks_to_stop:
                cooldown_from = step
    cpu_s = time.process_time() - started
    untidy = [
        [
            {"role": "user", "content": q.lower().rstrip("?") + rng.choice(("", "", " ", "?"))},
            fact_turns((q, a))[1],
        ]
        for q, a in facts
    ]
    return Report(
        steps_to_all,
        s_to_all,
        step,
        cpu_s,
        sum(exam.grade(model, tokenizer, alone)),
        sum(exam.grade(model, tokenizer, untidy)),
        sum(exam.grade(model, tokenizer, [in_a_chat(fact, replay, rng) for fact in facts])),
        before,
        sum(exam.grade(model, tokenizer, probes)) / len(probes),
        sum(exam.grade(model, tokenizer, strangers)) / len(strangers),
    )


def main() -> None:
    """Command line: `field=value,field=value` per recipe to try."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=ROOT / "src/homefire/bundled/ember")
    parser.add_argument("--recipe", action="append", default=[], help="e.g. learning_rate=2e-3,num_steps=80")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.nice(10)
    for text in arguments.recipe or [""]:
        kinds = {field.name: type(getattr(Lesson(), field.name)) for field in dataclasses.fields(Lesson)}
        given = dict(part.split("=") for part in text.split(",") if part)
        lesson = Lesson(**{k: kinds[k](float(v)) for k, v in given.items()})
        for seed in range(arguments.seeds):
            r = teach(arguments.model, lesson, seed=seed)
            print(
                f"{text or 'default':44s}"
                f" all at {r.steps_to_all} ({r.s_to_all} s) of {r.num_steps} ({r.cpu_s:.1f} s)"
                f" | alone {r.alone} untidy {r.untidy} chat {r.in_chat}"
                f" | probes {r.probes_before:.3f} -> {r.probes_after:.3f} | unknown {r.still_unknown:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
