"""The queue of runs: collects waiting corrections, starts the next run, records how it ended.

One run at a time, the most urgent first, the oldest among equals. Everything it knows is in the log: after a
restart it queues again what was running, and the run continues where its files say it was. What it cannot do
now (a full disk, a live model that cannot be taught) it says in `blocked` and tries again, less and less often.

A bad run never holds up the others: what goes wrong with a run makes that run `failed`, with the reason, and the
next one is taken. What the machine lacks for everyone (room, memory, descriptors) fails nothing: the run waits and
continues. What becomes of a run's corrections (another try, a new start from what is live) is queued in the same
transaction as its end. Should the loop itself end, it is started again and `ended_because` says why, unless the
store takes no more writes: then it stays ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from homefire.errors import HomefireError, NotTrainable, StoreError
from homefire.store.events import Event
from homefire.store.nouns.datasets import DatasetCreated
from homefire.store.nouns.examples import ExampleRow
from homefire.store.nouns.runs import RunMoved, RunQueued, RunRow
from homefire.store.run_states import ENDED
from homefire.trainer.recipe import Recipe
from homefire.training.datasets import dataset_id_of
from homefire.training.failures import as_store_error, is_shortage
from homefire.training.ledger import (
    LOST_EARLIER,
    counting,
    examples_of,
    learned_by,
    num_refused_tries,
    recipe_for_retry,
    results_in,
    teachable,
    tries_of,
)
from homefire.training.next_runs import Plan, after_promotion, after_refusal
from homefire.training.preparation import recipe_from_settings
from homefire.training.progress import Progress, progress_of
from homefire.training.quiet import QuietTime
from homefire.training.run_context import RunContext
from homefire.training.run_lease import Ending, RunLease
from homefire.training.unteaching import Unteaching, plan_unteaching

logger = logging.getLogger(__name__)

Priority = Literal["high", "normal", "low"]
GOODBYE_S = 5.0
"""How long a worker may take to save when the server stops."""
FAREWELL_S = 0.5
"""How long after that the log may take for the run's last move; a judgement under way is dropped."""
RETRY_S = 1.0
"""How long to wait before looking again at what could not be done; doubled each time up to `MAX_RETRY_S`."""
MAX_RETRY_S = 30.0
_RESTARTED = "The server was restarted; the run continues."
_RANK: dict[Priority, int] = {"high": 0, "normal": 1, "low": 2}


def next_run(
    queued: Sequence[RunRow], *, not_before: Mapping[str, float], now_s: float
) -> tuple[RunRow | None, float | None]:
    """The run whose turn it is, or None and the seconds until one may start (None: there is none).

    `queued` comes in any order. A run that pauses after a failure does not hold up the others.
    """
    ready = [run for run in queued if not_before.get(run.run_id, 0.0) <= now_s]
    if ready:
        return min(ready, key=lambda run: (_RANK[run.priority], run.queued_at_s, run.run_id)), None
    return None, min((not_before[run.run_id] - now_s for run in queued), default=None)


class FollowUp(msgspec.Struct, frozen=True):
    """What becomes of a run's corrections when it ends: a sentence, and the runs to queue with it."""

    sentence: str = ""
    events: tuple[Event, ...] = ()
    run_ids: tuple[str, ...] = ()


