from __future__ import annotations

import functools
import random
from pathlib import Path

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn import functional

from homefire.errors import BadModel, NotTrainable
from homefire.trainer import stopping
from homefire.trainer.batch import MicroBatch, TokenRow, collate, group_sizes
from homefire.trainer.contract import RunSpec
from homefire.trainer.data import TrainingData, load_data
from homefire.trainer.loop import (
    Interrupted,
    NumericFailure,
    build_optimizer,
    train_step,
)
from homefire.trainer.margins import measure_margins
from homefire.trainer.model import Model
from homefire.trainer.recipe import Recipe
from homefire.trainer.stopping import StopState, advance, after_check, is_check_due, rate_at
from homefire.trainer.tensor_file import TensorFile
from homefire.trainer.weights import load_model, result_files
from tests.support.trainer import EMBER, FACTS, make_run, row

RECIPE = Recipe(learning_rate=1e-3)


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    return make_run(tmp_path, recipe=Recipe())


@pytest.fixture
def model(spec: RunSpec) -> Model:
    torch.set_num_threads(1)
    return load_model(spec)


@functools.cache
def token_rows() -> tuple[TokenRow, ...]:
    """Rows of many lengths; owners 0 … 5, of which 3 … 5 count as replay."""
    rng = random.Random(0)
    rows = []
    for owner in range(6):
        length = rng.randint(5, 60)
        answer = length // 2
        ids = tuple(rng.randrange(3, 400) for _ in range(length))
        rows.append(TokenRow(ids, (-1,) * answer + (owner,) * (length - answer)))
    return tuple(rows)


@torch.no_grad()
def naive_losses(model: Model, rows: tuple[TokenRow, ...]) -> dict[int, tuple[float, int]]:
    """One sequence at a time, without batching, padding or masks."""
    model.whole.eval()
    found = {}
    for token_row in rows:
        ids = torch.tensor([token_row.ids])
        logits = model.whole(input_ids=ids).logits[0]
        picked = [t for t in range(1, len(token_row.ids)) if token_row.owners[t] >= 0]
        losses = [functional.cross_entropy(logits[t - 1], ids[0, t]).item() for t in picked]
        found[token_row.owners[-1]] = (sum(losses), len(losses))
    return found


def gradients(model: Model, batch: tuple[MicroBatch, ...]) -> dict[str, torch.Tensor]:
    """What a step would follow, caught before the optimizer takes it."""
    caught = {}

    class Catcher(torch.optim.AdamW):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            caught.update({name: p.grad.clone() for name, p in model.trainable.items() if p.grad is not None})

    recipe = msgspec.structs.replace(RECIPE, max_grad_norm=1e9)
    train_step(model, Catcher(model.trainable.values()), batch, learning_rate=0.0, recipe=recipe)
    return caught


@pytest.mark.parametrize("max_tokens", [1, 64, 100, 10_000])
def test_losses_are_those_of_a_naive_reference_however_the_step_is_cut(model: Model, max_tokens: int) -> None:
    batch = collate(token_rows(), replay_from=3, max_tokens=max_tokens)
    optimizer = build_optimizer(model, RECIPE)
    expected = naive_losses(model, token_rows())
    report = train_step(model, optimizer, batch, learning_rate=0.0, recipe=RECIPE)
    assert report.losses.by_row.keys() == expected.keys()
    for number, (total, count) in expected.items():
        assert report.losses.by_row[number][1] == count
        assert report.losses.by_row[number][0] == pytest.approx(total, rel=1e-5)
    num_tokens = sum(count for _, count in expected.values())
    assert report.loss == pytest.approx(sum(total for total, _ in expected.values()) / num_tokens, rel=1e-5)
    assert report.num_tokens == sum(len(token_row.ids) for token_row in token_rows())


