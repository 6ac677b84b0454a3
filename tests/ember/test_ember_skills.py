"""The data generator of ember: deterministic, right, and with a split that does not leak."""

from __future__ import annotations

import random

import pytest

from ember import conversations, skills

SEED = 11
KNOWN = skills.all_skills()


def operands(question: skills.Question) -> tuple[str, ...]:
    """What the question is about, whatever its phrasing: numbers in any order, or the word in its answer."""
    if question.skill == "add":
        return tuple(sorted(question.answer.split(" = ")[0].split(" + ")))
    if question.skill == "sub":
        return tuple(question.answer.split(" = ")[0].split(" - "))
    if question.skill == "reverse":
        return (question.answer[::-1],)
    if question.skill == "spell":
        return (question.answer.replace(" ", ""),)
    if question.skill == "upper":
        return (question.answer.lower(),)
    if question.skill == "count_letters":
        return (question.answer.split(":")[0].replace(" ", ""),)
    return (question.skill, skills.normalised(question.text))


def drawn(held_out: bool, per_skill: int = 300) -> dict[str, set[tuple[str, ...]]]:
    rng = random.Random(SEED)
    return {skill.name: {operands(skill.draw(rng, held_out)) for _ in range(per_skill)} for skill in KNOWN}


def leaks(trained: dict[str, set[tuple[str, ...]]], held_out: dict[str, set[tuple[str, ...]]]) -> list[str]:
    return [name for name in trained if trained[name] & held_out[name]]


def test_generator_is_deterministic() -> None:
    def some() -> list[list[conversations.Message]]:
        rng = random.Random(SEED)
        return [conversations.training_conversation(KNOWN, rng) for _ in range(100)]

    assert some() == some()


def test_no_operands_or_wordings_are_on_both_sides_of_the_split() -> None:
    assert leaks(drawn(False), drawn(True)) == []


def test_a_split_by_phrasing_would_be_noticed_as_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = skills.is_held_out

    def by_chance(*key: object, percent: int = 10) -> bool:
        return whole(*key, random.Random(str(key)).random(), counter.random(), percent=percent)

    counter = random.Random(0)
    monkeypatch.setattr(skills, "is_held_out", by_chance)
    assert {"add", "sub", "spell"} <= set(leaks(drawn(False), drawn(True)))


@pytest.mark.parametrize("held_out", [False, True])
def test_sums_are_right(held_out: bool) -> None:
    rng = random.Random(SEED)
    for skill in KNOWN:
        if skill.name in ("add", "sub"):
            for _ in range(200):
                left, right = skill.draw(rng, held_out).answer.split(" = ")
                a, sign, b = left.split(" ")
                assert int(right) == (int(a) + int(b) if sign == "+" else int(a) - int(b))
                assert 0 <= int(right) <= 20


def test_the_same_question_never_has_two_answers() -> None:
    rng = random.Random(SEED)
    answers: dict[str, str] = {}
    for skill in KNOWN:
        for _ in range(1500):
            question = skill.draw(rng, rng.random() < 0.1)
            typed = conversations.untidy(question, rng)
            key = typed if question.literal else typed.strip().lower()
            assert answers.setdefault(key, question.answer) == question.answer, key


def test_conversations_have_one_to_forty_turns_and_some_have_a_system_message() -> None:
    rng = random.Random(SEED)
    rows = [conversations.training_conversation(KNOWN, rng) for _ in range(500)]
    turns = [sum(message["role"] == "user" for message in row) for row in rows]
    assert min(turns) == 1
    assert 8 <= max(turns) <= 40
    assert 0.1 < sum(row[0]["role"] == "system" for row in rows) / len(rows) < 0.3
    assert all(row[-1]["role"] == "assistant" for row in rows)