class Dispatcher:
    """Takes one run after the other. One for each server."""

    def __init__(self, context: RunContext, *, auto: bool, quiet_s: float | None, max_tries: int) -> None:
        self._context, self._auto = context, auto
        self._max_tries = max_tries
        self.lease: RunLease | None = None
        self.blocked: str | None = None
        """Why what waits is not trained now."""
        self.ended_because: str | None = None
        """Why nothing is trained, although it should be; None while the loop works."""
        self._left_because: dict[str, str] = {}
        self._num_troubles = 0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._bell = asyncio.Event()
        self._not_before: dict[str, float] = {}
        self._num_refusals: Counter[str] = Counter()
        self._quiet = QuietTime(quiet_s)
        self._is_stopping = False

    def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.create_task(self._work(), name="training")
        self._task.add_done_callback(self._notice_end)

    async def stop(self) -> None:
        """Let a worker save and leave; its run continues at the next start."""
        self._is_stopping = True
        self._stopping.set()
        self._bell.set()
        if self._task is None:
            return
        if self.lease is not None:
            await self.lease.leave(GOODBYE_S)
        await asyncio.wait([self._task], timeout=FAREWELL_S)
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        await self._context.warm.stop()

    def note_correction(self) -> None:
        """A correction comes: once it is durable, it waits a little for others. `ring` when it is."""
        self._quiet.given(self._context.world.clock.monotonic_s())

    async def make_way(self) -> None:
        """Have what holds memory for training end; the run that is interrupted continues later."""
        await self._context.warm.park()
        if self.lease is not None:
            await self.lease.make_way()

    def go_on(self) -> bool:
        """There is room again; whether anything waits for it."""
        self._context.warm.unpark()
        self.ring()
        store = self._context.store
        return bool(store.runs.list("queued") or (self._auto and store.examples.pending()))

    def ring(self) -> None:
        """There may be something to do."""
        self._bell.set()

    async def queue(
        self,
        examples: Sequence[ExampleRow],
        *,
        priority: Priority,
        name: str,
        recipe: Recipe | None = None,
    ) -> str:
        """Queue a run of these examples from what is live; its id. Raises NotTrainable.

        `recipe=None`: what the settings ask for.
        """
        self._context.live_parents().check_trainable()
        run_id, events = self._new_run(examples, priority=priority, name=name, recipe=recipe)
        await self._context.store.append(*events)
        self.show_queued(run_id)
        return run_id

    def new_unteaching(self, plan: Unteaching) -> tuple[str, tuple[Event, ...]]:
        """A run that carries out the plan, as events to append. Raises NotTrainable."""
        self._context.parents_of(plan.start).check_trainable()
        return self._new_run(plan.examples, priority="high", name="un-teaching", plan=plan)

    def show_queued(self, run_id: str) -> None:
        """Let those who watch see a run that was queued, and the loop take it."""
        self._context.board.put(Progress(run_id=run_id, state="queued", phase="waiting"))
        self.ring()

    async def move(self, run: RunRow, ending: Ending) -> None:
        """Write a run's new state to the log, with what becomes of its corrections, then show it.

        Raises Conflict where it may not move so.
        """
        if ending.state == "queued":
            self._not_before[run.run_id] = self._context.world.clock.monotonic_s() + ending.pause_s
        follow_up = self._follow_up(run, ending)
        why = f"{ending.why} {follow_up.sentence}".rstrip()
        await self._context.store.append(
            RunMoved(
                run_id=run.run_id,
                state=ending.state,
                epoch=run.epoch,
                who=ending.who,
                why=why,
                attempts=ending.attempts,
                step=ending.step,
                metrics=ending.metrics,
            ),
            *follow_up.events,
        )
        shown = self._context.board.get(run.run_id) or progress_of(run)
        self._context.board.put(
            msgspec.structs.replace(
                shown,
                state=ending.state,
                phase="done" if ending.state in ENDED else "waiting",
                who=ending.who,
                why=why,
            )
        )
        for run_id in follow_up.run_ids:
            self.show_queued(run_id)
        self.ring()

    def _new_run(
        self,
        examples: Sequence[ExampleRow],
        *,
        priority: Priority,
        name: str,
        recipe: Recipe | None = None,
        plan: Unteaching | None = None,
    ) -> tuple[str, tuple[Event, ...]]:
        parents = self._context.live_parents() if plan is None else self._context.parents_of(plan.start)
        ids = tuple(example.example_id for example in examples)
        dataset_id, run_id = dataset_id_of(ids), self._context.world.new_id("run")
        return run_id, (
            DatasetCreated(dataset_id=dataset_id, name=name, example_ids=ids),
            RunQueued(
                run_id=run_id,
                dataset_id=dataset_id,
                base=parents.base.name,
                parent=parents.parent.name,
                recipe=(recipe or recipe_from_settings(self._context.settings)).to_dict(),
                priority=priority,
                unteaches=plan.unwanted if plan is not None else (),
            ),
        )

    def _follow_up(self, run: RunRow, ending: Ending) -> FollowUp:
        """What becomes of the corrections of a run that ends so. Nothing is lost without a word."""
        if ending.again is None:
            return FollowUp()
        try:
            parents = self._context.live_parents()
            parents.check_trainable()
            if run.unteaches and ending.again != "unlearned":
                if ending.again == "rest":
                    return self._unteach_again(parents.parent.name)
                return self._unteach_at_lower_rate(run, num_parameters=parents.parent.num_parameters)
            known = {example.example_id for example in learned_by(self._context.store, parents.parent.name)}
            examples = [
                example
                for example in teachable(self._context.store, examples_of(self._context.store, run))
                if example.example_id not in known
            ]
            if ending.again == "rest":
                return self._teach_rest(run, examples, live=parents.parent.name)
            plan = self._plan(run, examples, was_refused=ending.again == "retry")
            return self._carry_out(run, plan, num_parameters=parents.parent.num_parameters)
        except HomefireError as problem:
            return FollowUp(f"It cannot be taught again now: {problem.message}")

    def _teach_rest(self, run: RunRow, examples: list[ExampleRow], *, live: str) -> FollowUp:
        if not examples:
            return FollowUp()
        run_id, events = self._new_run(
            examples, priority=run.priority, name="corrections, again", recipe=Recipe.from_dict(run.recipe)
        )
        return FollowUp(f"What still counts is taught again from {live}, in run {run_id}.", events, (run_id,))

    def _plan(self, run: RunRow, examples: list[ExampleRow], *, was_refused: bool) -> Plan:
        """The next runs of these corrections, by what the gate found of each."""
        store = self._context.store
        # The row is of before the lease: the version is newer.
        version = self._context.library.of_run(run.run_id)
        if was_refused:
            results = results_in(version)
            return after_refusal(
                examples,
                blamed={name for name, result in results.items() if result.cause is not None},
                tries=lambda name: tries_of(store, name, refusing=run.run_id),
                max_tries=self._max_tries,
            )
        names = version.gate_scores.get(LOST_EARLIER, ()) if version is not None else ()
        lost = counting([example for name in names if (example := store.examples.get(name)) is not None])
        return after_promotion(
            examples, lost=lost, tries=lambda name: tries_of(store, name), max_tries=self._max_tries
        )

    def _carry_out(self, run: RunRow, plan: Plan, *, num_parameters: int) -> FollowUp:
        """The planned runs as events."""
        events: tuple[Event, ...] = ()
        sentences: list[str] = []
        run_ids: list[str] = []
        for planned in plan.runs:
            recipe = Recipe.from_dict(run.recipe)
            if planned.at_lower_rate:
                # A lone correction goes on from what was tried; others begin at the settings' rate.
                is_alone = len(examples_of(self._context.store, run)) == 1
                recipe = recipe if is_alone else recipe_from_settings(self._context.settings)
                recipe = recipe_for_retry(recipe, num_parameters)
            priority = "low" if planned.can_wait else run.priority
            run_id, more = self._new_run(
                planned.examples, priority=priority, name=planned.name, recipe=recipe
            )
            events, run_ids = (*events, *more), [*run_ids, run_id]
            how = " at a lower rate" if planned.at_lower_rate else ""
            sentences.append(f"{_counted(planned.examples)} tried again{how} in run {run_id}.")
        if plan.given_up:
            sentences.append(
                f"{_counted(plan.given_up)} not tried again: `homefire corrections list` says why."
            )
        return FollowUp(" ".join(sentences), events, tuple(run_ids))

    def _unteach_again(self, live: str) -> FollowUp:
        plan = plan_unteaching(self._context.store, live)
        if plan is None:
            return FollowUp(f"{live} knows nothing of what was to be un-taught.")
        if not plan.examples:
            return FollowUp(f"Un-teaching leaves {plan.start}: promote it, or withdraw the correction again.")
        run_id, events = self.new_unteaching(plan)
        return FollowUp(f"It continues in run {run_id}.", events, (run_id,))

    def _unteach_at_lower_rate(self, run: RunRow, *, num_parameters: int) -> FollowUp:
        if num_refused_tries(self._context.store, run) + 1 >= self._max_tries:
            return FollowUp("The withdrawn correction is still known; withdraw it again to try once more.")
        plan = plan_unteaching(self._context.store, self._context.live_parents().parent.name)
        if plan is None or not plan.examples:
            return FollowUp("What was to be un-taught changed: withdraw it again.")
        recipe = recipe_for_retry(Recipe.from_dict(run.recipe), num_parameters)
        run_id, events = self._new_run(
            plan.examples,
            priority=run.priority,
            name="un-teaching, at a lower rate",
            recipe=recipe,
            plan=plan,
        )
        return FollowUp(f"It is tried again at a lower rate in run {run_id}.", events, (run_id,))

    def _notice_end(self, task: asyncio.Task[None]) -> None:
        if self._is_stopping:
            return
        self.lease = None
        if self._context.store.failure is not None:
            return  # the loop said so itself
        problem = None if task.cancelled() else task.exception()
        why = _told(problem) if problem is not None else "its loop was left"
        logger.error("Training ended unexpectedly and is started again: %s", why, exc_info=problem)
        self.ended_because = f"Training ended unexpectedly ({why}); it is started again."
        asyncio.get_running_loop().call_later(self._pause_s, self._start_again)
        self._num_troubles = min(self._num_troubles + 1, 10)

    def _start_again(self) -> None:
        if not self._is_stopping:
            self.start()

    async def _work(self) -> None:
        while not self._is_stopping:
            self._bell.clear()
            try:
                wait_s = await self._step()
                self._num_troubles, self.ended_because = 0, None
            except Exception as problem:
                failure = self._context.store.failure
                if failure is not None:
                    self.ended_because = f"Training has ended: {failure}"
                    logger.error("Training ends, the store takes no more writes: %s", problem)
                    return
                if not isinstance(problem, HomefireError):
                    logger.exception("Training met something unforeseen")
                else:
                    logger.warning("Training waits: %s", problem)
                self.blocked = _told(problem)
                await self._pause()
                continue
            await self._wait(wait_s)

    @property
    def _pause_s(self) -> float:
        return float(min(RETRY_S * 2**self._num_troubles, MAX_RETRY_S))

    async def _pause(self) -> None:
        """Wait, longer each time in a row; no bell shortens it, or trouble would be tried without end."""
        wait_s = self._pause_s
        self._num_troubles = min(self._num_troubles + 1, 10)
        try:
            await asyncio.wait_for(self._stopping.wait(), wait_s)
        except TimeoutError:
            return

    async def _step(self) -> float | None:
        """One thing to do; then after how many seconds to look again (0: at once, None: when rung)."""
        for left in self._context.store.runs.list("running"):
            why = self._left_because.pop(left.run_id, _RESTARTED)
            pause_s = self._not_before.get(left.run_id, 0.0) - self._context.world.clock.monotonic_s()
            await self.move(left, Ending(state="queued", why=why, pause_s=max(0.0, pause_s)))
        if self._context.memory.is_parked:
            return None
        quiet_s = await self._collect()
        now_s = self._context.world.clock.monotonic_s()
        queued = self._context.store.runs.list("queued")
        run, ready_s = next_run(queued, not_before=self._not_before, now_s=now_s)
        if run is not None:
            await self._serve(run)
            return 0.0
        self._context.memory.holds("run", 0)
        return min((wait_s for wait_s in (quiet_s, ready_s) if wait_s is not None), default=None)

    async def _collect(self) -> float | None:
        """Queue what waits once it was quiet for long enough; else the seconds until that."""
        pending = self._context.store.examples.pending() if self._auto else []
        if not pending:
            return None
        left_s = self._quiet.left_s(self._context.world.clock.monotonic_s())
        if left_s > 0:
            return left_s
        try:
            await self.queue(pending, priority="normal", name="corrections")
        except NotTrainable as problem:
            self.blocked = str(problem)
            return RETRY_S
        self.blocked = None
        self._quiet.taken()
        return None

    async def _serve(self, run: RunRow) -> None:
        """One lease of one run, to its ending in the log.

        Raises NotTrainable and StoreError, which say that nothing can be trained now; what is wrong with this
        run alone ends this run alone.
        """
        lease = self.lease = RunLease(run, self._context)
        try:
            try:
                ending = await self._start(lease)
                self.blocked = None
                if ending is None:
                    ending = await lease.run()
            except NotTrainable as problem:
                self._wait_with(run, problem)
                raise
            except (StoreError, OSError) as problem:
                error = as_store_error(problem) if isinstance(problem, OSError) else problem
                ending = self._refused(run, error)
                if ending is None:
                    self._wait_with(run, error)
                    raise error from problem
            except Exception as problem:
                logger.exception("Run %s failed", run.run_id)
                ending = Ending(state="failed", why=f"It could not continue: {_told(problem)}")
            await self.move(msgspec.structs.replace(run, epoch=lease.epoch), ending)
        finally:
            self.lease = None
            lease.finished.set()
            self._context.warm.returned()

    def _wait_with(self, run: RunRow, problem: HomefireError) -> None:
        """Let the run wait a while: whatever holds it up, another one may be able to go on."""
        self._left_because[run.run_id] = f"{problem.message} The run continues."
        self._not_before[run.run_id] = self._context.world.clock.monotonic_s() + self._pause_s

    def _refused(self, run: RunRow, problem: StoreError) -> Ending | None:
        """The end of a run that the disk refuses again and again, while it takes everything else."""
        if self._context.store.failure is not None or is_shortage(problem):
            return None
        self._num_refusals[run.run_id] += 1
        if self._num_refusals[run.run_id] < self._context.settings.max_attempts:
            return None
        return Ending(state="failed", why=f"It could not continue: {problem}")

    async def _start(self, lease: RunLease) -> Ending | None:
        try:
            return await lease.start()
        except NotTrainable:
            if lease.asked is None or lease.asked.do == "pause":
                raise
            return lease.as_asked()

    async def _wait(self, wait_s: float | None) -> None:
        if self._is_stopping or wait_s == 0.0:
            return
        try:
            await asyncio.wait_for(self._bell.wait(), wait_s)
        except TimeoutError:
            return


def _counted(examples: Sequence[ExampleRow]) -> str:
    return "1 correction is" if len(examples) == 1 else f"{len(examples)} corrections are"


def _told(problem: BaseException) -> str:
    """An error as a sentence for people; an unforeseen one also with its type."""
    if isinstance(problem, HomefireError):
        return str(problem)
    return f"{type(problem).__name__}: {problem}"