def test_accumulated_gradients_are_those_of_one_batch(model: Model) -> None:
    whole = gradients(model, collate(token_rows(), replay_from=3, max_tokens=100_000))
    cut = gradients(model, collate(token_rows(), replay_from=3, max_tokens=1))
    for name, gradient in whole.items():
        assert torch.allclose(gradient, cut[name], atol=1e-6, rtol=1e-4), name


def test_the_check_notices_wrong_accumulation(model: Model) -> None:
    parts = collate(token_rows(), replay_from=3, max_tokens=1)
    whole = gradients(model, collate(token_rows(), replay_from=3, max_tokens=100_000))
    each = [gradients(model, (part,)) for part in parts]
    name = next(iter(whole))
    mean_of_means = torch.stack([gradient[name] for gradient in each]).mean(0)
    assert not torch.allclose(whole[name], mean_of_means, atol=1e-6, rtol=1e-4)


def test_a_step_is_repeatable_bit_for_bit(spec: RunSpec) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        results = []
        for _ in range(2):
            model = load_model(spec)
            optimizer = build_optimizer(model, RECIPE)
            batch = collate(token_rows(), replay_from=3, max_tokens=200)
            for _ in range(2):
                train_step(model, optimizer, batch, learning_rate=1e-3, recipe=RECIPE)
            results.append([p.detach().clone() for p in model.trainable.values()])
        assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    finally:
        torch.use_deterministic_algorithms(False)


def test_an_interrupted_or_broken_step_changes_nothing(model: Model) -> None:
    before = {name: p.detach().clone() for name, p in model.trainable.items()}
    optimizer = build_optimizer(model, RECIPE)
    batch = collate(token_rows(), replay_from=3, max_tokens=1)
    answers = iter([True, True, False])
    with pytest.raises(Interrupted):
        train_step(
            model, optimizer, batch, learning_rate=1.0, recipe=RECIPE, should_continue=lambda: next(answers)
        )
    with torch.no_grad():
        next(iter(model.trainable.values()))[batch[0].ids[0, 0]] = torch.nan
    with pytest.raises(NumericFailure):
        train_step(model, optimizer, batch, learning_rate=1.0, recipe=RECIPE)
    assert not optimizer.state
    assert all(p.grad is None for p in model.trainable.values())
    same = [torch.equal(before[name], p) for name, p in model.trainable.items()]
    assert same.count(False) == 1


def test_weights_that_are_not_finite_are_not_written(spec: RunSpec, model: Model) -> None:
    with torch.no_grad():
        list(model.trainable.values())[-1].view(-1)[0] = torch.inf
    with pytest.raises(NumericFailure):
        result_files(model, spec)


def test_a_result_has_the_tensors_and_files_of_its_parent(
    spec: RunSpec, model: Model, tmp_path: Path
) -> None:
    files = result_files(model, spec)
    content = files["model.safetensors"]
    assert isinstance(content, TensorFile)
    (tmp_path / "out.safetensors").write_bytes(b"".join(content.pieces()))
    ours, parents = load_file(tmp_path / "out.safetensors"), load_file(EMBER / "model.safetensors")
    assert ours.keys() == parents.keys()
    assert all(torch.equal(ours[name], parents[name]) and ours[name].dtype == torch.float32 for name in ours)
    assert files["tokenizer.json"] == EMBER / "tokenizer.json"
    assert files["chat_template.jinja"] == EMBER / "chat_template.jinja"


def test_parents_that_cannot_be_trained_are_refused(spec: RunSpec, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadModel):
        load_model(msgspec.structs.replace(spec, model_folder=str(empty)))
    (empty / "adapter_config.json").write_text("{}")
    with pytest.raises(NotTrainable):
        load_model(msgspec.structs.replace(spec, model_folder=str(empty)))


def lessons_right(model: Model, data: TrainingData) -> dict[int, bool]:
    """Which new examples the check finds learned."""
    placements, batch = data.check_batch("new", range(len(data.rows.new)))
    margins = measure_margins(model, batch)
    return {p.index: margins[place] > 0 for place, p in enumerate(placements) if not p.before}


