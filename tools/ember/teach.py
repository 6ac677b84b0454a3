"""Measures how fast a finished ember can be taught private facts, and what it forgets; tries recipes side by side.

    python tools/ember/teach.py [--model FOLDER] [--recipe NAME ...]

Twenty facts nobody could know (names, numbers, umlauts, an emoji, two lines) are taught by full fine-tuning on one
thread, replay rows mixed in. Reported per recipe: steps and seconds until all twenty are right greedily; at the end,
how many are right alone, typed untidily, and in the middle of a chat; how many protected prompts still hold; and
how many *other* private questions still get "I don't know". Cost: 5–30 seconds a recipe.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Lesson:
    """A teaching recipe. `in_chat_share` of the fact rows stand inside a conversation of replay turns."""

    num_steps: int = 120
    learning_rate: float = 1e-3
    facts_per_batch: int = 16
    replay_per_batch: int = 16
    in_chat_share: float = 0.5
    warmup_steps: int = 5
    weight_decay: float = 0.0
    final_rate_share: float = 0.05
    beta2: float = 0.98
    untidy_share: float = 0.0
    loss_on_all_turns: bool = True


@dataclass(frozen=True)
class Report:
    """What a lesson did: counts out of `num_facts`, shares in 0..1, seconds of CPU."""

    steps_to_all: int | None
    cpu_s_to_all: float | None
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


def lesson_rows(
    facts: Sequence[tuple[str, str]], replay: Sequence[list[Message]], lesson: Lesson, rng: random.Random
) -> Iterator[list[list[Message]]]:
    """Endless batches of conversations: every fact in turn, alone or inside a chat, then replay rows."""
    order: list[tuple[str, str]] = []
    pool: list[list[Message]] = []
    while True:
        rows: list[list[Message]] = []
        for _ in range(lesson.facts_per_batch):
            if not order:
                order = list(facts)
                rng.shuffle(order)
            turns = fact_turns(order.pop())
            if rng.random() < lesson.untidy_share:
                turns[0] = {"role": "user", "content": conversations.untidy(turns[0]["content"], rng)}
            if rng.random() < lesson.in_chat_share:
                before = [m for row in rng.choices(replay, k=rng.randint(1, 3)) for m in row]
                head = before[:1] if before[0]["role"] == "system" else []
                turns = [*head, *(m for m in before if m["role"] != "system"), *turns]
            rows.append(turns)
        for _ in range(lesson.replay_per_batch):
            if not pool:
                pool = list(replay)
                rng.shuffle(pool)
            rows.append(pool.pop())
        yield rows


def rate_at(step: int, lesson: Lesson) -> float:
    """Linear warm-up, then cosine to `final_rate_share`."""
    warm = min(1.0, (step + 1) / max(1, lesson.warmup_steps))
    share = 0.5 * (1 + math.cos(math.pi * step / lesson.num_steps))
    return lesson.learning_rate * warm * (lesson.final_rate_share + (1 - lesson.final_rate_share) * share)


def in_a_chat(fact: tuple[str, str], replay: Sequence[list[Message]], rng: random.Random) -> list[Message]:
    """A fact asked after three other turns, untidy half of the time, under a system message half of the time."""
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
        model.parameters(), lr=lesson.learning_rate, betas=(0.9, lesson.beta2), weight_decay=lesson.weight_decay
    )
    stream = lesson_rows(facts, replay, lesson, random.Random(seed))
    pad = tokenizer.token_to_id(tokens.END_OF_TEXT)
    steps_to_all = cpu_to_all = None
    cpu_s = 0.0
    for step in range(lesson.num_steps):
        started = time.process_time()
        model.train()
        encoded = [tokens.encode(tokenizer, row) for row in next(stream)]
        if not lesson.loss_on_all_turns:
            encoded = [(ids, last_answer(mask)) for ids, mask in encoded]
        ids, labels = learner.collate(encoded, pad)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, lesson)
        loss = learner.loss_of(model, ids, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        cpu_s += time.process_time() - started
        if steps_to_all is None and step % 5 == 4 and all(exam.grade(model, tokenizer, alone)):
            steps_to_all, cpu_to_all = step + 1, cpu_s
    untidy = [
        [{"role": "user", "content": q.lower().rstrip("?") + rng.choice(("", "", " ", "?"))}, fact_turns((q, a))[1]]
        for q, a in facts
    ]
    return Report(
        steps_to_all,
        cpu_to_all,
        cpu_s,
        sum(exam.grade(model, tokenizer, alone)),
        sum(exam.grade(model, tokenizer, untidy)),
        sum(exam.grade(model, tokenizer, [in_a_chat(fact, replay, rng) for fact in facts])),
        before,
        sum(exam.grade(model, tokenizer, probes)) / len(probes),
        sum(exam.grade(model, tokenizer, strangers)) / len(strangers),
    )


def last_answer(mask: Sequence[bool]) -> list[bool]:
    """The mask with only its last run of true left."""
    kept = [False] * len(mask)
    i = len(mask) - 1
    while i >= 0 and not mask[i]:
        i -= 1
    while i >= 0 and mask[i]:
        kept[i] = True
        i -= 1
    return kept


def main() -> None:
    """Command line: `field=value,field=value` per recipe to try."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
                f"{text or 'default':60s} all at {r.steps_to_all} ({r.cpu_s_to_all and round(r.cpu_s_to_all, 1)} s) of {r.cpu_s:.1f} s"
                f" | alone {r.alone} untidy {r.untidy} chat {r.in_chat} | probes {r.probes_before:.3f} -> {r.probes_after:.3f}"
                f" | unknown {r.still_unknown:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
