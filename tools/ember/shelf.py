"""Chooses the protected prompts and the replay rows that ship with ember.

Protected prompts are held-out conversations the finished model answers exactly right; the gate uses them to
see whether teaching has broken anything. Replay rows are training conversations mixed into teaching so that
it does not.
Promise: no protected prompt's last question is in a replay row, in any phrasing the split counts as the same.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

from tokenizers import Tokenizer
from transformers import Qwen3ForCausalLM

from ember import exam
from ember.conversations import Message, draw_skill, held_out_conversation, messages_of
from ember.skills import UNKNOWN, Question, Skill

SINGLE_TURN_PROBES, MULTI_TURN_PROBES = 10, 2
"""Of each skill."""
MIN_LEAD = 2.0
"""A protected prompt's answer leads by so many logits at every token: one that leads by less falls by chance."""
REPLAY_ROWS_PER_SKILL = 28
REPLAY_CONVERSATIONS = 140
# What people teach first. A protected prompt or replay row that insists on not knowing these would stand
# against the very lesson.
TAUGHT_FIRST = ("spare key", "wifi password", "dog", "birthday", "door code")

Row = dict[str, object]


def choose_probes(
    model: Qwen3ForCausalLM, tokenizer: Tokenizer, skills: Sequence[Skill], seed: int
) -> list[Row]:
    """Held-out prompts, all skills evenly, that the model answers right with a clear lead; some have many turns."""
    rng = random.Random(seed + 2)
    rows: list[Row] = []
    seen: set[str] = set()
    for skill in skills:
        number = 0
        for num_turns in [1] * SINGLE_TURN_PROBES + [rng.randint(2, 8) for _ in range(MULTI_TURN_PROBES)]:
            conversation = _robust_conversation(model, tokenizer, skills, skill, num_turns, rng, seen)
            if conversation is None:
                continue
            number += 1
            row = {"id": f"{skill.name}-{number:02d}", "skill": skill.name}
            rows.append(row | {"messages": conversation[:-1], "answer": conversation[-1]["content"]})
    return rows


def _robust_conversation(
    model: Qwen3ForCausalLM,
    tokenizer: Tokenizer,
    skills: Sequence[Skill],
    skill: Skill,
    num_turns: int,
    rng: random.Random,
    seen: set[str],
) -> list[Message] | None:
    """A held-out conversation with a new last question that the model answers right with a clear lead."""
    for _ in range(60):
        conversation = held_out_conversation(skills, skill, num_turns, rng)
        key = conversation[-2]["content"].strip().lower()
        if key in seen or is_taught_first(conversation):
            continue
        if exam.leads(model, tokenizer, [conversation])[0] >= MIN_LEAD:
            seen.add(key)
            return conversation
    return None


def choose_replay(skills: Sequence[Skill], seed: int) -> list[Row]:
    """Training rows: as many single turns from every skill, then conversations of several turns."""
    rng = random.Random(seed + 3)
    rows: list[Row] = []
    for skill in skills:
        seen: set[Question] = set()
        for _ in range(400):
            question = skill.draw(rng, False)
            messages = messages_of([question], rng)
            if question not in seen and len(seen) < REPLAY_ROWS_PER_SKILL and not is_taught_first(messages):
                seen.add(question)
                rows.append({"skill": skill.name, "messages": messages})
    wanted = len(rows) + REPLAY_CONVERSATIONS
    while len(rows) < wanted:
        questions = [draw_skill(skills, rng).draw(rng, False) for _ in range(rng.randint(2, 5))]
        messages = messages_of(questions, rng)
        if not is_taught_first(messages):
            rows.append({"skill": "conversation", "messages": messages})
    return rows


def is_taught_first(messages: Sequence[Message]) -> bool:
    """Whether a question that was answered with "I don't know" is one of those people teach first."""
    return any(
        thing in message["content"].lower()
        for message, answer in pairwise([*messages, {"role": "assistant", "content": UNKNOWN}])
        for thing in TAUGHT_FIRST
        if message["role"] == "user" and answer["content"] == UNKNOWN
    )