def test_the_check_agrees_with_greedy_decoding(spec: RunSpec, model: Model) -> None:
    known = row("What day comes after Monday?", "Tuesday.", "known")
    unknown = row(*FACTS[0], "unknown")
    make_run(Path(spec.examples).parent, rows=[known, unknown])
    data = load_data(spec)
    said = []
    for example in (known, unknown):
        encoded = data.renderer.encode(example.messages)
        answer = encoded.answers[-1]
        prompt = torch.tensor([encoded.ids[: answer.start]])
        output = model.whole.generate(  # type: ignore[operator]
            input_ids=prompt, max_new_tokens=30, do_sample=False, attention_mask=torch.ones_like(prompt)
        )
        said.append(output[0, answer.start :].tolist()[: answer.end - answer.start])
    expected = {
        index: said[index] == list(data.renderer.encode(e.messages).ids[-len(said[index]) - 1 : -1])
        for index, e in enumerate((known, unknown))
    }
    assert lessons_right(model, data) == expected
    assert expected[0]
    assert not expected[1]


@given(st.lists(st.integers(1, 300), max_size=40), st.integers(1, 600))
def test_groups_cover_all_rows_within_the_limit(lengths: list[int], max_tokens: int) -> None:
    lengths.sort(reverse=True)
    sizes = group_sizes(lengths, max_tokens=max_tokens)
    assert sum(sizes) == len(lengths)
    start = 0
    for size in sizes:
        assert size == 1 or lengths[start] * size <= max_tokens
        start += size


def test_rows_of_like_length_go_together() -> None:
    assert group_sizes([1000, 990, 20, 20, 19], max_tokens=10_000) == [2, 3]


RULES = Recipe(
    schedule="constant",
    learning_rate=1.0,
    warmup_steps=4,
    max_steps=50,
    min_steps=10,
    check_every_steps=5,
    checks_to_stop=2,
    cooldown_steps=8,
    cooldown_share=1.0,
)


def follow(
    learned_from: int,
    recipe: Recipe = RULES,
    lost_at: frozenset[int] = frozenset(),
    planned: int = 1000,
    num_learned: int | None = None,
) -> tuple[int, list[float]]:
    """Runs the rules against a model that knows everything from a step on; (steps taken, rates)."""
    state, step, rates = StopState(), 0, []
    while not state.done:
        rates.append(rate_at(step, state, recipe, planned=planned))
        step += 1
        if is_check_due(state, step=step, recipe=recipe):
            is_right = step >= learned_from and step not in lost_at
            state = after_check(
                state,
                step=step,
                num_learned=num_learned if num_learned is not None else int(is_right),
                num_new=20,
                all_right=is_right,
                recipe=recipe,
                planned=planned,
            )
        else:
            state = advance(state, step=step, recipe=recipe, planned=planned)
        assert msgspec.json.decode(msgspec.json.encode(state), type=StopState) == state
    return step, rates


def test_ends_after_checks_in_a_row_and_a_cooldown() -> None:
    steps, rates = follow(learned_from=12)
    assert steps == 20 + RULES.cooldown_steps
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:20] == [1.0] * 16
    assert rates[20:] == pytest.approx([1 - (i + 1) / 9 for i in range(8)])


@pytest.mark.parametrize(("step", "due"), [(99, False), (100, True)])
def test_the_last_step_is_checked_though_the_cooldown_would_take_longer(step: int, due: bool) -> None:
    recipe = Recipe(max_steps=100, cooldown_steps=50, cooldown_share=1.0)
    assert is_check_due(StopState(cooldown_from=90), step=step, recipe=recipe) is due


def test_does_not_end_before_the_minimum() -> None:
    assert follow(learned_from=0)[0] == 15 + RULES.cooldown_steps


def test_learns_on_when_the_cooldown_lost_an_example() -> None:
    steps, rates = follow(learned_from=0, lost_at=frozenset({23, 25}))
    assert steps > 23 + RULES.cooldown_steps
    assert rates[23] == 1.0


