from __future__ import annotations

from pathlib import Path

from homefire.store.nouns.examples import ExampleRow
from homefire.trainer.contract import TrainingRow
from homefire.training.datasets import (
    ALONE_SUFFIX,
    dataset_id_of,
    read_replay,
    rows_to_learn,
    rows_to_replay,
    rows_to_retain,
)
from homefire.types import Message


def user(text: str) -> Message:
    return Message("user", text)


def said(text: str) -> Message:
    return Message("assistant", text)


def example(name: str, *messages: Message) -> ExampleRow:
    return ExampleRow(
        example_id=name, profile="plain", messages=messages, prompt_digest="", feedback_id=None, turn_id=None,
        principal="local", created_at_s=0.0, superseded_by=None,
    )  # fmt: skip


def test_a_dataset_is_named_by_its_examples_in_their_order() -> None:
    assert dataset_id_of(["a", "b"]) == dataset_id_of(("a", "b"))
    assert dataset_id_of(["a", "b"]) != dataset_id_of(["b", "a"])
    assert len(dataset_id_of([])) == 64


def test_an_example_with_a_context_teaches_its_last_question_too() -> None:
    system = Message("system", "s")
    messages = (system, user("Hi"), said("Hello"), user("Where?"), said("There."))
    rows = rows_to_learn([example("e", *messages), example("f", user("q"), said("a"))])
    assert [(row.example_id, len(row.messages)) for row in rows] == [
        ("e", 5), ("e" + ALONE_SUFFIX, 3), ("f", 2),
    ]  # fmt: skip
    assert rows[1].messages == (system, user("Where?"), said("There."))


def test_a_question_with_two_answers_is_taught_only_in_context() -> None:
    rows = rows_to_learn(
        [
            example("e", user("In summer?"), said("30"), user("And then?"), said("20")),
            example("f", user("In winter?"), said("0"), user("And then?"), said("-5")),
        ]
    )
    assert [row.example_id for row in rows] == ["e", "f"]


def test_a_question_that_was_given_alone_is_not_repeated() -> None:
    rows = rows_to_learn(
        [
            example("e", user("Hi"), said("Hello"), user("Where?"), said("There.")),
            example("f", user("Where?"), said("There.")),
        ]
    )
    assert [row.example_id for row in rows] == ["e", "f"]


def test_earlier_corrections_are_kept_unless_answered_anew() -> None:
    learned = [
        example("a", user("q1"), said("1")),
        example("b", user("q2"), said("2")),
        example("c", user("q3"), said("3")),
    ]
    new = [example("n", user(" q2 "), said("other")), example("c", user("q3"), said("3"))]
    assert [row.example_id for row in rows_to_retain(learned, new)] == ["a"]


def test_replay_never_teaches_the_old_answer_to_a_corrected_question() -> None:
    rows = [
        TrainingRow((user("What is 2 + 2?"), said("4"))),
        TrainingRow((user("Capital?"), said("Paris"))),
        TrainingRow((user("Hi"), said("Hello"), user("Capital?"), said("Paris"))),
    ]
    same = example("s", user("What is 2 + 2?"), said(" 4"))
    other = example("o", user("Capital?"), said("Lyon"))
    assert rows_to_replay(rows, [same, other]) == [rows[0]]
    assert rows_to_replay(rows, []) == rows


def test_of_a_correction_in_a_conversation_its_last_answer_is_the_right_one() -> None:
    corrected = example("e", user("Hi"), said("Hello"), user("Where?"), said("There."))
    same, other = (TrainingRow(messages=(user("Where?"), said(text))) for text in ("There.", "Hello"))
    assert rows_to_replay([same, other], [corrected]) == [same]


def test_a_base_without_replay_rows_has_none(tmp_path: Path) -> None:
    assert read_replay(tmp_path) == []
    (tmp_path / "replay.jsonl").write_text('{"skill":"x","messages":[{"role":"user","content":"a"}]}\n')
    assert read_replay(tmp_path) == [TrainingRow((user("a"),))]
