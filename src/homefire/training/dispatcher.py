"""The loop that never forgets a run: collects what waits, takes the next run, writes how it ended.

One run at a time, the most urgent first, the oldest among equals. Everything it knows is in the log: after a
restart it queues again what was running, and the run goes on where its files say it was. What it cannot do
now (a full disk, a live model that cannot be taught) it says in `blocked` and tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from homefire.errors import HomefireError, NotTrainable
from homefire.store.nouns.datasets import DatasetCreated
from homefire.store.nouns.examples import ExampleRow
from homefire.store.nouns.runs import RunMoved, RunQueued, RunRow
from homefire.store.run_states import ENDED
from homefire.training.datasets import dataset_id_of
from homefire.training.preparation import recipe_from_settings
from homefire.training.progress import Progress, progress_of
from homefire.training.recipe import Recipe
from homefire.training.session import Ending, Session, Workshop
from homefire.training.standing import gentler, num_earlier_tries, refused, was_refused

logger = logging.getLogger(__name__)

Priority = Literal["high", "normal", "low"]
GOODBYE_S = 5.0
"""How long a worker may take to save when the server stops."""
FAREWELL_S = 0.5
"""How long after that the log may take for the run's last move; a judgement under way is dropped."""
RETRY_S = 1.0
"""How long to wait before looking again at what could not be done."""
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


