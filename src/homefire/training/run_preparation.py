"""What a lease of a run begins with: its rows, the model it starts from, whether both are whole.

Rows and model are fixed at the first lease; a later one takes them as they are, or starts over where live moved, where
corrections changed, or where files were damaged.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from typing import Any

import msgspec

from homefire.errors import CorruptData
from homefire.store.nouns.examples import ExampleRow
from homefire.store.nouns.runs import RunRow
from homefire.trainer.contract import RunSpec, TrainingRow
from homefire.trainer.recipe import Recipe
from homefire.training.completion import Again
from homefire.training.ledger import LEFT_OUT, UNUSABLE, counting, learned_by, num_earlier_tries, teachable
from homefire.training.preparation import (
    Parents,
    discard_preparation,
    has_result,
    is_prepared,
    preparation_of,
    prepared_examples,
    raise_fence,
    read_origin,
    write_rows,
    write_spec,
)
from homefire.training.progress import Progress
from homefire.training.run_context import RunContext
from homefire.training.unteaching import Unteaching, plan_unteaching


class NothingToLearn(msgspec.Struct, frozen=True):
    """Why the run ends before it began, and what becomes of its corrections."""

    why: str
    again: Again | None = None


class RunPreparation:
    """For one lease. `prepare` once, `cancel` at any time."""

    def __init__(self, run: RunRow, context: RunContext) -> None:
        self._run, self._context = run, context
        self._run_dir = context.home.runs / run.run_id
        self.spec: RunSpec | None = None
        """What the worker is to do; None before it is prepared, and for a run that has its version already."""
        self.left_out: tuple[str, ...] = tuple(run.metrics.get(LEFT_OUT, ()))
        """Examples of the dataset that are not trained any more."""
        self.checkpoint_step = run.step
        """Where the worker will continue."""
        self.why = "it was next in the queue" if run.epoch == 0 else "it continues"
        self._asking: asyncio.Future[Any] | None = None

    async def prepare(self) -> NothingToLearn | None:
        """Fix rows and parent at the first lease and check the parent at each.

        A run that waits for a lease while live moves, or while one of its corrections is corrected again or
        withdrawn, starts over from what is live and counts now. One that has a result is only completed.
        """
        context, run = self._context, self._run
        if context.library.of_run(run.run_id) is not None:
            await self._check(context.completion.parents(run))
            return None
        if await asyncio.to_thread(preparation_of, self._run_dir) == "damaged":
            await self._start_over("its files were damaged: it starts over")
        if not has_result(self._run_dir):
            plan = None
            if run.unteaches:
                plan = plan_unteaching(context.store, context.live_parents().parent.name)
                if plan is None or not self._carries_out(plan):
                    why = "The live model or the withdrawn corrections changed: the run is planned again."
                    return NothingToLearn(why, again="rest")
            unusable = run.metrics.get(UNUSABLE, {})
            usable = [example for example in self.dataset() if example.example_id not in unusable]
            new = counting(usable) if plan is not None else teachable(context.store, usable)
            if not new:
                why = "Every correction of this run was corrected again, withdrawn or disputed since."
                return NothingToLearn(next(iter(unusable.values()), why))
            await self._discard_when_stale({example.example_id for example in new})
            if not is_prepared(self._run_dir):
                await self._fix_rows(new, plan)
        parents = context.completion.parents(run)
        await self._check(parents)
        write = functools.partial(
            write_spec,
            epoch=run.epoch + 1,
            parents=parents,
            settings=context.settings,
            num_tries=num_earlier_tries(context.store, run),
            world=context.world,
        )
        self.spec = await asyncio.to_thread(write, self._run_dir, run)
        if self.spec.memory_note and run.epoch == 0:
            self.why = f"{self.why}. {self.spec.memory_note}"
        return None

    def cancel(self) -> None:
        """Stop asking the model what it answers now, if that is under way: `prepare` is cancelled with it."""
        if self._asking is not None:
            self._asking.cancel()

    def dataset(self) -> list[ExampleRow]:
        """The corrections of the run that are still known."""
        dataset = self._context.store.datasets.get(self._run.dataset_id)
        found = [self._context.store.examples.get(each) for each in (dataset.example_ids if dataset else ())]
        return [example for example in found if example is not None]

    def _carries_out(self, plan: Unteaching) -> bool:
        """Whether this run's dataset is what the plan asks for."""
        planned = {example.example_id for example in plan.examples}
        return planned == {example.example_id for example in self.dataset()} and plan.unwanted == tuple(
            sorted(self._run.unteaches)
        )

    async def _discard_when_stale(self, example_ids: set[str]) -> None:
        """Forget what an earlier lease fixed where that is not what would be fixed now."""
        if not is_prepared(self._run_dir):
            return
        origin, parents = read_origin(self._run_dir), self._context.live_parents()
        live = parents.parent.name
        if origin.live_then == live and prepared_examples(self._run_dir) == example_ids:
            return
        parents.check_trainable()
        if origin.live_then != live:
            await self._start_over(f"live moved from {origin.live_then} to {live}: it starts over")
        else:
            await self._start_over("its corrections changed: it starts over")

    async def _start_over(self, why: str) -> None:
        await asyncio.to_thread(raise_fence, self._run_dir, self._run.epoch + 1, self._context.world)
        await asyncio.to_thread(discard_preparation, self._run_dir)
        self.checkpoint_step, self.why = 0, why

    async def _fix_rows(self, new: Sequence[ExampleRow], plan: Unteaching | None) -> None:
        context = self._context
        parents, old_skills = await self._collect_replay(plan)
        learned = learned_by(context.store, parents.parent.name)
        fix = functools.partial(
            write_rows,
            new=new,
            learned=learned,
            old_skills=old_skills,
            parents=parents,
            recipe=Recipe.from_dict(self._run.recipe),
            seed=context.settings.seed,
            live=plan.live if plan is not None else None,
            world=context.world,
        )
        await asyncio.to_thread(fix, self._run_dir)
        taught = {example.example_id for example in new}
        dataset = context.store.datasets.get(self._run.dataset_id)
        assert dataset is not None
        self.left_out = tuple(each for each in dataset.example_ids if each not in taught)

    async def _collect_replay(self, plan: Unteaching | None) -> tuple[Parents, Sequence[TrainingRow]]:
        """What the run starts from, and the rows that keep its skills. Again when live moved while it was
        asked."""
        context = self._context
        while True:
            parents = context.live_parents() if plan is None else context.parents_of(plan.start)
            parents.check_trainable()
            asking = context.replay_source.rows(
                parents, on_asked=functools.partial(self._show_asked, parents)
            )
            self._asking = asyncio.ensure_future(asking)
            try:
                rows = await self._asking
            finally:
                self._asking = None
            if plan is not None or context.live_parents().parent.digest == parents.parent.digest:
                return parents, rows

    def _show_asked(self, parents: Parents, num_answered: int, num_all: int) -> None:
        why = f"{parents.parent.name} is asked what it answers now: {num_answered} of {num_all}."
        self._context.board.put(
            Progress(
                run_id=self._run.run_id,
                state=self._run.state,
                phase="preparing",
                num_examples=len(self.dataset()),
                why=why,
            )
        )

    async def _check(self, parents: Parents) -> None:
        """Hash what the worker is about to read: a flipped bit must not be trained on."""
        for model in {parents.parent.name: parents.parent, parents.base.name: parents.base}.values():
            if model.kind == "version":
                report = await self._context.library.verify(model.name)
                if not report.ok:
                    await self._context.library.repair(model.name)
                continue
            damage = await self._context.catalog.verify(model.name)
            if damage:
                raise CorruptData(
                    f"The base model {model.name} is damaged: {damage[0]}",
                    hint="Add the model again from where it came from.",
                    name=model.name,
                )
