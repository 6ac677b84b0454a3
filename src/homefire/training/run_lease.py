"""One lease of one run: prepare, train in a worker, complete, and say how it ended.

A lease moves its run to `running` (new epoch, fence first) and then watches it to an `Ending`, which the
daemon writes to the log. A person's `Ask` reaches the worker, or ends the completion; a worker that does not
answer within `ASK_TIMEOUT_S` is ended by its process id, which costs the steps since its last checkpoint.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import msgspec

from homefire.errors import Conflict, CorruptData, EngineError, HomefireError, NotTrainable, StoreError
from homefire.store.nouns.runs import RunMoved, RunRow
from homefire.store.run_states import RunState
from homefire.trainer.contract import (
    Checkpointed,
    DiskFull,
    Started,
    Stepped,
    WorkerEvent,
)
from homefire.training.completion import WHO, Again
from homefire.training.failures import Failure, Retry, decide
from homefire.training.ledger import LEFT_OUT, UNUSABLE
from homefire.training.memory import run_bytes
from homefire.training.preparation import (
    discard_result,
    has_result,
    raise_fence,
    read_origin,
)
from homefire.training.progress import Progress, read_steps, thinned
from homefire.training.run_context import RunContext
from homefire.training.run_preparation import RunPreparation
from homefire.training.supervisor import Outcome, TrainerProcess

Do = Literal["pause", "stop", "skip", "withdraw"]
"""`withdraw`: one of the run's corrections was taken back; the run ends, and the others are queued again."""
ASKED_STATE: dict[Do, RunState] = {
    "pause": "paused",
    "stop": "stopped",
    "skip": "skipped",
    "withdraw": "stopped",
}
ASK_TIMEOUT_S = 30.0


