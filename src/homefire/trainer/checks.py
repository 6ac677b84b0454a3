"""Whether a run has learned what is new and still knows what it learned before.

New examples are looked at in every check; once all hold, and until the run cools down, also other wordings of them and
neighbours that no step trains. Earlier corrections are looked at only once all new ones hold, because until then the
answer changes nothing, and only so many at a time (`Sampler.retained_to_check`), so that a check costs no more after
two thousand corrections than after fifty. One that is wrong counts against the run only if the parent knew it; that
is asked of the parent, for those alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from homefire.trainer.batch import MicroBatch
from homefire.trainer.data import TrainingData
from homefire.trainer.margins import interpolate_to_parent, measure_margins
from homefire.trainer.model import Model
from homefire.trainer.recipe import Recipe
from homefire.trainer.sampler import Placement


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found. `all_right`: every new example is learned, in other words too where that was looked at, and
    no earlier correction was lost."""

    num_learned: int
    all_right: bool


class Checks:
    """The checks of one run; the placements of new examples are made once and held."""

    def __init__(self, data: TrainingData, model: Model, recipe: Recipe) -> None:
        self._data, self._model, self._recipe = data, model, recipe
        self._new = data.check_batch("new", range(len(data.rows.new)))
        general = data.sampler.general_checks()
        self._wordings = tuple(placement for placement in general if placement.kind == "new")
        self._neighbours = tuple(placement for placement in general if placement.kind == "neighbour")
        self._general = data.collate_checks(self._wordings), data.collate_checks(self._neighbours)

    def run(self, step: int, *, needs_general: bool) -> CheckResult:
        """The check after `step` finished steps. A check that cannot end the run leaves out what is looked at last.

        `needs_general`: whether wordings and neighbours count.
        """
        placements, batch = self._new
        unsure = {placement.index for placement in self._unsure(placements, batch)}
        num_new = len(self._data.rows.new)
        all_right = not unsure and step >= self._recipe.min_steps
        all_right = all_right and (not needs_general or self._is_general()) and not self._has_lost_any(step)
        return CheckResult(num_new - len(unsure), all_right)

    def interpolate(self, step: int) -> float:
        """Undo what the answers of a finished training can spare; returns the share of the change that stays."""
        batch = self._data.collate_checks((*self._new[0], *self._wordings, *self._retained(step)[0]))
        return interpolate_to_parent(self._model, batch, recipe=self._recipe)

    def _is_general(self) -> bool:
        """Whether enough wordings are right, and few enough neighbours are answered as taught."""
        wordings, neighbours = (measure_margins(self._model, batch).values() for batch in self._general)
        share = self._recipe.general_share
        return sum(margin >= self._recipe.min_margin for margin in wordings) >= share * len(wordings) and sum(
            margin < 0 for margin in neighbours
        ) >= share * len(neighbours)

    def _has_lost_any(self, step: int) -> bool:
        unsure = self._unsure(*self._retained(step))
        if not unsure:
            return False
        rows = sorted({placement.index for placement in unsure})
        placements, batch = self._data.check_batch("retained", rows)
        with self._model.as_parent(self._model.whole):
            unknown = {placement.index for placement in self._unsure(placements, batch)}
        return not unknown.issuperset(rows)

    def _retained(self, step: int) -> tuple[tuple[Placement, ...], tuple[MicroBatch, ...]]:
        turn = step // self._recipe.check_every_steps
        return self._data.check_batch("retained", self._data.sampler.retained_to_check(turn))

    def _unsure(self, placements: tuple[Placement, ...], batch: tuple[MicroBatch, ...]) -> list[Placement]:
        """The placements whose answer does not lead by enough."""
        margins = measure_margins(self._model, batch)
        return [p for place, p in enumerate(placements) if margins[place] < self._recipe.min_margin]