class Dispatcher:
    """See the module. One for each server."""

    def __init__(self, workshop: Workshop, *, auto: bool, quiet_s: float, max_tries: int) -> None:
        self._shop, self._auto, self._quiet_s = workshop, auto, quiet_s
        self._max_tries = max_tries
        self.session: Session | None = None
        self.blocked: str | None = None
        """Why what waits is not trained now."""
        self._task: asyncio.Task[None] | None = None
        self._bell = asyncio.Event()
        self._not_before: dict[str, float] = {}
        self._seen: tuple[tuple[str, ...], float] = ((), 0.0)
        self._is_stopping = False

    def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.create_task(self._work(), name="training")

    async def stop(self) -> None:
        """Let a worker save and leave; its run goes on at the next start."""
        self._is_stopping = True
        self._bell.set()
        if self._task is None:
            return
        if self.session is not None:
            await self.session.leave(GOODBYE_S)
        await asyncio.wait([self._task], timeout=FAREWELL_S)
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None

    def ring(self) -> None:
        """There may be something to do."""
        self._bell.set()

    async def queue(
        self, examples: Sequence[ExampleRow], *, priority: Priority, name: str, recipe: Recipe | None = None
    ) -> str:
        """Queue a run of these examples from what is live; its id. Raises NotTrainable.

        `recipe=None`: what the settings ask for.
        """
        parents = self._shop.live_parents()
        parents.check_trainable()
        ids = tuple(example.example_id for example in examples)
        dataset_id, run_id = dataset_id_of(ids), self._shop.world.new_id("run")
        await self._shop.store.append(
            DatasetCreated(dataset_id=dataset_id, name=name, example_ids=ids),
            RunQueued(
                run_id=run_id,
                dataset_id=dataset_id,
                base=parents.base.name,
                parent=parents.parent.name,
                recipe=(recipe or recipe_from_settings(self._shop.settings)).to_dict(),
                priority=priority,
            ),
        )
        self._shop.board.put(Progress(run_id=run_id, state="queued", phase="waiting"))
        self.ring()
        return run_id

    async def move(self, run: RunRow, ending: Ending) -> None:
        """Write a run's new state to the log, then show it. Raises Conflict where it may not move so."""
        if ending.state == "queued":
            self._not_before[run.run_id] = self._shop.world.clock.monotonic_s() + ending.pause_s
        await self._shop.store.append(
            RunMoved(
                run_id=run.run_id,
                state=ending.state,
                epoch=run.epoch,
                who=ending.who,
                why=ending.why,
                metrics=ending.metrics,
            )
        )
        shown = self._shop.board.get(run.run_id) or progress_of(run)
        self._shop.board.put(
            msgspec.structs.replace(
                shown,
                state=ending.state,
                phase="done" if ending.state in ENDED else "waiting",
                who=ending.who,
                why=ending.why,
                eta_s=None,
            )
        )
        self.ring()

    async def _work(self) -> None:
        while not self._is_stopping:
            self._bell.clear()
            try:
                wait_s = await self._step()
            except HomefireError as problem:
                if self._shop.store.failure is not None:
                    logger.error("Training ends, the store takes no more writes: %s", problem)
                    return
                logger.warning("Training waits: %s", problem)
                self.blocked, wait_s = str(problem), RETRY_S
            await self._wait(wait_s)

    async def _step(self) -> float | None:
        """One thing to do; then after how many seconds to look again (0: at once, None: when rung)."""
        for left in self._shop.store.runs.list("running"):
            await self.move(left, Ending(state="queued", why="The server was restarted; the run goes on."))
        quiet_s = await self._collect()
        now_s = self._shop.world.clock.monotonic_s()
        queued = self._shop.store.runs.list("queued")
        run, ready_s = next_run(queued, not_before=self._not_before, now_s=now_s)
        if run is not None:
            await self._serve(run)
            return 0.0
        return min((wait_s for wait_s in (quiet_s, ready_s) if wait_s is not None), default=None)

    async def _collect(self) -> float | None:
        """Queue what waits once it was quiet for long enough; else the seconds until that."""
        pending = self._shop.store.examples.pending() if self._auto else []
        if not pending:
            return None
        ids, now_s = tuple(example.example_id for example in pending), self._shop.world.clock.monotonic_s()
        if self._seen[0] != ids:
            self._seen = (ids, now_s)
        left_s = self._seen[1] + self._quiet_s - now_s
        if left_s > 0:
            return left_s
        taught = {example.example_id for example in pending}
        again = [example for example in refused(self._shop.store) if example.example_id not in taught]
        try:
            await self.queue([*again, *pending], priority="normal", name="corrections")
        except NotTrainable as problem:
            self.blocked = str(problem)
            return RETRY_S
        self.blocked = None
        return None

    async def _serve(self, run: RunRow) -> None:
        """One lease of one run, to its ending in the log."""
        session = self.session = Session(run, self._shop)
        try:
            ending = await self._start(session)
            self.blocked = None
            if ending is None:
                ending = await session.run()
            await self.move(msgspec.structs.replace(run, epoch=session.epoch), ending)
            await self._try_again(run.run_id)
        finally:
            self.session = None
            session.finished.set()

    async def _try_again(self, run_id: str) -> None:
        """Queue the corrections of a refused version once more, to be taught more gently."""
        store, run = self._shop.store, self._shop.store.runs.get(run_id)
        if run is None or run.state != "done" or not was_refused(store, run):
            return
        if num_earlier_tries(store, run) + 1 >= self._max_tries:
            return
        dataset = store.datasets.get(run.dataset_id)
        found = [store.examples.get(example_id) for example_id in (dataset.example_ids if dataset else ())]
        examples = [example for example in found if example is not None and example.superseded_by is None]
        if len(examples) == len(found):
            recipe = gentler(Recipe.from_dict(run.recipe), self._shop.live_parents().parent.num_parameters)
            await self.queue(examples, priority=run.priority, name="corrections, more gently", recipe=recipe)

    async def _start(self, session: Session) -> Ending | None:
        try:
            return await session.start()
        except NotTrainable:
            if session.asked is None or session.asked.do == "pause":
                raise
            return session.as_asked()

    async def _wait(self, wait_s: float | None) -> None:
        if self._is_stopping or wait_s == 0.0:
            return
        try:
            await asyncio.wait_for(self._bell.wait(), wait_s)
        except TimeoutError:
            return
