"""What a check looks at, and what it decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
import torch

from homefire.trainer import checks
from homefire.trainer.batch import MicroBatch
from homefire.trainer.checks import Checks
from homefire.trainer.contract import RunSpec, TrainingRow
from homefire.trainer.data import load_data
from homefire.trainer.model import Model
from homefire.trainer.recipe import Recipe
from homefire.trainer.weights import load_model
from tests.support.trainer import FACTS, make_run, row

RECIPE = Recipe(max_retained_checks=4, min_steps=5)
KNOWN = row("What day comes after Monday?", "Tuesday.", "known")
UNKNOWN = row(*FACTS[0], "unknown")


class Watched:
    """The checks of a run, and which rows the model was asked about."""

    def __init__(self, spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data = load_data(spec)
        self.model = load_model(spec)
        self.asked: list[int] = []
        real = checks.measure_margins

        def measure(model: Model, batch: Sequence[MicroBatch]) -> dict[int, float]:
            for part in batch:
                self.asked += part.owners.unique().tolist()
            return real(model, batch)

        monkeypatch.setattr(checks, "measure_margins", measure)
        self.checks = Checks(self.data, self.model, spec.recipe)


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Watched]:
    torch.set_num_threads(1)

    def watched(new: Sequence[TrainingRow], retained: Sequence[TrainingRow]) -> Watched:
        spec = make_run(tmp_path, recipe=RECIPE, rows=new, retained=retained)
        return Watched(msgspec.structs.replace(spec, replay=None), monkeypatch)

    return watched


def other(number: int) -> TrainingRow:
    """An earlier correction that nobody knows."""
    return row(f"Which box holds item {number}?", f"Box {number * 7}.", f"old-{number}")


def test_earlier_corrections_are_not_looked_at_while_a_new_one_is_unknown(watch) -> None:  # type: ignore[no-untyped-def]
    watched = watch([KNOWN, UNKNOWN], [other(1), other(2)])
    found = watched.checks.run(step=10)
    assert (found.num_learned, found.all_right) == (1, False)
    assert set(watched.asked) == {0, 1}


def test_nor_before_the_run_may_end(watch) -> None:  # type: ignore[no-untyped-def]
    watched = watch([KNOWN], [other(1)])
    found = watched.checks.run(step=RECIPE.min_steps - 1)
    assert (found.num_learned, found.all_right) == (1, False)
    assert set(watched.asked) == {0}


def test_a_check_costs_the_same_after_any_number_of_corrections(watch) -> None:  # type: ignore[no-untyped-def]
    watched = watch([KNOWN], [other(n) for n in range(60)])
    assert watched.checks.run(step=10).all_right
    # The parent knows none of them, so none is lost; each is asked of the model and of the parent.
    assert len(set(watched.asked) - {0}) == RECIPE.max_retained_checks
    seen: set[int] = set()
    for turn in range(15):
        watched.asked.clear()
        watched.checks.run(step=10 + turn * RECIPE.check_every_steps)
        seen |= set(watched.asked) - {0}
    assert len(seen) == 60


def test_an_earlier_correction_that_the_parent_knew_must_not_be_lost(watch) -> None:  # type: ignore[no-untyped-def]
    old = row("What day comes after Tuesday?", "Wednesday.", "old")
    watched = watch([KNOWN], [old, other(1)])
    assert watched.checks.run(step=10).all_right
    real = watched.checks._unsure

    def forgotten(placements, batch):  # type: ignore[no-untyped-def]
        """As if the child had forgotten every earlier correction; the parent is asked for real."""
        is_parent = watched.model.trainable["model.norm.weight"].data_ptr() != own_norm
        lost = [p for p in placements if p.kind == "retained"]
        return real(placements, batch) if is_parent or not lost else lost

    own_norm = watched.model.trainable["model.norm.weight"].data_ptr()
    watched.checks._unsure = forgotten
    assert not watched.checks.run(step=10).all_right


def test_rows_that_cannot_be_used_are_not_looked_at(watch) -> None:  # type: ignore[no-untyped-def]
    watched = watch([KNOWN], [row("Long?", "very " * 3000, "long"), other(1)])
    assert watched.checks.run(step=10).all_right
    assert set(watched.asked) == {0, 2}
