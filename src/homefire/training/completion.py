"""From a worker's result to a version that is live, in phases that can each be killed and done again.

publish → judge → promote → done. Each phase leaves its fact in the log (VersionPublished, GateJudged,
AliasMoved, RunMoved), and each looks for its own fact first: after a kill the run continues with the first fact
that is missing. A version that the gate refuses is kept, unpromoted, with the reasons; the run is then `refused`.
One that passes goes live with what it learned; what it did not learn is tried again by itself. A version is not
promoted when live moved meanwhile or one of its corrections was withdrawn: then what still counts is taught again from
what is live.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

import homefire
from homefire.config.schema import Settings
from homefire.errors import CorruptData, EngineError, HomefireError
from homefire.home import Home
from homefire.store.nouns.examples import ExampleRow
from homefire.store.nouns.runs import RunRow
from homefire.store.nouns.versions import GateJudged, VersionRow
from homefire.store.store import Store
from homefire.trainer.contract import FINAL, RunSpec, read_result, read_rows, read_spec
from homefire.training.evaluation import GateEvaluator
from homefire.training.ledger import CORRECTIONS, LOST_EARLIER, UNLEARNED, learned_by, results_in
from homefire.training.memory import TrainingMemory
from homefire.training.preparation import EXAMPLES_FILE, Origin, Parents, discard_leftovers, read_origin
from homefire.training.progress import Board, read_steps
from homefire.versions.blame import as_scores
from homefire.versions.library import Library
from homefire.versions.manifest import BaseEntry, Lineage
from homefire.versions.promotion import LIVE, Promotion

if TYPE_CHECKING:
    from homefire.catalog.catalog import Catalog

logger = logging.getLogger(__name__)
WHO = "training"
Again = Literal["retry", "rest", "unlearned"]
"""What becomes of a run's corrections: tried again after a refusal, what still counts of them taught from what is live
by then, or those tried again that a version which went live does not know."""


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """How a run that trained to its end came out, for its last event."""

    state: Literal["done", "refused", "stopped"]
    why: str
    metrics: dict[str, Any]
    again: Again | None = None


class _Decision(msgspec.Struct, frozen=True, kw_only=True):
    why: str
    state: Literal["done", "refused", "stopped"] = "done"
    promoted: bool = False
    again: Again | None = None


class Completion:
    """Publishes, judges and promotes what a run made."""

    def __init__(
        self,
        *,
        home: Home,
        store: Store,
        catalog: Catalog,
        library: Library,
        promotion: Promotion,
        evaluator: GateEvaluator,
        settings: Settings,
        board: Board,
        memory: TrainingMemory,
    ) -> None:
        self._home, self._store, self._catalog = home, store, catalog
        self._library, self._promotion, self._evaluator = library, promotion, evaluator
        self._settings, self._board, self._memory = settings, board, memory

    async def complete(self, run: RunRow) -> Completed:
        """Do what is missing of the phases. Raises HomefireError when one cannot be done now."""
        metrics = await asyncio.to_thread(self._training_metrics, run)
        version = await self._publish(run, metrics)
        self._board.change(run.run_id, version=version.version)
        version = await self._judge(run, version)
        decision = await self._promote(run, version)
        self._board.change(run.run_id, promoted=decision.promoted)
        await asyncio.to_thread(discard_leftovers, self._home.runs / run.run_id)
        scores = {name: version.gate_scores.get(name) for name in ("target_score", "protected_ratio")}
        return Completed(
            state=decision.state,
            why=decision.why,
            again=decision.again,
            metrics={
                **metrics,
                **scores,
                UNLEARNED: [name for name, result in results_in(version).items() if not result.right],
                "version": version.version,
                "gate_passed": version.gate_passed,
                "promoted": decision.promoted,
                "phase_s": self._board.phase_s(run.run_id),
            },
        )

    async def ask_ahead(self, run: RunRow) -> None:
        """While the trainer works, ask the parent what the gate will want to know. What fails is asked again."""
        origin = read_origin(self._home.runs / run.run_id)
        try:
            await self._evaluator.ask_parents(
                self.parents(run),
                targets=self.trained_examples(run),
                earlier=learned_by(self._store, origin.parent),
                seed=run.run_id,
            )
        except HomefireError as problem:
            logger.info("The gate asks the parent of run %s later: %s", run.run_id, problem)

    def trained_examples(self, run: RunRow) -> list[ExampleRow]:
        """The examples this run really learned from (fixed at its first lease)."""
        version = self._library.of_run(run.run_id)
        if version is not None:
            return self._examples(self._library.manifest(version.version).lineage.example_ids)
        rows = read_rows(self._home.runs / run.run_id / EXAMPLES_FILE)
        return self._examples([row.example_id for row in rows if "#" not in row.example_id])

    def _training_metrics(self, run: RunRow) -> dict[str, Any]:
        steps = read_steps(self._home.runs / run.run_id)
        if not steps:
            return {}
        last = steps[-1]
        return {
            "steps": last.step,
            "loss": last.loss,
            "num_learned": last.num_learned,
            "num_examples": last.num_examples,
        }

    async def _publish(self, run: RunRow, metrics: dict[str, Any]) -> VersionRow:
        known = self._library.of_run(run.run_id)
        if known is not None:
            return known
        self._board.change(run.run_id, phase="publishing")
        run_dir = self._home.runs / run.run_id
        spec, origin, files = await asyncio.to_thread(_read_run, run_dir)
        examples = self.trained_examples(run)
        return await self._library.publish(
            run_dir / FINAL,
            kind="full" if spec.mode == "full" else "adapter",
            base=BaseEntry(name=origin.base, digest=origin.base_digest),
            parent=origin.parent,
            lineage=Lineage(
                run_id=run.run_id,
                dataset_id=run.dataset_id,
                example_ids=tuple(example.example_id for example in examples),
                recipe=spec.recipe.to_dict(),
                code_version=homefire.__version__,
            ),
            description=describe(examples, without=self._examples(run.unteaches)),
            metrics=metrics,
            files=files,
        )

    async def _judge(self, run: RunRow, version: VersionRow) -> VersionRow:
        if version.gate_passed is not None:
            return version
        self._board.change(run.run_id, phase="gating")

        def show(num_probed: int, num_probes: int) -> None:
            self._board.change(run.run_id, num_probed=num_probed, num_probes=num_probes)

        steps = await asyncio.to_thread(read_steps, self._home.runs / run.run_id)
        found = await self._evaluator.judge(
            self._catalog.resolve(version.version).model,
            self.parents(run),
            targets=self.trained_examples(run),
            earlier=learned_by(self._store, version.parent),
            num_steps=steps[-1].step if steps else None,
            seed=run.run_id,
            on_answer=show,
        )
        await self._store.append(
            GateJudged(
                version=version.version,
                run_id=run.run_id,
                passed=found.verdict.passed,
                reasons=found.verdict.reasons,
                scores={
                    **found.verdict.scores,
                    CORRECTIONS: as_scores(found.results),
                    LOST_EARLIER: found.verdict.lost_earlier,
                },
            )
        )
        return self._library.get(version.version)

    async def _promote(self, run: RunRow, version: VersionRow) -> _Decision:
        """Whether the version is or was made live by this run, and a sentence about it."""
        name = version.version
        if any(move.target == name for move in self._store.aliases.history(LIVE)):
            return _live(version)
        withdrawn = [example for example in self.trained_examples(run) if example.withdrawn_at_s is not None]
        if withdrawn:
            why = f"{name} was taught {_counted(withdrawn)}, withdrawn meanwhile: it does not go live."
            return _Decision(state="stopped", why=why, again="rest")
        if version.gate_passed is not True:
            return _Decision(state="refused", why=outcome_of(version), again="retry")
        if not self._settings.gate.auto_promote:
            return _Decision(
                why=f"{name} passed its gate and waits to be promoted (gate.auto_promote is off)."
            )
        live = self._catalog.resolve(LIVE).model.name
        live_then = self._live_then(run, version)
        if live != live_then:
            return _Decision(
                why=f"{name} passed its gate, but live moved from {live_then} to {live} meanwhile.",
                again="rest",
            )
        self._board.change(run.run_id, phase="promoting")
        self._memory.holds("run", 0)  # what promoting needs is serving's, which may wait for ours
        try:
            await self._promotion.promote(name, who=WHO, why=f"{version.description} (run {run.run_id})")
        except EngineError as problem:
            why = f"{name} passed its gate but could not be loaded for serving: {problem.message}"
            return _Decision(why=why)
        return _live(version, without=self._examples(run.unteaches))

    def parents(self, run: RunRow) -> Parents:
        """The models of the run's first lease."""
        version = self._library.of_run(run.run_id)
        if version is not None:
            parent, base = version.parent, version.base
        else:
            origin = read_origin(self._home.runs / run.run_id)
            parent, base = origin.parent, origin.base
        return Parents(parent=self._catalog.resolve(parent).model, base=self._catalog.resolve(base).model)

    def _live_then(self, run: RunRow, version: VersionRow) -> str:
        """What was live when the run began; where its files cannot say so any more, its parent."""
        try:
            return read_origin(self._home.runs / run.run_id).live_then
        except CorruptData:
            return version.parent

    def _examples(self, example_ids: Sequence[str]) -> list[ExampleRow]:
        found = (self._store.examples.get(example_id) for example_id in example_ids)
        return [example for example in found if example is not None]