class Ask(msgspec.Struct, frozen=True):
    """What a person wants of a running run."""

    do: Do
    who: str
    why: str


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The state the run goes to now; `queued` is started again after `pause_s`.

    `again` says what becomes of its corrections, in the same transaction.
    """

    state: RunState
    why: str
    who: str = WHO
    metrics: dict[str, Any] = {}
    attempts: int | None = None
    step: int | None = None
    pause_s: float = 0.0
    again: Again | None = None


class RunLease:
    """One lease of one run. `start`, then `run`, once each; `ask` and `leave` at any time."""

    def __init__(self, run: RunRow, context: RunContext) -> None:
        self.run_id, self._run, self._context = run.run_id, run, context
        self._run_dir: Path = context.home.runs / run.run_id
        self.epoch = run.epoch
        self.asked: Ask | None = None
        self.finished = asyncio.Event()
        """Set by the daemon when the ending is in the log."""
        self._process: TrainerProcess | None = None
        self._completing: asyncio.Future[Any] | None = None
        self._preparation = RunPreparation(run, context)
        self._checkpoint_step = run.step
        self._moved_on = False
        self._is_leaving = False
        self._is_making_way = False

    async def start(self) -> Ending | None:
        """Prepare and take the lease; an Ending when there is nothing to train or it cannot be prepared.

        Raises NotTrainable (the run stays queued) and StoreError (the disk or log cannot take it now).
        """
        try:
            nothing = await self._preparation.prepare()
            if nothing is not None:
                return Ending(state="skipped", why=nothing.why, again=nothing.again)
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
            self._count_memory()
            if self._needs_training():
                ending = await self._train()
                if ending is not None:
                    return ending
            self._completing = asyncio.ensure_future(self._context.completion.complete(self._run))
            completed = await self._completing
            return Ending(
                state=completed.state,
                why=completed.why,
                metrics=completed.metrics,
                again=completed.again,
            )
        except asyncio.CancelledError:
            if self.asked is None:
                raise
            return self.as_asked()
        except EngineError as problem:
            return self._after(Failure(kind="crash", message=problem.message))
        except StoreError:
            raise
        except CorruptData as problem:
            # Where it is what the worker made, it can be made again from the last checkpoint.
            await asyncio.to_thread(discard_result, self._run_dir, self._context.world)
            return self._after(Failure(kind="disk", message=problem.message))
        except HomefireError as problem:
            return Ending(state="failed", why=str(problem))
        finally:
            self._context.memory.holds("run", 0)

    def _count_memory(self) -> None:
        parent = self._context.completion.parents(self._run).parent
        spec = self._preparation.spec
        held = run_bytes(parent.num_parameters, mode=spec.mode if spec is not None else "full")
        self._context.memory.holds("run", held)

    async def ask(self, ask: Ask) -> None:
        """Pass a person's request on. Raises Conflict where it cannot be granted now."""
        if self._completing is None:
            self.asked = ask
            self._preparation.cancel()
            if self._process is not None:
                await self._tell(self._process, ask.do, timeout_s=ASK_TIMEOUT_S)
            return
        progress = self._context.board.get(self.run_id)
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
        """The server stops: let the worker save and end, at most so long; the run will continue."""
        self._is_leaving = True
        await self._end_worker(timeout_s)

    async def make_way(self) -> None:
        """Give back the trainer's memory: it saves and ends, and the run is queued again. A run that has
        finished training is not held up."""
        self._is_making_way = True
        await self._end_worker(ASK_TIMEOUT_S)

    async def _end_worker(self, timeout_s: float) -> None:
        if self._process is not None:
            await self._tell(self._process, "pause", timeout_s=timeout_s)
            await self._process.wait()

    async def _lease(self) -> None:
        """Fence out every older worker, then say so in the log."""
        run, epoch = self._run, self._run.epoch + 1
        await asyncio.to_thread(raise_fence, self._run_dir, epoch, self._context.world)
        metrics: dict[str, Any] = {}
        prepared = self._preparation
        self._checkpoint_step = prepared.checkpoint_step
        parent = read_origin(self._run_dir).parent if prepared.spec is not None else None
        if prepared.left_out or LEFT_OUT in run.metrics:
            metrics[LEFT_OUT] = prepared.left_out
        await self._context.store.append(
            RunMoved(
                run_id=run.run_id,
                state="running",
                epoch=epoch,
                who=WHO,
                why=prepared.why,
                parent=parent,
                step=self._checkpoint_step,
                metrics=metrics,
            )
        )
        self.epoch = epoch

    async def _tell(self, process: TrainerProcess, do: Do, *, timeout_s: float) -> None:
        await process.tell("skip" if do == "withdraw" else do)
        asyncio.get_running_loop().call_later(timeout_s, process.kill)

    def _needs_training(self) -> bool:
        return self._context.library.of_run(self.run_id) is None and not has_result(self._run_dir)

    async def _train(self) -> Ending | None:
        context, spec = self._context, self._preparation.spec
        assert spec is not None
        if self.asked is not None:
            return self.as_asked()
        if self._is_leaving or self._is_making_way:
            return self._ending(Outcome(kind="paused"))
        ready = await context.warm.take(num_threads=spec.num_threads)
        self._process = TrainerProcess(
            self._run_dir, command=context.command, settings=context.settings, ready=ready
        )
        ahead = asyncio.create_task(context.completion.ask_ahead(self._run), name="ask ahead")
        try:
            ending = self._ending(await self._process.run(self._on_event))
            if ending is None:
                await ahead
            return ending
        finally:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)

    def _ending(self, outcome: Outcome) -> Ending | None:
        """What the worker's end means; None: it is done and the run continues."""
        if outcome.kind == "done" and (self.asked is None or self.asked.do == "pause"):
            self.asked = None  # it was done before it could pause
            return None
        if self.asked is not None:
            return self.as_asked()
        if self._is_leaving:
            return Ending(state="queued", why="The server stopped; the run continues at its next start.")
        if self._is_making_way and outcome.kind == "paused":
            return Ending(state="queued", why="It made way for a model; it continues when there is room.")
        if outcome.kind == "failed":
            assert outcome.failure is not None
            return self._after(outcome.failure)
        why = f"The trainer was {outcome.kind} from outside; the run continues."
        return Ending(state="queued", why=why, pause_s=1.0)

    def _after(self, failure: Failure) -> Ending:
        """Retry or give up, by what failed and how often without progress; go on without what cannot be used."""
        known = self._run.metrics.get(UNUSABLE, {})
        if failure.unusable.keys() - known.keys():
            unusable = {**known, **failure.unusable}
            why = f"{failure.message} The run continues without."
            return Ending(state="queued", why=why, metrics={UNUSABLE: unusable})
        attempts = 1 if self._moved_on else self._run.attempts + 1
        metrics = {"failure": failure.kind}
        step = self._checkpoint_step
        decision = decide(failure, attempts=attempts, max_attempts=self._context.settings.max_attempts)
        if isinstance(decision, Retry):
            return Ending(
                state="queued", why=f"{failure.message} It is tried again.", metrics=metrics,
                attempts=attempts, step=step, pause_s=decision.pause_s,
            )  # fmt: skip
        return Ending(state="failed", why=decision.why, metrics=metrics, attempts=attempts, step=step)

    def as_asked(self) -> Ending:
        """The ending that was asked for."""
        ask = self.asked
        assert ask is not None
        return Ending(
            state=ASKED_STATE[ask.do], who=ask.who, why=ask.why,
            step=self._checkpoint_step,
            again="rest" if ask.do == "withdraw" else None,
        )  # fmt: skip

    def _on_event(self, event: WorkerEvent) -> None:
        self._context.board.note_life(self.run_id)
        match event:
            case Started():
                self._context.board.change(self.run_id, phase="training", step=event.step, why="")
            case Stepped():
                self._context.board.step(self.run_id, event)
            case Checkpointed():
                self._moved_on = self._moved_on or event.step > self._checkpoint_step
                self._checkpoint_step = max(self._checkpoint_step, event.step)
            case DiskFull():
                self._context.board.change(self.run_id, why=event.message)

    def _show_start(self) -> None:
        steps = read_steps(self._run_dir)
        last = steps[-1] if steps else None
        self._context.board.put(
            Progress(
                run_id=self.run_id,
                state="running",
                phase="preparing",
                num_examples=len(self._preparation.dataset()),
                step=last.step if last else 0,
                max_steps=last.max_steps if last else None,
                loss=last.loss if last else None,
                losses=thinned([(step.step, step.loss) for step in steps]),
                attempts=self._run.attempts,
                version=self._run.version,
            )
        )
