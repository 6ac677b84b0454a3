from __future__ import annotations

import math
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homefire.errors import ConfigError
from homefire.trainer.contract import TrainingRow
from homefire.trainer.recipe import FULL_MAX_PARAMETERS, Recipe
from homefire.trainer.sampler import (
    Placement,
    RowLengths,
    Sampler,
    asks_any,
    compose,
    normalize_prompt,
    taught_questions,
)
from homefire.types import Message
from tests.support.trainer import row

LENGTHS = st.lists(st.integers(4, 400), max_size=30).map(tuple)


@st.composite
def samplers(draw: st.DrawFn) -> Sampler:
    lengths = RowLengths(
        new=draw(st.lists(st.integers(4, 400), min_size=1, max_size=30).map(tuple)),
        retained=draw(LENGTHS),
        replay=draw(LENGTHS),
        context_tokens=draw(st.sampled_from((400, 700, 2048))),
        keeps_history=draw(st.booleans()),
    )
    recipe = Recipe(
        rows_per_step=draw(st.integers(1, 20)),
        rows_per_example=draw(st.integers(1, 5)),
        replay_ratio=draw(st.sampled_from((0.0, 0.5, 1.0, 2.0))),
        min_replay_rows=draw(st.integers(0, 8)),
        in_chat_share=draw(st.sampled_from((0.0, 0.25, 0.5, 1.0))),
        retained_share=draw(st.sampled_from((0.0, 0.25, 1.0))),
    )
    return Sampler(lengths, recipe, draw(st.integers(0, 5)))


def every_check(sampler: Sampler) -> tuple[Placement, ...]:
    """Where each correction is looked at."""
    lengths = sampler.lengths
    new = sampler.checks("new", range(len(lengths.new)))
    return (*new, *sampler.checks("retained", range(len(lengths.retained))))


