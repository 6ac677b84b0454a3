"""The stages in which ember is made."""

from __future__ import annotations

import dataclasses
import itertools
import random
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import rich.console  # noqa: E402

from ember import conversations, learner, lessons, skills, train  # noqa: E402

QUIET = rich.console.Console(quiet=True)


def small_recipe() -> learner.Recipe:
    stages = tuple(
        dataclasses.replace(stage, num_steps=2, num_facts=min(8, stage.num_facts))
        for stage in learner.Recipe().stages
    )
    return learner.Recipe(
        hidden=16, layers=1, feed_forward=16, heads=1, kv_heads=1, head_dim=16, stages=stages
    )


def weights_of(model: Any) -> dict[str, Any]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("num_done", [1, 2])
def test_a_stage_goes_on_from_saved_weights_as_if_they_were_its_own(tmp_path: Path, num_done: int) -> None:
    torch.set_num_threads(1)
    recipe = small_recipe()
    whole, _ = train.train(recipe, QUIET)
    first, _ = train.train(dataclasses.replace(recipe, stages=recipe.stages[:num_done]), QUIET)
    first.save_pretrained(tmp_path)
    resumed, _ = train.train(recipe, QUIET, num_done=num_done, done=tmp_path)
    assert is_same(weights_of(whole), weights_of(resumed))
    assert not is_same(weights_of(first), weights_of(resumed))


def test_lessons_add_questions_and_none_are_asked_without_them() -> None:
    def private_share(taught: lessons.Lessons | None) -> float:
        rng = random.Random(1)
        rows = [
            conversations.training_conversation(skills.all_skills(), rng, lessons=taught) for _ in range(300)
        ]
        answers = [m["content"] for row in rows for m in row if m["role"] == "assistant"]
        return sum(answer == skills.UNKNOWN for answer in answers) / len(answers)

    taught = lessons.Lessons(random.Random(2), num_facts=8, share=0.9)
    taught.retire_all()
    assert private_share(None) < 0.2
    assert private_share(taught) > 0.4


def test_all_made_up_facts_are_retired_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    retired_after: list[int] = []
    num_batches = 0
    monkeypatch.setattr(
        lessons.Lessons, "retire_all", lambda self: retired_after.append(num_batches), raising=True
    )
    stage = learner.Stage(
        num_steps=60, decay_steps=1, learning_rate=0.1, muon_rate=0.1, num_facts=8, fact_steps=5,
        lesson_share=0.3, unlearn_steps=45,
    )  # fmt: skip
    tokenizer = train.tokens.train_tokenizer(["a b c"], 300)
    stream = learner.batches(skills.all_skills(), tokenizer, stage, seed=1, batch_tokens=60_000)
    for _ in itertools.islice(stream, stage.num_steps):
        num_batches += 1
    assert retired_after
    assert 0 < retired_after[0] <= stage.num_steps - stage.unlearn_steps + 15
