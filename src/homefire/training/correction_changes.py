"""What a person can do with a correction after giving it: withdraw it, edit it, have it taught again.

Who gave a correction may change it, nobody else sees it. A withdrawn correction

- that waits is in no dataset any more;
- that is in a run which waits or is paused is left out when the run's rows are fixed or looked at again, at its
  lease (a dataset is immutable; which of its examples still count is decided there);
- that is being trained ends the run; the run's other corrections are queued again in the same transaction;
- that what is live was taught is un-taught (`unteaching.py`): a run makes a version that never learned it.

An edit is a new correction in place of the old one, in one transaction. Where only the answer changes, the new one
is simply what counts for that question; where the question changes, the old one is withdrawn as above.
"""

from __future__ import annotations

import contextlib
from typing import NoReturn

from homefire.errors import Conflict, InvalidRequest, NotFound
from homefire.store.events import Event
from homefire.store.nouns.examples import CorrectionWithdrawn, ExampleRow
from homefire.store.nouns.runs import RunRow
from homefire.trainer.recipe import Recipe
from homefire.training.correction_states import ACTIVE, CorrectionStates, CorrectionView
from homefire.training.corrections import Corrections
from homefire.training.dispatcher import Dispatcher
from homefire.training.ledger import examples_of, recipe_for_retry, trained_into
from homefire.training.run_context import RunContext
from homefire.training.run_lease import Ask
from homefire.training.unteaching import Unteaching, plan_unteaching
from homefire.versions.promotion import Promotion

MIN_PREFIX = 6