@given(st.integers(0, 200), st.integers(1, 30), st.integers(0, 1000))
def test_checks_in_a_row_look_at_each_earlier_correction_within_a_bound(
    num: int, most: int, turn: int
) -> None:
    sampler = Sampler(RowLengths((10,), (10,) * num, (), 2048), Recipe(max_retained_checks=most), 0)
    num_turns = -(-num // most)
    looked_at = [sampler.retained_to_check(turn + each) for each in range(num_turns)]
    assert all(len(set(indices)) == len(indices) <= most for indices in looked_at)
    assert {index for indices in looked_at for index in indices} == set(range(num))


@pytest.mark.parametrize("num", [0, 4, 5])
def test_what_a_check_can_afford_is_looked_at_whole_and_in_order(num: int) -> None:
    sampler = Sampler(RowLengths((10,), (10,) * num, (), 2048), Recipe(max_retained_checks=5), 0)
    assert [sampler.retained_to_check(turn) for turn in range(3)] == [tuple(range(num))] * 3


@given(samplers(), st.lists(st.integers(0, 300), min_size=1, max_size=5))
def test_a_step_depends_on_nothing_but_seed_and_position(sampler: Sampler, positions: list[int]) -> None:
    forward = {position: sampler.step(position) for position in positions}
    random.random()  # the sampler must not draw from what others draw from
    again = Sampler(sampler.lengths, sampler.recipe, sampler.seed)
    assert {position: again.step(position) for position in reversed(positions)} == forward


@given(samplers())
@settings(max_examples=60)
def test_every_example_is_in_every_pass(sampler: Sampler) -> None:
    num_new = len(sampler.lengths.new)
    num_steps = 3 * num_new
    seen = [p.index for step in range(num_steps) for p in sampler.step(step) if p.kind == "new"]
    assert len(seen) == num_steps * sampler.new_per_step
    for start in range(0, len(seen) - num_new + 1, num_new):
        assert sorted(seen[start : start + num_new]) == list(range(num_new))


@given(samplers(), st.integers(0, 50))
def test_a_step_has_the_promised_mixture(sampler: Sampler, position: int) -> None:
    kinds = [placement.kind for placement in sampler.step(position)]
    assert kinds.count("new") == sampler.new_per_step
    num_new = len(sampler.lengths.new)
    assert sampler.new_per_step <= max(
        min(sampler.recipe.rows_per_step, sampler.recipe.rows_per_example * num_new),
        math.ceil(sampler.recipe.examples_share * num_new),
    )
    assert kinds.count("retained") == sampler.retained_per_step
    assert kinds.count("replay") == sampler.replay_per_step
    if sampler.lengths.replay and sampler.recipe.replay_ratio and not sampler.lengths.retained:
        assert kinds.count("replay") >= sampler.recipe.min_replay_rows
        assert kinds.count("replay") >= round(sampler.recipe.replay_ratio * sampler.new_per_step)


@given(samplers(), st.integers(0, 50))
def test_no_conversation_is_longer_than_allowed(sampler: Sampler, position: int) -> None:
    for placement in (*sampler.step(position), *every_check(sampler)):
        around = [sampler.lengths.replay[index] for index in (*placement.before, *placement.after)]
        own = {
            "new": sampler.lengths.new,
            "retained": sampler.lengths.retained,
            "replay": sampler.lengths.replay,
        }
        total = own[placement.kind][placement.index] + sum(around)
        assert not around or total <= min(sampler.recipe.chat_tokens, sampler.lengths.context_tokens)
        if not sampler.lengths.keeps_history:
            assert placement.after == ()


def test_examples_stand_alone_and_in_chats_in_the_wanted_proportion() -> None:
    sampler = Sampler(RowLengths((10,) * 8, (), (10,) * 50, 2048), Recipe(in_chat_share=0.25), 0)
    for index in range(8):
        placements = [
            p for step in range(100) for p in sampler.step(step) if p.kind == "new" and p.index == index
        ]
        share = sum(bool(p.before or p.after) for p in placements) / len(placements)
        assert share == pytest.approx(0.25, abs=0.02)
    assert any(p.before and p.after for step in range(10) for p in sampler.step(step))


def test_checks_ask_alone_and_in_conversations_that_no_step_trains() -> None:
    sampler = Sampler(RowLengths((10, 10), (10,), (10,) * 400, 2048), Recipe(), 0)
    checks = every_check(sampler)
    assert [(p.kind, p.index, bool(p.before)) for p in checks] == [
        ("new", 0, False),
        ("new", 0, True),
        ("new", 1, False),
        ("new", 1, True),
        ("retained", 0, False),
        ("retained", 0, True),
    ]
    trained = {placement for step in range(200) for placement in sampler.step(step)}
    assert not trained & {p for p in checks if p.before}


def test_another_seed_is_another_order() -> None:
    lengths = RowLengths((10,) * 20, (), (10,) * 20, 2048)
    assert Sampler(lengths, Recipe(), 0).step(0) != Sampler(lengths, Recipe(), 1).step(0)


def test_a_conversation_has_one_system_message_at_its_head() -> None:
    first = TrainingRow((Message("system", "S1"), *row("q1", "a1").messages))
    main = TrainingRow((Message("system", "S2"), *row("q2", "a2").messages))
    composed = compose((first, main, row("q3", "a3")), main=1)
    assert [m.content for m in composed.messages] == ["S2", "q1", "a1", "q2", "a2", "q3", "a3"]
    assert composed.parts == (1, 0, 0, 1, 1, 2, 2)
    assert compose((first, row("q2", "a2")), main=1).messages[0].content == "S1"


def test_replay_that_would_teach_the_old_answer_is_left_out() -> None:
    replay = (row("what is 2 + 2", "4"), row("What is 2 + 3?", "5"), row("WHAT IS 2+2 ??", "4"))
    longer = TrainingRow((*row("Hi", "Hello").messages, *row("What is 2 + 2?", "4").messages))
    taught = taught_questions([row("What is 2 + 2?", "5")])
    assert [each for each in (*replay, longer) if not asks_any(each, taught)] == [replay[1]]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What is 2 + 2?", "what is 2+2", True),
        ("What is 2 + 2?", "What is 2 - 2?", False),
        ("ＷＩＦＩ password?", "wifi password ...", True),
        ("?", "", True),
    ],
)
def test_questions_are_the_same_but_for_accidents_of_typing(one: str, other: str, same: bool) -> None:
    assert (normalize_prompt(one) == normalize_prompt(other)) == same


def test_a_placement_is_a_value() -> None:
    assert Placement("new", 0) == Placement("new", 0, (), ())


@given(
    st.builds(
        Recipe,
        learning_rate=st.none() | st.floats(1e-6, 1.0),
        rows_per_step=st.integers(1, 64),
        in_chat_share=st.floats(0, 1),
        lora_targets=st.lists(st.text(min_size=1), min_size=1, max_size=3).map(tuple),
    )
)
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    assert Recipe.from_dict(msgspec.json.decode(msgspec.json.encode(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"lr": 1}, "lr"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"max_steps": 0}, "max_steps"),
        ({"min_steps": 20, "max_steps": 10}, "min_steps"),
        ({"in_chat_share": 1.5}, "in_chat_share"),
        ({"lora_dropout": 1.0}, "lora_dropout"),
        ({"lora_targets": []}, "lora_targets"),
        ({"mode": "half"}, "mode"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(values: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Recipe.from_dict(values)


def test_the_mode_follows_from_the_size_unless_it_is_chosen() -> None:
    assert Recipe().resolved(FULL_MAX_PARAMETERS).mode == "full"
    assert Recipe().resolved(FULL_MAX_PARAMETERS + 1).mode == "lora"
    assert Recipe(mode="lora").resolved(1000).mode == "lora"
    assert Recipe(learning_rate=0.5).resolved(1000).learning_rate == 0.5
    assert Recipe().resolved(1000).learning_rate is not None
