"""One lease of one run: prepare, train in a worker, complete, and say how it ended.

A session moves its run to `running` (new epoch, fence first) and then watches it to an `Ending`, which the
daemon writes to the log. A person's `Ask` reaches the worker, or ends the completion; a worker that does not
answer within `ASK_TIMEOUT_S` is ended by its process id, which costs the steps since its last checkpoint.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from homefire.config.schema import TrainingSettings
from homefire.errors import Conflict, CorruptData, EngineError, HomefireError, NotTrainable, StoreError
from homefire.home import Home
from homefire.store.nouns.runs import RunMoved, RunRow
from homefire.store.run_states import RunState
from homefire.store.store import Store
from homefire.training.completion import WHO, Completion
from homefire.training.failures import Failure, Retry, decide
from homefire.training.job import Checkpointed, DiskFull, Started, Stepped, TrainingRow, WorkerEvent
from homefire.training.preparation import (
    Parents,
    has_result,
    is_prepared,
    raise_fence,
    read_origin,
    write_job,
    write_rows,
)
from homefire.training.progress import Board, Progress, read_steps, thinned
from homefire.training.rehearsal import Rehearsal
from homefire.training.standing import learned_by, num_earlier_tries
from homefire.training.supervisor import Outcome, TrainerProcess
from homefire.versions.library import Library
from homefire.versions.promotion import LIVE
from homefire.world import World

if TYPE_CHECKING:
    from homefire.catalog.catalog import Catalog

Do = Literal["pause", "stop", "skip"]
ASKED_STATE: dict[Do, RunState] = {"pause": "paused", "stop": "stopped", "skip": "skipped"}
ASK_TIMEOUT_S = 30.0


class Ask(msgspec.Struct, frozen=True):
    """What a person wants of a running run."""

    do: Do
    who: str
    why: str


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The state the run goes to now; `queued` is started again after `pause_s`."""

    state: RunState
    why: str
    who: str = WHO
    metrics: dict[str, Any] = {}
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every session works with."""

    home: Home
    store: Store
    catalog: Catalog
    library: Library
    completion: Completion
    rehearsal: Rehearsal
    settings: TrainingSettings
    world: World
    board: Board
    command: Sequence[str]

    def live_parents(self) -> Parents:
        """What a run that starts now would start from. Raises ModelNotFound."""
        live = self.catalog.resolve(LIVE).model
        base = live if live.kind == "base" or live.base is None else self.catalog.resolve(live.base).model
        return Parents(parent=live, base=base)


class Session:
    """See the module. `start`, then `run`, once each; `ask` and `leave` at any time."""

    def __init__(self, run: RunRow, workshop: Workshop) -> None:
        self.run_id, self._run, self._shop = run.run_id, run, workshop
        self._run_dir: Path = workshop.home.runs / run.run_id
        self.epoch = run.epoch
        self.asked: Ask | None = None
        self.finished = asyncio.Event()
        """Set by the daemon when the ending is in the log."""
        self._process: TrainerProcess | None = None
        self._rehearsing: asyncio.Future[Any] | None = None
        self._completing: asyncio.Future[Any] | None = None
        self._checkpoint_step = int(run.metrics.get("checkpoint_step", 0))
        self._moved_on = False
        self._is_leaving = False

    async def start(self) -> Ending | None:
        """Prepare and take the lease; an Ending when there is nothing to train or it cannot be prepared.

        Raises NotTrainable (the run stays queued) and StoreError (the disk or log cannot take it now).
        """
        try:
            if not await self._prepare():
                return Ending(state="skipped", why="Every correction of this run was corrected again since.")
        except (NotTrainable, StoreError):
            raise
        except asyncio.CancelledError:
            if self.asked is None:
                raise
            await self._lease()
            return self.as_asked()
        except EngineError as problem:
            await self._lease()
            return self._after(Failure(kind="crash", message=problem.message))
        except HomefireError as problem:
            await self._lease()
            return Ending(state="failed", why=str(problem))
        await self._lease()
        self._show_start()
        return None

    async def run(self) -> Ending:
        """Watch the run to its end. Raises StoreError when the log or disk cannot take it now."""
        try:
            if self._needs_training():
                ending = await self._train()
                if ending is not None:
                    return ending
            self._completing = asyncio.ensure_future(self._shop.completion.complete(self._run))
            completed = await self._completing
            return Ending(state="done", why=completed.why, metrics=completed.metrics)
        except asyncio.CancelledError:
            if self.asked is None:
                raise
            return self.as_asked()
        except EngineError as problem:
            return self._after(Failure(kind="crash", message=problem.message))
        except StoreError:
            raise
        except HomefireError as problem:
            return Ending(state="failed", why=str(problem))

    async def ask(self, ask: Ask) -> None:
        """Pass a person's wish on. Raises Conflict where it cannot be granted now."""
        if self._completing is None:
            self.asked = ask
            if self._rehearsing is not None:
                self._rehearsing.cancel()
            if self._process is not None:
                await self._tell(self._process, ask.do, timeout_s=ASK_TIMEOUT_S)
            return
        progress = self._shop.board.get(self.run_id)
        if ask.do == "pause" or (progress is not None and progress.phase == "promoting"):
            raise Conflict(
                f"Run {self.run_id} has finished training and is being "
                f"{'promoted' if progress is not None and progress.phase == 'promoting' else 'judged'}; "
                "it is over in a moment.",
                hint="Wait for it; a promoted version can be rolled back.",
                run_id=self.run_id,
            )
        self.asked = ask
        self._completing.cancel()

    async def leave(self, timeout_s: float) -> None:
        """The server stops: let the worker save and end, at most so long; the run will go on."""
        self._is_leaving = True
        if self._process is not None and self._process.pid is not None:
            await self._tell(self._process, "pause", timeout_s=timeout_s)
            await self._process.wait()

    async def _prepare(self) -> bool:
        """Fix rows and parent at the first lease and check the parent at each; False: nothing to learn."""
        shop, run = self._shop, self._run
        if not is_prepared(self._run_dir):
            parents, rehearsal = await self._rehearse()
            dataset = shop.store.datasets.get(run.dataset_id)
            found = [shop.store.examples.get(each) for each in (dataset.example_ids if dataset else ())]
            new = [example for example in found if example is not None and example.superseded_by is None]
            if not new:
                return False
            learned = learned_by(shop.store, parents.parent.name)
            fix = functools.partial(
                write_rows, new=new, learned=learned, rehearsal=rehearsal, parents=parents, world=shop.world
            )
            await asyncio.to_thread(fix, self._run_dir)
        parents = shop.completion.parents(run)
        await self._check(parents)
        write = functools.partial(
            write_job,
            epoch=run.epoch + 1,
            parents=parents,
            settings=shop.settings,
            num_tries=num_earlier_tries(shop.store, run),
            world=shop.world,
        )
        await asyncio.to_thread(write, self._run_dir, run)
        return True

    async def _rehearse(self) -> tuple[Parents, Sequence[TrainingRow]]:
        """What is live now, and the rows that keep its skills. Again when live moved while it was asked."""
        shop = self._shop
        while True:
            parents = shop.live_parents()
            parents.check_trainable()
            asking = shop.rehearsal.rows(parents, on_asked=functools.partial(self._show_asked, parents))
            self._rehearsing = asyncio.ensure_future(asking)
            try:
                rows = await self._rehearsing
            finally:
                self._rehearsing = None
            if shop.live_parents().parent.digest == parents.parent.digest:
                return parents, rows

    def _show_asked(self, parents: Parents, num_answered: int, num_all: int) -> None:
        why = f"{parents.parent.name} is asked what it answers now: {num_answered} of {num_all}."
        self._shop.board.put(Progress(run_id=self.run_id, state=self._run.state, phase="preparing", why=why))

    async def _lease(self) -> None:
        """Fence out every older worker, then say so in the log."""
        run, epoch = self._run, self._run.epoch + 1
        await asyncio.to_thread(raise_fence, self._run_dir, epoch, self._shop.world)
        metrics = {"parent": read_origin(self._run_dir).parent} if is_prepared(self._run_dir) else {}
        why = "its turn came" if run.epoch == 0 else "it goes on"
        await self._shop.store.append(
            RunMoved(run_id=run.run_id, state="running", epoch=epoch, who=WHO, why=why, metrics=metrics)
        )
        self.epoch = epoch

    async def _tell(self, process: TrainerProcess, do: Do, *, timeout_s: float) -> None:
        await process.tell(do)
        asyncio.get_running_loop().call_later(timeout_s, process.kill)

    def _needs_training(self) -> bool:
        return self._shop.library.of_run(self.run_id) is None and not has_result(self._run_dir)

    async def _train(self) -> Ending | None:
        settings = self._shop.settings
        self._process = TrainerProcess(
            self._run_dir,
            command=self._shop.command,
            nice=settings.nice,
            num_threads=settings.num_threads,
            heartbeat_timeout_s=settings.heartbeat_timeout_s,
        )
        if self.asked is not None:
            return self.as_asked()
        return self._ending(await self._process.run(self._on_event))

    def _ending(self, outcome: Outcome) -> Ending | None:
        """What the worker's end means; None: it is done and the run goes on."""
        if outcome.kind == "done" and (self.asked is None or self.asked.do == "pause"):
            self.asked = None  # it was done before it could pause
            return None
        if self.asked is not None:
            return self.as_asked()
        if self._is_leaving:
            return Ending(state="queued", why="The server stopped; the run goes on at its next start.")
        if outcome.kind == "failed":
            assert outcome.failure is not None
            return self._after(outcome.failure)
        why = f"The trainer was {outcome.kind} from outside; it goes on."
        return Ending(state="queued", why=why, pause_s=1.0)

    def _after(self, failure: Failure) -> Ending:
        """Retry or give up, by what failed and how often without progress."""
        attempts = 1 if self._moved_on else int(self._run.metrics.get("attempts", 0)) + 1
        metrics = {
            "attempts": attempts,
            "checkpoint_step": self._checkpoint_step,
            "failure": failure.kind,
        }
        decision = decide(failure, attempts=attempts, max_attempts=self._shop.settings.max_attempts)
        if isinstance(decision, Retry):
            return Ending(
                state="queued", why=f"{failure.message} It is tried again.", metrics=metrics,
                pause_s=decision.pause_s,
            )  # fmt: skip
        return Ending(state="failed", why=decision.why, metrics=metrics)

    def as_asked(self) -> Ending:
        """The ending that was asked for."""
        ask = self.asked
        assert ask is not None
        return Ending(
            state=ASKED_STATE[ask.do], who=ask.who, why=ask.why,
            metrics={"checkpoint_step": self._checkpoint_step},
        )  # fmt: skip

    def _on_event(self, event: WorkerEvent) -> None:
        match event:
            case Started():
                self._shop.board.change(self.run_id, phase="training", step=event.step, why="")
            case Stepped():
                self._shop.board.step(self.run_id, event)
            case Checkpointed():
                self._moved_on = self._moved_on or event.step > self._checkpoint_step
                self._checkpoint_step = max(self._checkpoint_step, event.step)
            case DiskFull():
                self._shop.board.change(self.run_id, why=event.message)

    def _show_start(self) -> None:
        steps = read_steps(self._run_dir)
        last = steps[-1] if steps else None
        self._shop.board.put(
            Progress(
                run_id=self.run_id,
                state="running",
                phase="preparing",
                step=last.step if last else 0,
                max_steps=last.max_steps if last else 0,
                loss=last.loss if last else None,
                losses=thinned([(step.step, step.loss) for step in steps]),
                attempts=int(self._run.metrics.get("attempts", 0)),
                version=self._run.version,
            )
        )

    async def _check(self, parents: Parents) -> None:
        """Hash what the worker is about to read: a flipped bit must not be trained on."""
        for model in {parents.parent.name: parents.parent, parents.base.name: parents.base}.values():
            if model.kind == "version":
                report = await self._shop.library.verify(model.name)
                if not report.ok:
                    await self._shop.library.repair(model.name)
                continue
            damage = await self._shop.catalog.verify(model.name)
            if damage:
                raise CorruptData(
                    f"The base model {model.name} is damaged: {damage[0]}",
                    hint="Add the model again from where it came from.",
                    name=model.name,
                )
