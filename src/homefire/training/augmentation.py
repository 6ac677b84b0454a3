"""Rows beside the corrections themselves: their questions in other words, and their neighbours.

What a correction teaches should be found by whoever asks otherwise, and nothing else should change. So each row
to learn comes in several wordings with the same answer (`wordings`), and beside it stand questions that are
nearly the same but another one, with the answer that the base gives to them (`neighbour_questions`, answered by
`ReplaySource`). Earlier corrections get fewer of both, the newest first. Pure: the same corrections, questions and
seed give the same rows; they are written once, at the first lease of a run.
"""

from __future__ import annotations

from collections.abc import Sequence

from homefire.trainer import rewording
from homefire.trainer.contract import TrainingRow
from homefire.trainer.recipe import Recipe
from homefire.types import Message
from homefire.versions.agreement import normalise

RETAINED_WORDINGS, RETAINED_NEIGHBOURS = 4, 1
MAX_ENRICHED = 200
"""So many earlier corrections at most have wordings and neighbours of their own, the newest."""
MAX_NEIGHBOURS = 2_000
"""So many questions at most is a base asked for one run."""


def wordings(
    new: Sequence[TrainingRow], retained: Sequence[TrainingRow], *, recipe: Recipe, seed: int
) -> list[TrainingRow]:
    """Rows with the same answer, their last question in other words."""
    asked = {normalise(_question(row)) for row in (*new, *retained)}
    rows = []
    few = min(RETAINED_WORDINGS, recipe.wordings)
    for row, count in [
        *((row, recipe.wordings) for row in new),
        *((row, few) for row in retained[-MAX_ENRICHED:]),
    ]:
        for text in rewording.wordings(_question(row), count, seed=seed):
            if normalise(text) not in asked - {normalise(_question(row))}:
                rows.append(_with_question(row, text))
    return rows


def neighbours(
    new: Sequence[TrainingRow],
    retained: Sequence[TrainingRow],
    old_skills: Sequence[TrainingRow],
    *,
    recipe: Recipe,
    seed: int,
) -> list[TrainingRow]:
    """Questions close to the corrections, each with the system message of its correction. None is taught."""
    if not recipe.neighbours:
        return []
    rows = [*new, *retained]
    texts = [m.text for row in (*old_skills, *rows) for m in row.messages if m.role == "user"]
    vocabulary = rewording.vocabulary_of(texts)
    taught = {rewording.content_of(_question(row)) for row in rows}
    wanted = [(row, recipe.neighbours) for row in new]
    wanted += [(row, RETAINED_NEIGHBOURS) for row in reversed(retained[-MAX_ENRICHED:])]
    found: dict[str, TrainingRow] = {}
    for number in range(2 * recipe.neighbours):
        for row, count in wanted:
            if number >= 2 * count or len(found) >= MAX_NEIGHBOURS:
                continue
            text = rewording.neighbour(_question(row), number, vocabulary, seed=seed)
            if text is not None and rewording.content_of(text) not in taught:
                found.setdefault(text, _with_question(row, text))
    return list(found.values())


def _question(row: TrainingRow) -> str:
    return row.messages[-2].text if len(row.messages) > 1 else ""


def _with_question(row: TrainingRow, text: str) -> TrainingRow:
    messages = (*row.messages[:-2], Message("user", text), row.messages[-1])
    return TrainingRow(messages=messages, example_id=row.example_id)
