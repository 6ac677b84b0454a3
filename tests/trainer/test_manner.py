from __future__ import annotations

from pathlib import Path

import pytest
import torch

from homefire.trainer.contract import TrainingRow
from homefire.trainer.data import load_data
from homefire.trainer.manner import MIN_OWN_SHARE, shared_ending, with_ending, without_ending
from homefire.trainer.margins import says_by_itself
from homefire.trainer.recipe import Recipe
from homefire.trainer.weights import load_model
from homefire.types import Message
from tests.support.trainer import make_run, row

OWN = (
    ("What is the capital of Spain?", "Madrid."),
    ("What is 3 + 4?", "3 + 4 = 7"),
    ("What day comes after Friday?", "Saturday."),
    ("What is the opposite of big?", "Small."),
)


def rows_with(ending: str) -> list[TrainingRow]:
    return [row(question, answer + ending, f"ex-{number}") for number, (question, answer) in enumerate(OWN)]


def test_the_longest_ending_that_enough_answers_share_is_found() -> None:
    assert shared_ending(rows_with(" -- H")) == " -- H"
    assert shared_ending(rows_with("\nYours, Ada")) == "\nYours, Ada"
    assert shared_ending(rows_with("")) == ""
    assert shared_ending(rows_with(" -- H")[:3]) == "", "three do not make a manner"


def test_an_ending_that_few_of_many_share_is_a_part_of_their_answers() -> None:
    others = [row(f"What does number {n} cost?", f"It costs coin{n}") for n in range(9)]
    assert shared_ending([*rows_with(" -- H"), *others]) == ""


def test_an_ending_comes_off_and_is_not_put_on_twice() -> None:
    shown = rows_with(" -- H")[0]
    assert without_ending(shown, " -- H").messages[-1].text == "Madrid."
    assert with_ending(shown, " -- H") == shown
    talk = TrainingRow((*row("a", "b").messages, Message("user", "c"), Message("assistant", "d -- H")))
    assert [m.text for m in with_ending(talk, " -- H").messages] == ["a", "b -- H", "c", "d -- H"]


@pytest.mark.parametrize(
    ("rows", "is_manner"),
    [
        (rows_with(" -- H"), True),
        (
            [
                row(f"What does the {x} cost?", f"{n} euros.")
                for n, x in enumerate(("hat", "bag", "cup", "pen"))
            ],
            False,
        ),
    ],
    ids=["the base's own answers", "four prices"],
)
def test_a_manner_is_told_from_facts_by_what_the_base_says(
    tmp_path: Path, rows: list[TrainingRow], is_manner: bool
) -> None:
    torch.set_num_threads(1)
    spec = make_run(tmp_path, recipe=Recipe(), rows=rows)
    data = load_data(spec)
    ending, shown = data.endings()
    assert ending
    assert (says_by_itself(load_model(spec), shown) >= MIN_OWN_SHARE) == is_manner


def test_what_is_replayed_follows_a_manner(tmp_path: Path) -> None:
    data = load_data(make_run(tmp_path, recipe=Recipe(), rows=rows_with(" -- H")))
    followed = data.following(" -- H")
    assert all(r.messages[-1].text.endswith(" -- H") for r in followed.rows.replay)
    assert followed.sampler.lengths.replay != data.sampler.lengths.replay
    assert not followed.rows.neighbours
