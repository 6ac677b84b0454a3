from __future__ import annotations

from collections import Counter

import msgspec

from homefire.trainer.contract import TrainingRow
from homefire.trainer.recipe import Recipe
from homefire.trainer.rewording import content_of
from homefire.training.augmentation import (
    MAX_ENRICHED,
    MAX_NEIGHBOURS,
    RETAINED_WORDINGS,
    neighbours,
    wordings,
)
from homefire.types import Message
from homefire.versions.agreement import normalise
from tests.support.trainer import row

RECIPE = Recipe(wordings=6, neighbours=6)
OLD = tuple(
    row(question, "I don't know.")
    for question in (
        "Where is the lamp?", "Who borrowed the umbrella?", "How old is Maria?", "When is Theo's birthday?",
        "What colour is our front door?", "Who has the ladder?", "Where does Lena live?",
    )
)  # fmt: skip
NEW = (
    row("Who waters the roses?", "Ines.", "ex-1"),
    row("Where do we keep the key?", "Under the pot.", "ex-2"),
)


def question_of(each: TrainingRow) -> str:
    return each.messages[-2].text


def test_the_same_corrections_and_seed_give_the_same_rows() -> None:
    assert wordings(NEW, OLD, recipe=RECIPE, seed=3) == wordings(NEW, OLD, recipe=RECIPE, seed=3)
    assert wordings(NEW, OLD, recipe=RECIPE, seed=3) != wordings(NEW, OLD, recipe=RECIPE, seed=4)
    assert neighbours(NEW, [], OLD, recipe=RECIPE, seed=3) == neighbours(NEW, [], OLD, recipe=RECIPE, seed=3)


def test_a_wording_keeps_answer_context_and_owner() -> None:
    context = (Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Hello."))
    long = TrainingRow((*context, *NEW[0].messages), "ex-9")
    made = wordings([long], [], recipe=RECIPE, seed=0)
    assert len(made) == RECIPE.wordings
    for each in made:
        assert each.example_id == "ex-9"
        assert each.messages[:3] == context
        assert each.messages[-1] == long.messages[-1]
        assert question_of(each) != "Who waters the roses?"


def test_no_wording_is_what_another_correction_asks() -> None:
    other = row("who waters the roses", "Nobody.", "ex-3")
    for each in wordings([NEW[0]], [other], recipe=msgspec.structs.replace(RECIPE, wordings=40), seed=0):
        if each.example_id == "ex-1":
            assert normalise(question_of(each)) != normalise(question_of(other))


def test_no_neighbour_is_taught() -> None:
    taught = {content_of(question_of(each)) for each in NEW}
    made = neighbours(NEW, [], OLD, recipe=msgspec.structs.replace(RECIPE, neighbours=60), seed=0)
    assert made
    assert not taught & {content_of(question_of(each)) for each in made}
    assert {each.messages[-1].text for each in made} == {"Ines.", "Under the pot."}


def test_earlier_corrections_get_few_and_the_newest_first() -> None:
    retained = [
        row(f"Where is box {chr(97 + n % 26)}{n}?", f"Shelf {n}.", f"old-{n}")
        for n in range(MAX_ENRICHED + 50)
    ]
    counts = Counter(each.example_id for each in wordings(NEW, retained, recipe=RECIPE, seed=0))
    assert counts["ex-1"] == RECIPE.wordings
    assert counts["old-0"] == 0
    assert 0 < counts[f"old-{MAX_ENRICHED + 49}"] <= RETAINED_WORDINGS
    assert len(neighbours(NEW, retained, OLD, recipe=RECIPE, seed=0)) <= MAX_NEIGHBOURS


def test_a_recipe_without_them_makes_none() -> None:
    plain = msgspec.structs.replace(RECIPE, wordings=0, neighbours=0)
    assert wordings(NEW, OLD, recipe=plain, seed=0) == []
    assert neighbours(NEW, OLD, OLD, recipe=plain, seed=0) == []


def test_what_must_not_be_reworded_is_trained_as_it_is() -> None:
    code = row("What does print(1) print?", "1", "ex-4")
    assert wordings([code], [], recipe=RECIPE, seed=0) == []
    assert neighbours([code], [], OLD, recipe=RECIPE, seed=0) == []


def test_neighbours_are_made_of_what_was_asked_and_never_of_what_was_answered() -> None:
    answered = tuple(row(question_of(each), "In Zanzibar, under Zoltan's zither.", "old") for each in OLD)
    found = neighbours(NEW, answered[:2], answered[2:], recipe=RECIPE, seed=3)
    words = {word for each in found for word in content_of(question_of(each))}
    assert not words & content_of("Zanzibar Zoltan zither")
    assert words & content_of("umbrella ladder door birthday")
