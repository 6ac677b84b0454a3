"""The objective in chunks is the plain one, and the parent inside the model is the parent."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from homefire.trainer.batch import MicroBatch, collate
from homefire.trainer.contract import ExitCode, RunSpec
from homefire.trainer.loop import build_optimizer, train_step
from homefire.trainer.model import Model
from homefire.trainer.objective import add_gradients
from homefire.trainer.recipe import Recipe
from homefire.trainer.weights import load_model
from tests.support.trainer import FACTS, QUICK, Worker, make_run, row
from tests.trainer.test_loop import token_rows

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning"
)  # PEFT asks for it
VOCABULARY, HIDDEN = 448, 96
RECIPE = Recipe(learning_rate=3e-3, lora_dropout=0.0, parent_weight=0.7, parent_decay=0.0, warmup_steps=0)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that was taught something."""
    run_dir = tmp_path_factory.mktemp("parent")
    recipe = msgspec.structs.replace(
        QUICK, mode="lora", min_steps=8, max_steps=8, pull_margin=0.0, learning_rate=0.02, lora_dropout=0.0
    )
    make_run(run_dir, recipe=recipe)
    assert Worker(run_dir).finish() == ExitCode.DONE
    return run_dir / "final"


@pytest.fixture(params=["full", "lora", "lora on lora"])
def spec(tmp_path: Path, request: pytest.FixtureRequest) -> RunSpec:
    kind: str = request.param
    recipe = msgspec.structs.replace(RECIPE, mode="full" if kind == "full" else "lora")
    if kind == "lora on lora":
        return make_run(tmp_path, recipe=recipe, model_folder=request.getfixturevalue("adapter"))
    return make_run(tmp_path, recipe=recipe)


@pytest.fixture
def batch() -> tuple[MicroBatch, ...]:
    """Rows of replay and of corrections in one micro-batch each, and mixed."""
    return collate(token_rows(), replay_from=3, max_tokens=130)


def moved(model: Model, batch: tuple[MicroBatch, ...]) -> Model:
    """The model some steps from its parent, so that both predict differently."""
    optimizer = build_optimizer(model, RECIPE)
    for _ in range(2):
        train_step(model, optimizer, batch, learning_rate=3e-3, recipe=RECIPE)
    return model


def naive_gradients(model: Model, parent: Model, batch: tuple[MicroBatch, ...]) -> dict[str, torch.Tensor]:
    """By the definition: a second model for the parent, all logits at once, one row of answers after another."""
    for part in batch:
        ids, wanted = part.ids, part.wanted
        logits = model.whole(input_ids=ids).logits[:, :-1][wanted]
        losses = functional.cross_entropy(logits, part.targets, reduction="none")
        with torch.no_grad():
            theirs = functional.log_softmax(parent.whole(input_ids=ids).logits[:, :-1][wanted], dim=-1)
        ours = functional.log_softmax(logits, dim=-1)
        divergence = functional.kl_div(ours, theirs, log_target=True, reduction="none").sum(-1)
        follows = theirs.argmax(-1) == part.targets
        (losses + RECIPE.parent_weight * divergence * part.is_replay * follows).sum().backward()  # type: ignore[no-untyped-call]
    return taken(model)


def taken(model: Model) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.trainable.items() if p.grad is not None}
    for parameter in model.trainable.values():
        parameter.grad = None
    return found


def chunked_gradients(
    model: Model, batch: tuple[MicroBatch, ...], *, chunk_tokens: int
) -> dict[str, torch.Tensor]:
    model = dataclasses.replace(model, chunk_tokens=chunk_tokens)
    model.whole.train()
    for part in batch:
        add_gradients(model, part, RECIPE, scale=1.0)
    return taken(model)


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    scale = max(float(gradient.abs().max()) for gradient in one.values())
    return max(float((one[name] - other[name]).abs().max()) for name in one) / scale


