"""The state of each correction, for the person who gave it. Derived from the log at each call.

Every correction is in exactly one state: it waits, is being trained, is learned (live or taken back), was refused
(not learned, to blame for what a version lost, in a version that was held back, or unusable), is disputed (another
person gave the same question another answer), is stranded (a run ended
without teaching it, and nothing will try again by itself), was withdrawn, or was corrected again. The state comes with
what happens next. Costs a few reads per correction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from homefire.store.nouns.examples import ExampleRow
from homefire.store.nouns.runs import RunRow
from homefire.store.store import Store
from homefire.training.ledger import (
    LEFT_OUT,
    UNUSABLE,
    known_to,
    lived_versions,
    results_in,
)
from homefire.versions.blame import Cause

CorrectionState = Literal[
    "waiting", "training", "learned", "refused", "disputed", "stranded", "withdrawn", "superseded"
]
ACTIVE = ("running", "paused", "queued")
LONG_CHARS = 300
"""From here on an answer is long for a small model."""
HELP: dict[Cause, str] = {
    "not_learned": "Another wording of the question may help; so does a larger model, or LoRA (`training.mode`).",
    "spreads": "Ask more precisely, so that similar questions differ from it; a larger model keeps them apart, too.",
    "contradicts": "Ask in a form of its own, or teach a larger model.",
}
HELP_LONG = (
    "A shorter answer helps; so does a larger model, or LoRA (`training.mode`). A long text can also go into the "
    "system prompt of a conversation instead of the weights."
)
DISPUTED = "Somebody else gave this question another answer."
HELP_UNUSABLE = "Shorten it, or teach a model with a longer context."
UNLEARNED: tuple[CorrectionState, ...] = ("refused", "disputed", "stranded")
"""States that a person has to know of: nothing teaches these corrections now."""


class CorrectionView(msgspec.Struct, frozen=True, kw_only=True):
    """One correction. `seq` is a page marker."""

    example_id: str
    question: str
    answer: str
    num_messages_before: int
    """Messages of the conversation before the question."""
    state: CorrectionState
    live: bool
    """Whether what answers now was taught this."""
    version: str | None
    """The version that learned it, or was refused with it."""
    run_id: str | None
    """The run that learns it, learned it, or failed to."""
    run_state: str | None
    why: str
    """What became of it, in a sentence; empty where the state says all."""
    reasons: tuple[str, ...]
    """The gate's, where it was refused."""
    helps: str
    """Where it was refused: what could make it learnable."""
    next: str
    """What happens now, or what one can do."""
    superseded_by: str | None
    turn_id: str | None
    created_at_s: float
    seq: int