def _read_run(run_dir: Path) -> tuple[RunSpec, Origin, dict[str, str]]:
    """What is needed of a run's directory to publish its result. Raises CorruptData."""
    try:
        files = read_result(run_dir)
        return read_spec(run_dir), read_origin(run_dir), files or {}
    except (FileNotFoundError, msgspec.DecodeError) as error:
        raise CorruptData(f"What run {run_dir.name} made cannot be trusted: {error}.") from error


def describe(examples: Sequence[ExampleRow], *, without: Sequence[ExampleRow] = ()) -> str:
    """`3 corrections, without 1 that was withdrawn`. What they say is for those who gave them."""
    described = _counted(examples)
    return (
        f"{described}, without {len(without)} that {'was' if len(without) == 1 else 'were'} withdrawn"
        if without
        else described
    )


def outcome_of(version: VersionRow) -> str:
    """What the gate said of a version it held back, in one sentence; the reasons are the version's."""
    scores = version.gate_scores
    parts = []
    if scores.get("num_targets"):
        parts.append(f"{scores['num_targets_right']} of {scores['num_targets']} corrections are right")
    if scores.get("protected_before"):
        parts.append(f"{scores['protected_now']} of {scores['protected_before']} earlier answers are kept")
    return f"{version.version} did not pass its gate: {'; '.join(parts) or 'it could not be judged'}."


def _live(version: VersionRow, *, without: Sequence[ExampleRow] = ()) -> _Decision:
    """It is live; what it did not learn or lost is taught again."""
    results, lost = results_in(version), version.gate_scores.get(LOST_EARLIER, ())
    num_unlearned = sum(not result.right for result in results.values())
    why = f"{version.version} is live"
    if without:
        why += f", without {_counted(without)}"
    if num_unlearned:
        why += f"; {num_unlearned} of {len(results)} corrections {'was' if num_unlearned == 1 else 'were'} not learned"
    if lost:
        why += "; an earlier correction was lost and is taught again"
    return _Decision(why=f"{why}.", promoted=True, again="unlearned" if num_unlearned or lost else None)


def _counted(examples: Sequence[ExampleRow]) -> str:
    return "1 correction" if len(examples) == 1 else f"{len(examples)} corrections"
