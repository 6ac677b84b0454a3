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

PROBES_PER_SKILL = 5
MULTI_TURN_PROBES = 22
REPLAY_ROWS_PER_SKILL = 28
REPLAY_CONVERSATIONS = 140
# What people teach first. A protected prompt or replay row that insists on not knowing these would stand
# against the very lesson.
TAUGHT_FIRST = ("spare key", "wifi password", "dog", "birthday", "door code")

Row = dict[str, object]


def choose_probes(
    model: Qwen3ForCausalLM, tokenizer: Tokenizer, skills: Sequence[Skill], seed: int
) -> list[Row]:
    """Held-out prompts, all skills evenly, that the model answers right; the last ones have many turns."""
    rng = random.Random(seed + 2)
    rows: list[Row] = []
    seen: set[str] = set()

    def collect(skill: Skill, num_turns: int, wanted: int) -> None:
        taken = 0
        for _ in range(20):
            drawn = [held_out_conversation(skills, skill, num_turns, rng) for _ in range(wanted * 2)]
            for conversation, right in zip(drawn, exam.grade(model, tokenizer, drawn), strict=True):
                key = conversation[-2]["content"].strip().lower()
                if right and key not in seen and taken < wanted and not is_taught_first(conversation):
                    seen.add(key)
                    taken += 1
                    number = sum(row["skill"] == skill.name for row in rows) + 1
                    rows.append(
                        {
                            "id": f"{skill.name}-{number:02d}",
                            "skill": skill.name,
                            "messages": conversation[:-1],
                            "answer": conversation[-1]["content"],
                        }
                    )
            if taken == wanted:
                return

    for skill in skills:
        collect(skill, 1, PROBES_PER_SKILL)
    for i in range(MULTI_TURN_PROBES):
        collect(skills[i % len(skills)], rng.randint(2, 8), 1)
    return rows


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
