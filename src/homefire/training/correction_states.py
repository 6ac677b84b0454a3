"""The state of each correction, for the person who gave it. Derived from the log at each call.

Every correction is in exactly one state: it waits, is being trained, is learned (live or taken back), was refused
by the gate, is stranded (a run ended without teaching it, and nothing will try again by itself), was withdrawn, or
was corrected again. The state comes with what happens next. Costs a few reads per correction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from homefire.store.nouns.examples import ExampleRow
from homefire.store.nouns.runs import RunRow
from homefire.store.store import Store
from homefire.training.ledger import LEFT_OUT, MAX_REFUSALS, known_to, lived_versions

CorrectionState = Literal["waiting", "training", "learned", "refused", "stranded", "withdrawn", "superseded"]
ACTIVE = ("running", "paused", "queued")
UNLEARNED: tuple[CorrectionState, ...] = ("refused", "stranded")
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
            return self._make(example, "learned", run=run)
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
        if not runs:
            return self._make(example, "stranded", why="Its run started over without it.", next=f"{retry}.")
        run = runs[0]
        version = self._store.versions.get(run.version) if run.version is not None else None
        if version is not None and version.version in self._lived:
            why = f"{version.version} learned it and is not live any more."
            return self._make(example, "learned", run=run, why=why, next=f"{retry} again.")
        if run.state == "refused" and version is not None:
            num_refused = sum(each.state == "refused" for each in runs)
            if self._auto and num_refused <= MAX_REFUSALS:
                then = "It is taught again with the next correction."
            else:
                then = f"Nothing more happens by itself: edit it, withdraw it, or {retry} once more."
            return self._make(
                example, "refused", run=run, why=run.why, reasons=version.gate_reasons, next=then
            )
        if run.state == "done" and version is not None and version.gate_passed:
            if version.parent == self._live:
                then = f"`homefire versions promote {version.version}` makes it live."
                return self._make(example, "learned", run=run, why=run.why, next=then)
            then = f"{retry} to what is live."
            return self._make(example, "stranded", run=run, why=run.why, next=then)
        return self._make(example, "stranded", run=run, why=run.why, next=f"{retry} again.")

    def _make(
        self,
        example: ExampleRow,
        state: CorrectionState,
        *,
        run: RunRow | None = None,
        why: str = "",
        reasons: tuple[str, ...] = (),
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
            next=next,
            superseded_by=example.superseded_by,
            turn_id=example.turn_id,
            created_at_s=example.created_at_s,
            seq=example.seq,
        )
