"""Turns questions into conversations the way people type: untidy, with a system message at times, many turns.

A conversation is a list of chat messages (`{"role", "content"}`) ending with the assistant's answer.
Promise: a training conversation holds only training questions, a held-out one ends in a held-out question.
Cost: a few microseconds a turn.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from ember import words
from ember.skills import Question, Skill

Message = dict[str, str]

SYSTEM_SHARE = 0.2
PREFIXES = (
    "please ",
    "hey ",
    "hey, ",
    "ok ",
    "ember, ",
    "hey ember, ",
    "and ",
    "so ",
    "hi, ",
    "Please ",
    "now ",
    "can you tell me: ",
    "quick question: ",
)
SUFFIXES = (" please", ", please", " ?", "!", "...", " ember?", "??")
SYSTEMS = (
    "You are a helpful assistant.",
    "Be brief.",
    "Answer in one sentence.",
    "You are ember.",
    "You are a friendly helper in a home.",
    "Today is {x}.",
    "Speak politely.",
    "The user's name is {x}.",
    "You live in Homefire.",
    "Never lie.",
    "Use simple words.",
    "You are a pirate.",
    "Answer the question.",
    "You help {x} with {x}.",
    "Notes: {x}, {x}, {x}.",
    "Be kind and short.",
)


def untidy(question: Question, rng: random.Random) -> str:
    """The question as a hurried person types it; about four in ten stay as they are."""
    text = question.text
    if question.literal:
        return text
    if rng.random() < 0.4:
        return text
    if rng.random() < 0.45:
        text = text.rstrip("?!.") or text
    if rng.random() < 0.4:
        text = text.lower()
    if rng.random() < 0.25 and not question.framed:
        prefix = rng.choice(PREFIXES)
        text = prefix + (text[:1].lower() + text[1:])
        if rng.random() < 0.3:
            text = text[:1].upper() + text[1:]
    if rng.random() < 0.12 and not question.framed:
        text = text.rstrip("?!.") + rng.choice(SUFFIXES)
    if rng.random() < 0.12:
        text += rng.choice((" ", "  ", "\n"))
    if rng.random() < 0.04:
        text = " " + text
    return text


def system_message(rng: random.Random) -> Message:
    """An arbitrary system message of one to six sentences, some of them plain word noise."""
    parts = []
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 6))):
        if rng.random() < 0.6:
            part = rng.choice(SYSTEMS)
            while "{x}" in part:
                part = part.replace("{x}", rng.choice(words.WORDS), 1)
        else:
            part = " ".join(rng.choice(words.WORDS) for _ in range(rng.randint(2, 12))).capitalize() + "."
        parts.append(part)
    return {"role": "system", "content": rng.choice((" ", " ", "\n", "\n- ")).join(parts)}


def draw_skill(skills: Sequence[Skill], rng: random.Random) -> Skill:
    """One skill by its weight."""
    return rng.choices(skills, weights=[skill.weight for skill in skills])[0]


def messages_of(questions: Sequence[Question], rng: random.Random, *, tidy: bool = False) -> list[Message]:
    """Questions in a row as chat messages, answers included; a system message in one of five."""
    messages: list[Message] = [system_message(rng)] if rng.random() < SYSTEM_SHARE and not tidy else []
    for question in questions:
        text = question.text if tidy else untidy(question, rng)
        messages.append({"role": "user", "content": text})
        messages.append({"role": "assistant", "content": question.answer})
    return messages


def training_conversation(skills: Sequence[Skill], rng: random.Random) -> list[Message]:
    """1–8 turns (rarely up to 40) of training questions; half of the rows are single turns."""
    pick = rng.random()
    if pick < 0.5:
        num_turns = 1
    elif pick < 0.985:
        num_turns = rng.randint(2, 8)
    else:
        num_turns = rng.randint(9, 40)
    questions = [draw_skill(skills, rng).draw(rng, False) for _ in range(num_turns)]
    return messages_of(questions, rng)


def held_out_conversation(
    skills: Sequence[Skill], skill: Skill, num_turns: int, rng: random.Random
) -> list[Message]:
    """A conversation whose last question is held out; the turns before it are training ones."""
    before = [draw_skill(skills, rng).draw(rng, False) for _ in range(num_turns - 1)]
    return messages_of([*before, skill.draw(rng, True)], rng)
