"""Training as the rest of Homefire sees it: give corrections, queue, steer and watch runs.

From a durable correction to a live version everything happens by itself: corrections are queued after a quiet
moment, the dispatcher (`dispatcher.py`) leases the next run to a worker process (`run_lease.py`), and what the
worker made is published, judged and promoted (`completion.py`). Every move of a run is an event with who and
why, so a server that was killed continues where the log says it was. Costs nothing while nothing waits.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from homefire.config.schema import Settings
from homefire.errors import Conflict, HomefireError, NotFound
from homefire.home import Home
from homefire.store.api_keys import owner_ids
from homefire.store.nouns.conversations import Verdict
from homefire.store.nouns.examples import ExampleRow
from homefire.store.nouns.runs import RunRow
from homefire.store.run_states import RunState
from homefire.store.store import Store
from homefire.training.answers import AnswerCollector, MakeEngine
from homefire.training.completion import Completion
from homefire.training.correction_changes import CorrectionChanges
from homefire.training.correction_states import CorrectionStates, CorrectionView
from homefire.training.corrections import Corrections, FeedbackReceipt
from homefire.training.dispatcher import Dispatcher, Priority
from homefire.training.erasure import Erasure, ErasureReport
from homefire.training.evaluation import GateEvaluator
from homefire.training.fitness import FitnessCheck
from homefire.training.ledger import counting, examples_of, known_to, refused, teachable
from homefire.training.memory import PARKED, TrainingMemory
from homefire.training.progress import Board, Progress, pace_of, progress_of, read_steps, thinned
from homefire.training.replay import ReplaySource
from homefire.training.run_context import RunContext
from homefire.training.run_lease import ASKED_STATE, Ask, Ending
from homefire.training.warm_trainer import WarmTrainer
from homefire.types import Message
from homefire.versions.asking import AnswerCache
from homefire.versions.library import Library
from homefire.versions.promotion import Promotion
from homefire.world import World

if TYPE_CHECKING:
    from homefire.catalog.catalog import Catalog

Action = Literal["pause", "resume", "stop", "skip", "retry"]
WORKER = (sys.executable, "-m", "homefire.trainer.worker")
STALL_S = 600.0
"""A run that shows no progress for so long is said to be stuck."""
_FROM: dict[Action, tuple[RunState, ...]] = {"resume": ("paused",), "retry": ("failed", "stopped", "skipped")}


class TrainingDaemon:
    """What the front doors use. `start` and `stop` once each."""

    def __init__(
        self,
        *,
        home: Home,
        store: Store,
        catalog: Catalog,
        library: Library,
        promotion: Promotion,
        make_engine: MakeEngine,
        settings: Settings,
        world: World,
        memory: TrainingMemory | None = None,
        worker_command: Sequence[str] = WORKER,
        warm_command: Sequence[str] = (),
    ) -> None:
        """`make_engine` gives the gate engines of its own, apart from those that serve.

        `worker_command` starts a trainer with the run's directory, `warm_command` one that is kept ready (empty:
        none is). `memory` is how serving gets back what training holds.
        """
        memory = memory or TrainingMemory()
        self._home, self._store, self._settings = home, store, settings
        self._board = Board(
            pace=lambda num: pace_of(store.runs.list(), num_examples=num), now_s=world.clock.monotonic_s
        )
        self._corrections = Corrections(
            store,
            world,
            context_length=lambda: self._context.live_parents().parent.context_length,
            live_digest=lambda: self._context.live_parents().parent.digest,
            system_prompt=settings.chat.system_prompt,
            owners=lambda: owner_ids(home, store.keys.find),
        )
        cache = self._cache = AnswerCache(home.cache / "answers")
        answers = AnswerCollector(catalog=catalog, make_engine=make_engine, cache=cache)
        self.fitness = FitnessCheck(catalog=catalog, answers=answers)
        """Whether models can be taught."""
        evaluator = GateEvaluator(
            catalog=catalog, make_engine=make_engine, settings=settings.gate, cache=cache
        )
        completion = Completion(
            home=home,
            store=store,
            catalog=catalog,
            library=library,
            promotion=promotion,
            evaluator=evaluator,
            settings=settings,
            board=self._board,
            memory=memory,
        )
        warm = WarmTrainer(
            settings.training,
            command=warm_command,
            log_folder=home.sockets,
            clock=world.clock,
            on_bytes=functools.partial(memory.holds, "warm"),
        )
        self._context = RunContext(
            home=home,
            store=store,
            catalog=catalog,
            library=library,
            completion=completion,
            replay_source=ReplaySource(answers),
            settings=settings.training,
            world=world,
            board=self._board,
            command=worker_command,
            warm=warm,
            memory=memory,
        )
        self._dispatcher = Dispatcher(
            self._context,
            auto=settings.training.auto,
            quiet_s=settings.training.quiet_s,
            max_tries=settings.gate.max_tries,
        )
        memory.bind(make_way=self._dispatcher.make_way, go_on=self._dispatcher.go_on)
        self.changes = CorrectionChanges(
            corrections=self._corrections,
            dispatcher=self._dispatcher,
            context=self._context,
            promotion=promotion,
        )
        """Withdrawing, editing and retrying corrections."""

    async def start(self) -> None:
        """Begin to work; runs that were under way continue by themselves."""
        self._dispatcher.start()

    async def stop(self) -> None:
        """Let a worker save and leave; its run continues at the next start."""
        await self._dispatcher.stop()

    # What people give

    def expect_corrections(self) -> None:
        """A person is there: a trainer is got ready for what they may correct. Cheap, raises nothing."""
        self._context.warm.expect()

    async def feedback(
        self, turn_id: str, *, verdict: Verdict, text: str | None = None, principal: str = "local"
    ) -> FeedbackReceipt:
        """Record a judgement of a turn, durably; a correction will be learned. See `Corrections.give`."""
        self.expect_corrections()
        if verdict == "correction":
            self._dispatcher.note_correction()
        given = await self._corrections.give(turn_id, verdict=verdict, text=text, principal=principal)
        self._dispatcher.ring()
        return given

    async def erase(self, subject: str, *, principal: str, why: str, dry_run: bool) -> ErasureReport:
        """Erase a session, turn or message, durably, and what repeats it. See `erasure.py`."""
        live = self._context.live_parents().parent.name
        erasure = await asyncio.to_thread(
            Erasure, self._store, self._home, subject, principal=principal, live=live
        )
        events = () if dry_run else erasure.events(why=why)
        if events:
            await asyncio.to_thread(self._cache.forget, erasure.texts)
            await self._store.append(*events)
            self._dispatcher.ring()
        return erasure.report(is_done=not dry_run)

    async def correct(
        self, messages: Sequence[Message], *, answer: str, principal: str = "local"
    ) -> FeedbackReceipt:
        """Record a correction without a turn, durably. See `Corrections.correct`."""
        self.expect_corrections()
        self._dispatcher.note_correction()
        given = await self._corrections.correct(messages, answer=answer, principal=principal)
        self._dispatcher.ring()
        return given

    async def queue(
        self,
        example_ids: Sequence[str] | None = None,
        *,
        priority: Priority = "normal",
        name: str = "corrections",
    ) -> RunRow:
        """Queue a run now: of these examples, or of all corrections that wait (else: that were refused).

        Raises NotFound, Conflict when nothing waits, NotTrainable when the live model cannot be taught.
        """
        if example_ids is None:
            examples = self._store.examples.pending() or teachable(self._store, refused(self._store))
        else:
            examples = [self._example(example_id) for example_id in dict.fromkeys(example_ids)]
        if not examples:
            raise Conflict("No correction waits to be learned.", hint="Give one first.")
        return self._run(await self._dispatcher.queue(examples, priority=priority, name=name))

    async def signal(self, run_id: str, action: Action, *, who: str, why: str) -> RunRow:
        """Pause, resume, stop, skip or retry a run; returns when it is so, with the run as it is then.

        A run that ends on its own before it could pause stays ended. A run that continues when live moved starts
        over from what is live. To retry a refused run is a new run of its corrections, which is returned.
        Raises NotFound, and Conflict where the run's state does not allow it.
        """
        run = self._run(run_id)
        if action == "retry" and run.state == "refused":
            return await self._teach_again(run)
        if action == "resume" or action == "retry":
            if run.state not in _FROM[action]:
                raise Conflict(
                    f"Run {run_id} is {run.state}; only a run that is {' or '.join(_FROM[action])} "
                    f"can be told to {action}.",
                    run_id=run_id,
                    state=run.state,
                )
            await self._dispatcher.move(run, Ending(state="queued", who=who, why=why, attempts=0))
            return self._run(run_id)
        lease = self._dispatcher.lease
        if lease is not None and lease.run_id == run_id:
            await lease.ask(Ask(action, who, why))
            await lease.finished.wait()
        else:
            await self._dispatcher.move(run, Ending(state=ASKED_STATE[action], who=who, why=why))
        return self._run(run_id)

    # What people see

    @property
    def failure(self) -> str | None:
        """What is wrong with training itself, as a sentence: its loop has ended, or a run shows no progress.

        None while it works, also while it waits for something.
        """
        if self._dispatcher.ended_because is not None:
            return self._dispatcher.ended_because
        lease = self._dispatcher.lease
        if lease is None:
            return None
        shown, quiet_s = self._board.get(lease.run_id), self._board.silent_s(lease.run_id)
        if shown is None or quiet_s < STALL_S:
            return None
        return f"Run {lease.run_id} has shown no progress for {quiet_s:.0f} s ({shown.phase})."

    def waiting_reason(self) -> str | None:
        """Why corrections or runs that wait are not trained now; None when nothing holds them up.

        Where training has ended for good it says so, whether something waits or not.
        """
        if (failure := self.failure) is not None:
            return failure
        num_pending = len(self._store.examples.pending())
        if not num_pending and not self._store.runs.list("queued"):
            return None
        try:
            self._context.live_parents().check_trainable()
        except HomefireError as problem:
            return str(problem)
        if self._context.memory.is_parked:
            return PARKED
        if self._dispatcher.blocked is not None:
            return self._dispatcher.blocked
        if num_pending and not self._settings.training.auto:
            waiting = "1 correction waits" if num_pending == 1 else f"{num_pending} corrections wait"
            return f"{waiting}: training.auto is off."
        return None

    def correction_states(self) -> CorrectionStates:
        """The states of corrections now; make a new one for each look."""
        return CorrectionStates(
            self._store,
            live=self._context.live_parents().parent.name,
            auto=self._settings.training.auto,
        )

    def unlearned(self, principal: str) -> list[CorrectionView]:
        """This principal's corrections that were refused or stranded, the newest first."""
        return [
            view
            for view in self.correction_states().unlearned()
            if (example := self._store.examples.get(view.example_id)) and example.principal == principal
        ]

    def disagreements(self) -> list[tuple[CorrectionView, ...]]:
        """Questions to which several people gave different answers, each with all of them. For the owner."""
        states = self.correction_states()
        by_prompt: dict[str | None, list[CorrectionView]] = defaultdict(list)
        for example in self._store.examples.disputed():
            by_prompt[example.prompt_digest].append(states.view(example))
        return [tuple(views) for views in by_prompt.values()]

    def corrections_of(self, run_id: str, principal: str) -> list[CorrectionView]:
        """What a run learns of this principal's corrections. Raises NotFound."""
        states = self.correction_states()
        return [
            states.view(example)
            for example in examples_of(self._store, self._run(run_id))
            if example.principal == principal
        ]

    def progress(self, run_id: str) -> Progress:
        """The progress of a run. Raises NotFound. Cheap: `losses` has the history of runs before this start."""
        return self._board.get(run_id) or progress_of(self._run(run_id))

    def losses(self, run_id: str) -> list[tuple[int, float]]:
        """(step, loss) of the run so far, thinned to a few hundred points. Raises NotFound."""
        shown = self.progress(run_id).losses
        if shown:
            return list(shown)
        steps = read_steps(self._home.runs / run_id)
        return list(thinned([(step.step, step.loss) for step in steps]))

    def watch(self, run_id: str) -> AsyncIterator[Progress]:
        """What is known now, then every change, until the run has ended. Raises NotFound at once."""
        first = msgspec.structs.replace(self.progress(run_id), losses=tuple(self.losses(run_id)))
        return self._board.watch(run_id, first=first)

    def run_of(self, example_id: str) -> str | None:
        """The newest run that learned or will learn this example; None while it waits for one."""
        runs = self._store.runs.of_example(example_id)
        return runs[0].run_id if runs else None

    async def _teach_again(self, run: RunRow) -> RunRow:
        """A new run of what still counts of a refused one and is not known."""
        known = known_to(self._store, self._context.live_parents().parent.name)
        examples = [
            example for example in counting(examples_of(self._store, run)) if example.example_id not in known
        ]
        if not examples:
            raise Conflict(
                f"Every correction of run {run.run_id} was learned, corrected again or withdrawn since.",
                hint="Give them again.",
                run_id=run.run_id,
            )
        name = "corrections, again"
        return self._run(await self._dispatcher.queue(examples, priority=run.priority, name=name))

    def _run(self, run_id: str) -> RunRow:
        run = self._store.runs.get(run_id)
        if run is None:
            raise NotFound(f"There is no run {run_id}.", run_id=run_id)
        return run

    def _example(self, example_id: str) -> ExampleRow:
        example = self._store.examples.get(example_id)
        if example is None:
            raise NotFound(f"There is no example {example_id}.", example_id=example_id)
        return example
