"""What keeps a training from harming: each defence is shown to work, by the same training without it.

A few steps on the bundled model. Every test compares with the defence taken away, so that it fails when somebody
deletes the defence: then both trainings are the same.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from homefire.trainer import data as trainer_data
from homefire.trainer.batch import MicroBatch, collate, encode_placement
from homefire.trainer.contract import RunSpec
from homefire.trainer.data import TrainingData, load_data
from homefire.trainer.loop import build_optimizer, train_step
from homefire.trainer.margins import measure_margins
from homefire.trainer.model import Model
from homefire.trainer.objective import DivergenceWeights
from homefire.trainer.recipe import Recipe
from homefire.trainer.sampler import Placement
from homefire.trainer.weights import load_model
from tests.support.trainer import EMBER, FACTS, make_run, row

NUM_STEPS = 18
RECIPE = Recipe(rows_per_step=6, min_replay_rows=4, min_neighbours=6, learning_rate=2e-3, warmup_steps=2)
TAUGHT = (*FACTS[:1], ("Who waters the roses?", "Our neighbour Ines does."))


@dataclass(frozen=True)
class Trained:
    """A model after a few steps, and the data of its run."""

    model: Model
    data: TrainingData


def prepare(run_dir: Path, recipe: Recipe) -> RunSpec:
    """A run with wordings and neighbours, as the server prepares it."""
    rows = [row(question, answer, f"ex-{number}") for number, (question, answer) in enumerate(TAUGHT)]
    return make_run(run_dir, recipe=recipe, rows=rows, is_augmented=True)


@functools.lru_cache(maxsize=8)
def trained(**changes: Any) -> Trained:
    """The model after a few steps with this recipe."""
    torch.set_num_threads(1)
    recipe = msgspec.structs.replace(RECIPE, **changes)
    with tempfile.TemporaryDirectory() as folder:
        spec = prepare(Path(folder), recipe)
        data, model = load_data(spec), load_model(spec)
    optimizer = build_optimizer(model, spec.recipe)
    for position in range(NUM_STEPS):
        rate = 2e-3 * min(1.0, (position + 1) / 2)
        train_step(model, optimizer, data.step_batch(position), learning_rate=rate, recipe=spec.recipe)
    return Trained(model, data)


@pytest.fixture(scope="module", autouse=True)
def forget_models() -> Iterator[None]:
    """Give the memory back."""
    yield
    trained.cache_clear()


def batch_of(data: TrainingData, placements: list[Placement]) -> tuple[MicroBatch, ...]:
    """Rows as a step would see them."""
    rows = [encode_placement(placement, data.rows, data.renderer) for placement in placements]
    first = data.num_corrections
    neighbours_from = first + len(data.rows.replay)
    return collate(rows, replay_from=first, max_tokens=4096, neighbours_from=neighbours_from)


def replayed(data: TrainingData) -> tuple[MicroBatch, ...]:
    """Old skills that the few steps did not reach."""
    return batch_of(data, [Placement("replay", index) for index in range(0, len(data.rows.replay), 9)])


def answer_logits(model: Model, part: MicroBatch) -> torch.Tensor:
    return model.logits(model.answer_hidden(part.ids, part.wanted))


@torch.no_grad()
def divergence(model: Model, batch: tuple[MicroBatch, ...]) -> float:
    """Mean Kullback–Leibler divergence from the untrained model, in nats per token."""
    fresh = load_model(make_run(Path(tempfile.mkdtemp()), recipe=Recipe(parent_weight=0.0)))
    total, count = 0.0, 0
    for part in batch:
        before = functional.log_softmax(answer_logits(fresh, part), dim=-1)
        after = functional.log_softmax(answer_logits(model, part), dim=-1)
        total += float((before.exp() * (before - after)).sum())
        count += len(part.targets)
    return total / count


@torch.no_grad()
def old_loss(trained: Trained) -> float:
    """Mean loss on old skills, in nats per token."""
    batch = replayed(trained.data)
    losses = [functional.cross_entropy(answer_logits(trained.model, part), part.targets) for part in batch]
    return float(torch.stack(losses).mean())


def distance(model: Model) -> float:
    """How far the weights are from the parent's."""
    return sum(float((p.detach() - model.parent_weights[name]).norm()) for name, p in model.trainable.items())


def held_out_wordings(trained: Trained, *, reference: Trained) -> float:
    """Mean margin of the answers under wordings that no step trains."""
    data = reference.data
    places = [p for p in data.sampler.general_checks() if p.kind == "new" and p.wording]
    margins = measure_margins(trained.model, batch_of(data, places))
    return sum(margins.values()) / len(margins)


def held_out_leaks(trained: Trained, *, reference: Trained) -> float:
    """Mean margin of taught answers after neighbours' questions that no step trains: the lower the better."""
    data = reference.data
    places = [p for p in data.sampler.general_checks() if p.kind == "neighbour"]
    assert places
    margins = measure_margins(trained.model, batch_of(data, places))
    return sum(margins.values()) / len(margins)