@pytest.mark.parametrize("chunk_tokens", [1, 7, 10_000])
def test_gradients_in_chunks_are_those_of_the_plain_objective(
    spec: RunSpec, batch: tuple[MicroBatch, ...], chunk_tokens: int
) -> None:
    parent = load_model(spec)
    model = moved(load_model(spec), batch)
    expected = naive_gradients(model, parent, batch)
    assert largest_difference(expected, chunked_gradients(model, batch, chunk_tokens=chunk_tokens)) < 1e-5
    if chunk_tokens == 7:
        # The check sees what it is there for: without the divergence the gradient is another.
        plain = msgspec.structs.replace(RECIPE, parent_weight=0.0)
        model.whole.train()
        for part in batch:
            add_gradients(model, part, plain, scale=1.0)
        assert largest_difference(expected, taken(model)) > 1e-3


def test_a_child_that_is_still_its_parent_is_not_pulled_anywhere(
    spec: RunSpec, batch: tuple[MicroBatch, ...]
) -> None:
    """Against the base instead of the parent, a child of an adapter would be pulled back from the first step."""
    model = load_model(spec)
    replay = tuple(part for part in batch if part.is_replay.any())
    assert pull(model, replay) < 1e-4
    if "adapter_model.safetensors" in {path.name for path in Path(spec.model_folder).iterdir()}:
        for tensor in model.parent_weights.values():
            tensor.zero_()  # the planted bug: compared with the base
        assert pull(model, replay) > 1e-2


def pull(model: Model, batch: tuple[MicroBatch, ...]) -> float:
    """Norm of the divergence's gradient, as a share of the loss's."""
    sizes = []
    for weight in (0.0, 100.0):
        recipe = msgspec.structs.replace(RECIPE, parent_weight=weight)
        model.whole.train()
        for part in batch:
            add_gradients(model, part, recipe, scale=1.0)
        sizes.append(torch.cat([gradient.flatten() for gradient in taken(model).values()]))
    return float((sizes[1] - sizes[0]).norm() / sizes[0].norm()) / 100


def test_to_be_the_parent_for_a_moment_changes_nothing(spec: RunSpec, batch: tuple[MicroBatch, ...]) -> None:
    model = moved(load_model(spec), batch)
    before = copy.deepcopy(model.trainable), copy.deepcopy(model.parent_weights)
    with pytest.raises(ZeroDivisionError), model.as_parent(model.whole):
        _ = 1 / int(any(not torch.equal(p, before[1][name]) for name, p in model.trainable.items()))
    assert all(torch.equal(p, before[0][name]) for name, p in model.trainable.items())
    assert all(torch.equal(p, before[1][name]) for name, p in model.parent_weights.items())


class LargestLogits(TorchDispatchMode):
    """The most rows of any float array whose last dimension is the vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        self.num_rows = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            is_logits = tensor.is_floating_point() and tensor.dim() == 2 and tensor.shape[-1] == VOCABULARY
            if is_logits and tensor.shape[0] != HIDDEN:  # that is the head, transposed
                self.num_rows = max(self.num_rows, tensor.shape[0])
        return result


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)


def test_no_logits_of_more_than_a_chunk_exist(spec: RunSpec, batch: tuple[MicroBatch, ...]) -> None:
    model = load_model(spec)
    for chunk_tokens in (7, 10_000):
        with LargestLogits() as seen:
            chunked_gradients(model, batch, chunk_tokens=chunk_tokens)
        # 10,000 is the control: all tokens at once are noticed.
        assert (seen.num_rows == 7) == (chunk_tokens == 7)


def test_rows_without_replay_do_not_cost_the_parent_anything(tmp_path: Path) -> None:
    model = load_model(make_run(tmp_path, recipe=RECIPE, rows=[row(*FACTS[0], "x")]))
    (part,) = collate(token_rows(), replay_from=3, max_tokens=100_000)
    seen: list[int] = []

    def note(_module: object, _args: object, kwargs: dict[str, torch.Tensor], _output: object) -> None:
        seen.append(len(kwargs["input_ids"]))

    model.decoder.register_forward_hook(note, with_kwargs=True)
    add_gradients(model, part, RECIPE, scale=1.0)
    assert sorted(seen) == [3, 6]
