"""Datasets: which examples a run learns, and the rows that are written for its worker.

A dataset is an ordered set of examples named by the hash of their ids; the same examples are the same
dataset. For the worker it becomes three files of rows: what to learn (each example in its own context, and
its last question alone where nothing contradicts that), what was learned before, and old skills of the base.
What a new correction answers otherwise is left out of the latter two: no question is taught with two answers.
All functions are pure except the two that look into a folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from homefire.store.nouns.examples import ExampleRow
from homefire.trainer.contract import ALONE_SUFFIX, TrainingRow, read_rows
from homefire.types import Message
from homefire.versions.agreement import normalise
from homefire.versions.manifest import canonical_json

REPLAY_FILE = "replay.jsonl"
MAX_RETAINED = 2_000
"""So many earlier corrections at most are replayed, the newest."""


def dataset_id_of(example_ids: Sequence[str]) -> str:
    """SHA-256 (hex) of the ids in their order."""
    return hashlib.sha256(canonical_json(list(example_ids))).hexdigest()


def question_of(messages: Sequence[Message]) -> str:
    """The last question, normalised: what decides whether two examples answer the same thing."""
    return normalise(messages[-2].text) if len(messages) > 1 else ""


def rows_to_learn(examples: Sequence[ExampleRow]) -> list[TrainingRow]:
    """Each example as it was given; those with a longer context once more with the last question alone.

    The latter is left out where another example gives that question another answer.
    """
    answers: dict[str, set[str]] = {}
    for example in examples:
        answers.setdefault(question_of(example.messages), set()).add(normalise(example.messages[-1].text))
    rows = []
    seen = {example.messages for example in examples}
    for example in examples:
        rows.append(TrainingRow(messages=example.messages, example_id=example.example_id))
        alone = last_exchange(example.messages)
        if alone not in seen and len(answers[question_of(example.messages)]) == 1:
            seen.add(alone)
            rows.append(TrainingRow(messages=alone, example_id=example.example_id + ALONE_SUFFIX))
    return rows


def last_exchange(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The system message, the last question, the answer."""
    return (*(message for message in messages[:1] if message.role == "system"), *messages[-2:])


def rows_to_retain(learned: Sequence[ExampleRow], new: Sequence[ExampleRow]) -> list[TrainingRow]:
    """Earlier corrections that still hold, the newest `MAX_RETAINED`."""
    taught = {example.example_id for example in new}
    answered = {question_of(example.messages) for example in new}
    kept = [
        example
        for example in learned
        if example.example_id not in taught and question_of(example.messages) not in answered
    ]
    return [
        TrainingRow(messages=example.messages, example_id=example.example_id)
        for example in kept[-MAX_RETAINED:]
    ]


def rows_to_replay(rows: Iterable[TrainingRow], corrections: Iterable[ExampleRow]) -> list[TrainingRow]:
    """Old-skill rows, without those in which a corrected question is answered otherwise."""
    right: dict[str, set[str]] = {}
    for example in corrections:
        right.setdefault(question_of(example.messages), set()).add(normalise(example.messages[-1].text))
    return [row for row in rows if not _contradicts(row, right)]


def has_replay(folder: Path) -> bool:
    """Whether a base model brings replay rows."""
    return (folder / REPLAY_FILE).exists()


def read_replay(folder: Path) -> list[TrainingRow]:
    """The replay rows that a base model brings; none where it brings none."""
    return list(read_rows(folder / REPLAY_FILE)) if has_replay(folder) else []


def _contradicts(row: TrainingRow, right: dict[str, set[str]]) -> bool:
    for asked, said in zip(row.messages, row.messages[1:], strict=False):
        if asked.role == "user" and said.role == "assistant":
            answers = right.get(normalise(asked.text))
            if answers is not None and normalise(said.text) not in answers:
                return True
    return False