class CorrectionStates:
    """A look at one moment of the log. Make a new one for each look."""

    def __init__(self, store: Store, *, live: str, auto: bool) -> None:
        """`live` is the model that answers now; `auto`: corrections are trained by themselves."""
        self._store, self._live, self._auto = store, live, auto
        self._known: Mapping[str, str] = known_to(store, live)
        self._pending = {example.example_id for example in store.examples.pending()}
        self._lived = lived_versions(store)
        self._disputed = {example.example_id for example in store.examples.disputed()}
        self._unteaching = {
            example_id: run
            for state in ("queued", "paused", "running")
            for run in store.runs.list(state)
            for example_id in run.unteaches
        }

    def unlearned(self) -> list[CorrectionView]:
        """All that count and that nothing teaches, the newest first, whoever gave them."""
        looked_at = [
            self.view(example)
            for example in self._store.examples.current()
            if example.example_id not in self._known and example.example_id not in self._pending
        ]
        return [view for view in reversed(looked_at) if view.state in UNLEARNED]

    def view(self, example: ExampleRow) -> CorrectionView:
        """The state of this correction, and what happens next."""
        name = example.example_id
        runs = [run for run in self._store.runs.of_example(name) if name not in run.metrics.get(LEFT_OUT, ())]
        if example.withdrawn_at_s is not None:
            return self._withdrawn(example)
        if example.superseded_by is not None:
            return self._make(example, "superseded", why="It was corrected again.")
        active = next((run for run in runs if run.state in ACTIVE), None)
        if active is not None:
            then = f"`homefire runs resume {active.run_id}` continues it." if active.state == "paused" else ""
            return self._make(example, "training", run=active, next=then or "It is learned by this run.")
        if name in self._pending:
            then = "The next run learns it." if self._auto else "`homefire runs start` learns it."
            return self._make(example, "waiting", next=then)
        if name in self._known:
            run = next((run for run in runs if run.version == self._known[name]), None)
            then = f"{DISPUTED} It stays until the owner settles it." if name in self._disputed else ""
            return self._make(example, "learned", run=run, next=then)
        if name in self._disputed:
            then = "The owner of this home decides: `homefire corrections settle` keeps one of them."
            return self._make(example, "disputed", why=DISPUTED, next=then)
        return self._after_a_run(example, runs)

    def _withdrawn(self, example: ExampleRow) -> CorrectionView:
        run = self._unteaching.get(example.example_id)
        if run is None and example.example_id in self._known:
            # A run that waits to un-teach others is planned anew at its lease, with this one.
            run = next((run for run in self._unteaching.values() if run.state != "running"), None)
        state: CorrectionState = "superseded" if example.superseded_by is not None else "withdrawn"
        if run is not None:
            then = "This run makes a version that does not know it."
        elif example.example_id in self._known:
            then = f"{self._live} still knows it; withdraw it again to un-teach it."
        else:
            then = ""
        return self._make(example, state, run=run, why=example.withdrawn_why or "", next=then)

    def _after_a_run(self, example: ExampleRow, runs: Sequence[RunRow]) -> CorrectionView:
        retry = f"`homefire corrections retry {example.example_id[:12]}` teaches it"
        unusable = self._unusable(example)
        if unusable is not None:
            return unusable
        if not runs:
            return self._make(example, "stranded", why="Its run started over without it.", next=f"{retry}.")
        run = runs[0]
        version = self._store.versions.get(run.version) if run.version is not None else None
        result = results_in(version).get(example.example_id)
        lived = version is not None and version.version in self._lived
        if version is not None and (
            (run.state == "refused" and not lived) or (result is not None and not result.right)
        ):
            why, helps = "The version it was in was held back, and nothing speaks against it by itself.", ""
            if result is not None and result.cause is not None:
                why, helps = result.why, _help(result.cause, example)
            then = f"Nothing more happens by itself: edit it, withdraw it, or {retry} once more."
            return self._make(
                example, "refused", run=run, why=why, reasons=version.gate_reasons, helps=helps, next=then
            )
        if lived and version is not None:
            why = f"{version.version} learned it and is not live any more."
            return self._make(example, "learned", run=run, why=why, next=f"{retry} again.")
        if run.state == "done" and version is not None and version.gate_passed:
            if version.parent == self._live:
                then = f"`homefire versions promote {version.version}` makes it live."
                return self._make(example, "learned", run=run, why=run.why, next=then)
            then = f"{retry} to what is live."
            return self._make(example, "stranded", run=run, why=run.why, next=then)
        return self._make(example, "stranded", run=run, why=run.why, next=f"{retry} again.")

    def _unusable(self, example: ExampleRow) -> CorrectionView | None:
        """The view of one that its newest run could not use at all."""
        newest = next(iter(self._store.runs.of_example(example.example_id)), None)
        why = newest.metrics.get(UNUSABLE, {}).get(example.example_id) if newest is not None else None
        if why is None:
            return None
        then = "Edit it or withdraw it; it is not taught as it is."
        return self._make(example, "refused", run=newest, why=why, helps=HELP_UNUSABLE, next=then)

    def _make(
        self,
        example: ExampleRow,
        state: CorrectionState,
        *,
        run: RunRow | None = None,
        why: str = "",
        reasons: tuple[str, ...] = (),
        helps: str = "",
        next: str = "",
    ) -> CorrectionView:
        name = example.example_id
        return CorrectionView(
            example_id=name,
            question=example.question,
            answer=example.answer,
            num_messages_before=max(0, len(example.messages) - 2),
            state=state,
            live=name in self._known,
            version=self._known.get(name) or (run.version if run is not None else None),
            run_id=run.run_id if run is not None else None,
            run_state=run.state if run is not None else None,
            why=why,
            reasons=reasons,
            helps=helps,
            next=next,
            superseded_by=example.superseded_by,
            turn_id=example.turn_id,
            created_at_s=example.created_at_s,
            seq=example.seq,
        )


def _help(cause: Cause, example: ExampleRow) -> str:
    is_long = cause == "not_learned" and len(example.answer) >= LONG_CHARS
    return HELP_LONG if is_long else HELP[cause]