def test_the_divergence_from_the_base_is_held_down() -> None:
    """With more weight than by default, so that these few steps show it."""
    whole, without = trained(parent_weight=8.0), trained(parent_weight=1e-9)
    assert divergence(whole.model, replayed(whole.data)) < 0.8 * divergence(
        without.model, replayed(without.data)
    )


def test_the_weights_are_pulled_to_the_parents() -> None:
    assert distance(trained().model) < 0.97 * distance(trained(parent_decay=0.0).model)


def test_old_skills_are_replayed() -> None:
    assert old_loss(trained()) < 0.8 * old_loss(trained(replay_ratio=0.0, in_chat_share=0.0))


def test_wordings_make_an_answer_found_in_other_words() -> None:
    whole, without = trained(), trained(wordings=0)
    assert held_out_wordings(whole, reference=whole) > 0.5 + held_out_wordings(without, reference=whole)


def test_neighbours_are_not_answered_as_what_was_taught() -> None:
    whole, without = trained(), trained(neighbours=0)
    assert held_out_leaks(whole, reference=whole) < held_out_leaks(without, reference=whole) - 0.5


def test_what_is_compared_with_is_the_base_also_for_a_later_generation(tmp_path: Path) -> None:
    child = tmp_path / "child"
    child.mkdir()
    for path in EMBER.iterdir():
        (child / path.name).write_bytes(path.read_bytes())
    tensors = load_file(child / "model.safetensors")
    save_file({name: tensor * 1.1 for name, tensor in tensors.items()}, child / "model.safetensors")
    spec = make_run(tmp_path / "run", recipe=Recipe(), model_folder=child)
    model, data = load_model(spec), load_data(spec)
    part = batch_of(data, [Placement("replay", 0)])[0]
    base = load_model(make_run(tmp_path / "other", recipe=Recipe()))
    with torch.no_grad():
        with model.as_reference(model.whole):
            compared = answer_logits(model, part)
        assert torch.allclose(compared, answer_logits(base, part), atol=1e-4)
        assert not torch.allclose(compared, answer_logits(model, part), atol=1e-2)
        with model.as_parent(model.whole):
            assert torch.allclose(
                answer_logits(model, part), answer_logits(load_model(spec), part), atol=1e-4
            )


@pytest.mark.parametrize("size", [1, 3, 8])
def test_a_neighbour_counts_up_to_the_token_that_the_base_would_not_choose(size: int) -> None:
    """Also where its tokens are in several chunks."""
    follows = torch.tensor([True, False, False, True, True, False, False, True])
    places = torch.tensor([0, 0, 0, 1, 1, 1, 1, 4])
    counted = DivergenceWeights(Recipe(neighbour_weight=3.0))
    weights = [
        counted.of(
            follows[i : i + size], is_neighbour=torch.ones(size).bool()[: 8 - i], places=places[i : i + size]
        )
        for i in range(0, 8, size)
    ]
    assert torch.cat(weights).tolist() == [3, 3, 0, 3, 3, 3, 0, 3]


def test_a_replayed_token_counts_where_the_base_would_choose_it() -> None:
    follows = torch.tensor([True, False, True])
    weights = DivergenceWeights(Recipe(parent_weight=2.0)).of(
        follows, is_neighbour=torch.zeros(3).bool(), places=torch.tensor([0, 0, 1])
    )
    assert weights.tolist() == [2, 0, 2]


def test_an_untrained_model_has_nothing_to_correct_at_neighbours(tmp_path: Path) -> None:
    spec = prepare(tmp_path, RECIPE)
    data, model = load_data(spec), load_model(spec)
    batch = batch_of(data, [Placement("neighbour", index) for index in range(6)])
    report = train_step(
        model, build_optimizer(model, spec.recipe), batch, learning_rate=0.0, recipe=spec.recipe
    )
    assert report.grad_norm < 1e-3
    assert report.loss == 0.0


DATED = "{{- strftime_now('%Y-%m-%d') -}}\n"
DAY_S = 86_400.0


def dated_ids(tmp_path: Path, at_s: float) -> tuple[int, ...]:
    """The tokens of a row of a run that began at this time, of a model whose template shows the date."""
    folder = tmp_path / "dated"
    folder.mkdir(exist_ok=True)
    for path in EMBER.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    template = folder / "chat_template.jinja"
    template.write_text(DATED + template.read_text())
    spec = make_run(tmp_path / "run", recipe=Recipe(), model_folder=folder)
    data = load_data(msgspec.structs.replace(spec, began_at_s=at_s))
    return encode_placement(Placement("new", 0), data.rows, data.renderer).ids


def test_a_run_keeps_the_date_on_which_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, later = dated_ids(tmp_path, 1_000 * DAY_S), dated_ids(tmp_path, 1_001 * DAY_S)
    assert first != later, "the template shows the date of the run, not today's"
    assert dated_ids(tmp_path, 1_000 * DAY_S) == first
    # Planted bug: the date is not passed on, and every lease shows today's.
    load = trainer_data.load_renderer
    monkeypatch.setattr(trainer_data, "load_renderer", lambda folder, *, at_s: load(folder))
    assert dated_ids(tmp_path, 1_000 * DAY_S) == dated_ids(tmp_path, 1_001 * DAY_S)
