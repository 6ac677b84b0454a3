"""Where runs stand right now, for everyone who watches. In memory only: the log holds what must survive.

A board holds the newest `Progress` of each run of this server's life; watchers see every newest value and
may miss ones in between. Costs a small object a change; the loss history is thinned, never cut.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from homefire.store.nouns.runs import RunRow
from homefire.store.run_states import ENDED, RunState
from homefire.training.job import METRICS_FILE, Stepped

Phase = Literal["waiting", "preparing", "training", "publishing", "gating", "promoting", "done"]
MAX_LOSSES = 400
"""Points a loss history keeps; beyond that every second one is dropped, the newest never."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One run, now. What is not known yet is None, never 0."""

    run_id: str
    state: RunState
    phase: Phase
    step: int = 0
    max_steps: int = 0
    loss: float | None = None
    learning_rate: float | None = None
    eta_s: float | None = None
    num_learned: int = 0
    num_examples: int = 0
    losses: tuple[tuple[int, float], ...] = ()
    """(step, loss)"""
    num_probed: int = 0
    num_probes: int = 0
    """Questions of the gate, asked and in all (both models)."""
    version: str | None = None
    promoted: bool = False
    attempts: int = 0
    who: str = ""
    why: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to this run unless a person asks for it."""
        return self.state in ENDED


class Board:
    """See the module. For one event loop."""

    def __init__(self) -> None:
        self._newest: dict[str, Progress] = {}
        self._bells: dict[str, set[asyncio.Event]] = defaultdict(set)

    def get(self, run_id: str) -> Progress | None:
        """The newest progress, or None when nothing happened to the run since this server started."""
        return self._newest.get(run_id)

    def put(self, progress: Progress) -> None:
        """Show a new value to all who watch the run."""
        self._newest[progress.run_id] = progress
        for bell in self._bells.get(progress.run_id, ()):
            bell.set()

    def change(self, run_id: str, **changes: Any) -> None:
        """Change some fields of what is on the board (something must be)."""
        self.put(msgspec.structs.replace(self._newest[run_id], **changes))

    def step(self, run_id: str, event: Stepped) -> None:
        """Take over what a training step reported."""
        shown = self._newest[run_id]
        known = [point for point in shown.losses if point[0] < event.step]
        self.change(
            run_id,
            step=event.step,
            max_steps=event.max_steps,
            loss=event.loss,
            learning_rate=event.learning_rate,
            eta_s=event.eta_s,
            num_learned=event.num_learned,
            num_examples=event.num_examples,
            losses=thinned([*known, (event.step, event.loss)]),
        )

    async def watch(self, run_id: str, *, first: Progress) -> AsyncIterator[Progress]:
        """What is known now (`first` when the board knows nothing), then what is newer, until it ended."""
        bell = asyncio.Event()
        self._bells[run_id].add(bell)
        try:
            shown = self._newest.get(run_id, first)
            yield shown
            while not shown.has_ended:
                await bell.wait()
                bell.clear()
                shown = self._newest[run_id]
                yield shown
        finally:
            self._bells[run_id].discard(bell)
            if not self._bells[run_id]:
                del self._bells[run_id]


def progress_of(run: RunRow) -> Progress:
    """What the log alone says of a run (one of an earlier server's life)."""
    phase: Phase = "done" if run.state in ENDED else "waiting"
    return Progress(
        run_id=run.run_id,
        state=run.state,
        phase=phase,
        step=int(run.metrics.get("steps", 0)),
        max_steps=int(run.metrics.get("steps", 0)),
        loss=run.metrics.get("loss"),
        num_learned=int(run.metrics.get("num_learned", 0)),
        num_examples=int(run.metrics.get("num_examples", 0)),
        version=run.version,
        promoted=bool(run.metrics.get("promoted", False)),
        attempts=int(run.metrics.get("attempts", 0)),
        who=run.who,
        why=run.why,
    )


def thinned(points: list[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """At most `MAX_LOSSES` of the points, evenly, the newest among them."""
    while len(points) > MAX_LOSSES:
        points = points[:-1][::2] + points[-1:]
    return tuple(points)


def read_steps(run_dir: Path) -> list[Stepped]:
    """All whole lines of a run's metrics, in order; none where there is no such file."""
    path = run_dir / METRICS_FILE
    if not path.exists():
        return []
    steps = []
    for line in path.read_bytes().split(b"\n"):
        try:
            steps.append(msgspec.json.decode(line, type=Stepped))
        except msgspec.MsgspecError:
            continue  # the last line of a worker that was killed while it wrote
    return steps