class CorrectionChanges:
    """Changes to corrections, each durable when the call returns."""

    def __init__(
        self,
        *,
        corrections: Corrections,
        dispatcher: Dispatcher,
        context: RunContext,
        promotion: Promotion,
    ) -> None:
        self._corrections, self._dispatcher = corrections, dispatcher
        self._context, self._store, self._promotion = context, context.store, promotion

    def find(self, example_id: str, *, principal: str) -> ExampleRow:
        """The correction with this id, or with the one id of this principal's that begins so.

        Raises NotFound, also for another principal's; Conflict where several begin so.
        """
        known = self._store.examples.get(example_id)
        if known is not None:
            if known.principal == principal:
                return known
            _not_found(example_id)
        if len(example_id) < MIN_PREFIX:
            _not_found(example_id)
        found = [
            example
            for example in self._store.examples.list()
            if example.principal == principal and example.example_id.startswith(example_id)
        ]
        if not found:
            _not_found(example_id)
        if len(found) > 1:
            raise Conflict(
                f"{len(found)} corrections begin with {example_id}.",
                hint="Give more of the id.",
                example_id=example_id,
            )
        return found[0]

    async def withdraw(self, example_id: str, *, principal: str, why: str) -> ExampleRow:
        """Take a correction back; un-teach it where what is live knows it. Withdrawing twice changes nothing.

        Raises NotFound, and Conflict for one that was corrected again (withdraw the newer one).
        """
        example = self.find(example_id, principal=principal)
        if example.superseded_by is not None and example.withdrawn_at_s is None:
            raise Conflict(
                "This correction was corrected again; the newer one counts.",
                hint=f"Withdraw {example.superseded_by[:12]} instead.",
                superseded_by=example.superseded_by,
            )
        events: tuple[Event, ...] = ()
        if example.withdrawn_at_s is None:
            events = (CorrectionWithdrawn(example_id=example.example_id, who=principal, why=why),)
        await self._take_back(example, events, who=principal, why=why or "withdrawn")
        return self._row(example.example_id)

    async def edit(
        self, example_id: str, *, principal: str, answer: str | None = None, question: str | None = None
    ) -> ExampleRow:
        """Put another correction in its place; returns the new one.

        Raises NotFound, InvalidRequest (empty, too long, nothing changed), and Conflict where the correction
        does not count any more.
        """
        example = self.find(example_id, principal=principal)
        if not example.counts:
            raise Conflict(
                "This correction does not count any more: it was corrected again or withdrawn.",
                hint="Give a new one.",
                example_id=example.example_id,
            )
        made = await self._corrections.edited(example, answer=answer, question=question, principal=principal)
        if made.example_id == example.example_id:
            raise InvalidRequest(
                "That is what the correction says already.",
                hint="Change the answer or the question.",
                param="answer",
            )
        events = made.events
        is_same_question = made.prompt_digest == example.prompt_digest
        if not is_same_question:
            withdrawn = CorrectionWithdrawn(
                example_id=example.example_id,
                who=principal,
                why="edited",
                replaced_by=made.example_id,
            )
            events = (*events, withdrawn)
        await self._take_back(
            example, events, who=principal, why="a correction was edited", unteach=not is_same_question
        )
        return self._row(made.example_id)

    async def retry(self, example_id: str, *, principal: str) -> RunRow:
        """Queue a run of this correction alone, at a lower rate where it was refused alone before.

        Raises NotFound, NotTrainable, and Conflict where it is on its way, live, or does not count any more.
        """
        example = self.find(example_id, principal=principal)
        view = self._view(example)
        if view.state not in ("refused", "stranded", "learned") or view.live:
            said = "learned and live" if view.live else view.state
            raise Conflict(
                f"This correction is {said}: there is nothing to try again.",
                hint=view.next or None,
                example_id=example.example_id,
                state=view.state,
            )
        recipe = None
        newest = next(iter(self._store.runs.of_example(example.example_id)), None)
        if newest is not None and newest.state == "refused" and len(examples_of(self._store, newest)) == 1:
            size = self._context.live_parents().parent.num_parameters
            recipe = recipe_for_retry(Recipe.from_dict(newest.recipe), size)
        run_id = await self._dispatcher.queue([example], priority="normal", name="retry", recipe=recipe)
        run = self._store.runs.get(run_id)
        assert run is not None
        return run

    async def settle(self, example_id: str, *, owner: str) -> ExampleRow:
        """End a disagreement: this answer stays, the others to its question are withdrawn and un-taught.

        For the owner of the home, whoever gave them. Raises NotFound, and Conflict where nobody disagrees.
        """
        disputed = self._store.examples.disputed()
        kept = [example for example in disputed if example.example_id.startswith(example_id)]
        if len(example_id) < MIN_PREFIX or len({example.example_id for example in kept}) > 1:
            raise Conflict("Give more of the id.", example_id=example_id)
        if not kept:
            if self._store.examples.get(example_id) is None:
                _not_found(example_id)
            raise Conflict("Nobody gave another answer to this question.", example_id=example_id)
        for rival in disputed:
            if rival.prompt_digest == kept[0].prompt_digest and rival.example_id != kept[0].example_id:
                why = "the owner kept another answer"
                withdrawn = CorrectionWithdrawn(example_id=rival.example_id, who=owner, why=why)
                await self._take_back(rival, (withdrawn,), who=owner, why=why)
        example = self._row(kept[0].example_id)
        if self._view(example).state == "stranded":
            await self._dispatcher.queue([example], priority="normal", name="settled")
        return self._row(example.example_id)

    async def _take_back(
        self,
        example: ExampleRow,
        events: tuple[Event, ...],
        *,
        who: str,
        why: str,
        unteach: bool = True,
    ) -> None:
        """Append the events, with the run that un-teaches where one is needed; end the run that learns it."""
        plan = self._plan(example) if unteach else None
        run_id = None
        if plan is not None and plan.examples:
            run_id, more = self._dispatcher.new_unteaching(plan)
            events = (*events, *more)
        if events:
            await self._store.append(*events)
        if run_id is not None:
            self._dispatcher.show_queued(run_id)
        self._dispatcher.ring()
        if plan is not None and not plan.examples:
            await self._promotion.promote(
                plan.start, who=who, why=f"a correction was un-taught: {why}", override=True
            )
        if await self._end_run_of(example, who=who, why=why) and unteach:
            await self._take_back(example, (), who=who, why=why)

    def _plan(self, example: ExampleRow) -> Unteaching | None:
        """How to un-teach it; None where nothing needs to be or a run that waits will see to it."""
        live = self._context.live_parents().parent.name
        if example.example_id not in trained_into(self._store, live):
            return None
        running = self._dispatcher.lease
        for run in (*self._store.runs.list("queued"), *self._store.runs.list("paused")):
            # A run that un-teaches is planned anew at its lease, with all that was withdrawn by then.
            if run.unteaches and (running is None or running.run_id != run.run_id):
                return None
        for run in self._store.runs.list("running"):
            if example.example_id in run.unteaches:
                return None
            if run.unteaches and any(
                each.example_id == example.example_id for each in examples_of(self._store, run)
            ):
                return None  # it is ended below, and planned anew in the same transaction
        return plan_unteaching(self._store, live, withdrawing=(example.example_id,))

    async def _end_run_of(self, example: ExampleRow, *, who: str, why: str) -> bool:
        """End the run that learns it now; True where that run made it live before it could be ended."""
        lease = self._dispatcher.lease
        if lease is None:
            return False
        runs = self._store.runs.of_example(example.example_id)
        if not any(run.run_id == lease.run_id and run.state in ACTIVE for run in runs):
            return False
        asked = f"A correction is not to be learned: {why}."
        # A conflict means that it is being promoted this moment: then it is un-taught.
        with contextlib.suppress(Conflict):
            await lease.ask(Ask("withdraw", who, asked))
        await lease.finished.wait()
        live = self._context.live_parents().parent.name
        is_withdrawn = self._row(example.example_id).withdrawn_at_s is not None
        return is_withdrawn and example.example_id in trained_into(self._store, live)

    def _view(self, example: ExampleRow) -> CorrectionView:
        live = self._context.live_parents().parent.name
        return CorrectionStates(self._store, live=live, auto=False).view(example)

    def _row(self, example_id: str) -> ExampleRow:
        row = self._store.examples.get(example_id)
        assert row is not None
        return row


def _not_found(example_id: str) -> NoReturn:
    raise NotFound(
        f"There is no correction {example_id}.",
        hint="`homefire corrections list` shows yours.",
        example_id=example_id,
    )