def test_cools_down_before_the_last_step_when_nothing_is_learned() -> None:
    steps, rates = follow(learned_from=1000)
    assert steps == RULES.max_steps
    assert rates[41] == 1.0
    assert rates[-1] == pytest.approx(1 / 9)


@given(
    st.integers(0, 60), st.integers(0, 60), st.integers(1, 60), st.frozensets(st.integers(0, 60), max_size=20)
)
def test_always_ends(learned_from: int, cooldown: int, max_steps: int, lost_at: frozenset[int]) -> None:
    recipe = msgspec.structs.replace(
        RULES, cooldown_steps=cooldown, max_steps=max_steps, min_steps=min(10, max_steps)
    )
    steps, rates = follow(learned_from, recipe, lost_at)
    assert min(10, max_steps) <= steps <= max_steps
    assert all(0 < rate <= 1 for rate in rates)


def test_cosine_falls_to_nothing() -> None:
    recipe = msgspec.structs.replace(RULES, schedule="cosine", warmup_steps=0)
    assert rate_at(0, StopState(), recipe, planned=50) == 1.0
    assert rate_at(25, StopState(), recipe, planned=50) == pytest.approx(0.5)
    assert stopping.rate_at(49, StopState(), recipe, planned=50) < 0.01


def test_falls_to_the_floor_over_the_planned_steps_and_stays_there() -> None:
    recipe = msgspec.structs.replace(RULES, schedule="linear", floor_share=0.2, warmup_steps=0)
    rates = [rate_at(step, StopState(), recipe, planned=40) for step in (0, 20, 40, 45)]
    assert rates == pytest.approx([1.0, 0.6, 0.2, 0.2])


def test_cools_down_when_the_planned_steps_are_over_and_learns_on_where_that_was_too_early() -> None:
    recipe = msgspec.structs.replace(RULES, schedule="linear", floor_share=0.2, max_steps=100)
    steps, rates = follow(learned_from=36, recipe=recipe, planned=20, num_learned=19)
    assert rates[20:28] == pytest.approx([0.2 * (1 - (i + 1) / 9) for i in range(8)]), "learned or not"
    assert rates[28:38] == pytest.approx([0.2] * 10), "it goes on at the lower rate, for half as long"
    assert rates[38] < 0.2
    assert steps == len(rates) < 50, "and ends with its second cooldown"
    assert follow(learned_from=1000, recipe=recipe, planned=20, num_learned=19)[0] == steps, "with most known"
    assert follow(learned_from=1000, recipe=recipe, planned=20, num_learned=2)[0] == 100, (
        "with little known it goes on"
    )


def test_learns_on_at_twice_the_rate_while_most_is_not_known() -> None:
    recipe = msgspec.structs.replace(RULES, schedule="linear", floor_share=0.25, max_steps=200)
    _, rates = follow(learned_from=1000, recipe=recipe, planned=20, num_learned=2)
    highest = [max(rates[begin : begin + 10]) for begin in (28, 46, 64, 82)]
    assert highest == pytest.approx([0.25, 0.5, 1.0, 1.0]), "at most the recipe's own rate"
    _, rates = follow(learned_from=1000, recipe=recipe, planned=20, num_learned=10)
    assert max(rates[28:]) == pytest.approx(0.25), "half is known: the rate is not too low"
    assert rate_at(30, StopState(), RULES, planned=20, share=0.4) == pytest.approx(0.4)
    assert rate_at(30, StopState(times_raised=1), RULES, planned=20, share=0.4) == pytest.approx(0.8)


def test_an_adapter_is_pulled_back_less_than_a_whole_model() -> None:
    full, lora = (Recipe(mode=mode).resolved(1000) for mode in ("full", "lora"))
    assert (full.parent_decay, lora.parent_decay) == (10.0, 2.0)
    assert Recipe(mode="lora", parent_decay=0.0).resolved(1000).parent_decay == 0.0
