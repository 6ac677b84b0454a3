"""The progress of all runs, for everyone who watches. In memory only: the log holds what must survive.

A board holds the newest `Progress` of each run since the server started; watchers see every newest value and
may miss ones in between. How far a run is and how long it will take is told from what recent runs took, phase by
phase (`Pace`): training ends when everything is learned, long before its most steps. Before the first run has
ended that is None. Costs a small object a change; the loss history is thinned, never cut.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from homefire.store.nouns.runs import RunRow
from homefire.store.run_states import ENDED, RunState
from homefire.trainer.contract import METRICS_FILE, Stepped

Phase = Literal["waiting", "preparing", "training", "publishing", "gating", "promoting", "done"]
WORKING: tuple[Phase, ...] = ("preparing", "training", "publishing", "gating", "promoting")
NUM_PACE_RUNS = 5
"""So many of the newest runs say how long the next one takes."""
ALIKE = 2.0
"""Runs whose numbers of corrections differ by no more than this factor take about as long."""
LATE_SHARE = 0.95
"""How far training is shown at most while it takes more steps than runs took lately."""
MAX_LOSSES = 400
"""Points a loss history keeps; beyond that every second one is dropped, the newest never."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One run, now. What is not known yet is None, never 0."""

    run_id: str
    state: RunState
    phase: Phase
    step: int = 0
    max_steps: int | None = None
    """Training ends as soon as everything is learned, at the latest after so many steps."""
    usual_steps: int | None = None
    """Steps that runs of about as many corrections took lately."""
    loss: float | None = None
    learning_rate: float | None = None
    share: float | None = None
    """How much of the whole run is done, 0 to 1, by what recent runs took."""
    eta_s: float | None = None
    """Seconds until its end, by what recent runs took."""
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


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What runs took recently: seconds in each phase, and steps. Medians."""

    phase_s: Mapping[str, float]
    steps: float

    @property
    def total_s(self) -> float:
        """A whole run."""
        return sum(self.phase_s.get(phase, 0.0) for phase in WORKING)


def pace_of(runs: Sequence[RunRow], *, num_examples: int = 0) -> Pace | None:
    """The pace of the newest runs that were seen from beginning to end (`runs`: newest first); None: no such.

    Runs of about `num_examples` corrections (0: not known) are preferred: one correction takes a part of what twenty
    take.
    """
    seen = [run for run in runs if run.metrics.get("phase_s") and run.metrics.get("steps")]
    if not seen:
        return None
    alike = [
        run
        for run in seen
        if num_examples and 1 / ALIKE <= int(run.metrics.get("num_examples", 0)) / num_examples <= ALIKE
    ]
    seen = (alike or seen)[:NUM_PACE_RUNS]
    phase_s: dict[str, float] = {
        phase: statistics.median(float(run.metrics["phase_s"].get(phase, 0.0)) for run in seen)
        for phase in WORKING
    }
    return Pace(phase_s=phase_s, steps=statistics.median(float(run.metrics["steps"]) for run in seen))


def share_of(progress: Progress, pace: Pace | None) -> float | None:
    """How much of a run is done, 0 to 1; None where nobody can know. Never falls while a run moves on."""
    if progress.state in ("done", "refused"):
        return 1.0
    if pace is None or not pace.total_s or progress.phase not in WORKING:
        return None
    before_s = sum(pace.phase_s.get(phase, 0.0) for phase in WORKING[: WORKING.index(progress.phase)])
    inside = 0.0
    if progress.phase == "training":
        inside = share_of_training(progress, usual_steps=pace.steps)
    elif progress.phase == "gating" and progress.num_probes:
        inside = progress.num_probed / progress.num_probes
    return (before_s + inside * pace.phase_s.get(progress.phase, 0.0)) / pace.total_s


def share_of_training(progress: Progress, *, usual_steps: float) -> float:
    """How much of its training a run has behind it, 0 to 1, by the steps that runs take."""
    late = (1 - LATE_SHARE) * progress.step / progress.max_steps if progress.max_steps else 0.0
    return min(progress.step / max(usual_steps, 1.0), LATE_SHARE + late, 1.0)


class Board:
    """The newest progress of each run. For one event loop."""

    def __init__(
        self,
        *,
        pace: Callable[[int], Pace | None] = lambda _num_examples: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pace` is asked, with the number of corrections, when a run begins to be prepared; `now_s` is a
        monotonic clock."""
        self._find_pace, self._now_s = pace, now_s
        self._pace: Pace | None = None
        self._clocks: dict[str, _PhaseClock] = {}
        self._newest: dict[str, Progress] = {}
        self._changed_s: dict[str, float] = {}
        self._bells: dict[str, set[asyncio.Event]] = defaultdict(set)

    def get(self, run_id: str) -> Progress | None:
        """The newest progress, or None when nothing happened to the run since this server started."""
        return self._newest.get(run_id)

    def silent_s(self, run_id: str) -> float:
        """Seconds since anything was shown of the run; 0 where nothing was."""
        changed_s = self._changed_s.get(run_id)
        return 0.0 if changed_s is None else self._now_s() - changed_s

    def note_life(self, run_id: str) -> None:
        """The run moves on, though there is nothing new to show."""
        self._changed_s[run_id] = self._now_s()

    def put(self, progress: Progress) -> None:
        """Show a new value to all who watch the run, with what recent runs say about it."""
        self.note_life(progress.run_id)
        clock = self._clocks.get(progress.run_id)
        if progress.phase == "preparing" and (clock is None or clock.phase != "preparing"):
            self._pace = self._find_pace(progress.num_examples)
            if clock is None or not progress.step:
                clock = _PhaseClock(is_whole=not progress.step)
                self._clocks[progress.run_id] = clock
        if clock is not None:
            clock.enter(progress.phase, self._now_s())
        share = share_of(progress, self._pace)
        eta_s = None
        if share is not None and self._pace is not None and progress.phase in WORKING:
            eta_s = round(self._pace.total_s * (1 - share), 1)
        usual_steps = round(self._pace.steps) if self._pace is not None else None
        progress = msgspec.structs.replace(progress, share=share, eta_s=eta_s, usual_steps=usual_steps)
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
            num_learned=event.num_learned,
            num_examples=event.num_examples,
            losses=thinned([*known, (event.step, event.loss)]),
        )

    def phase_s(self, run_id: str) -> dict[str, float]:
        """Seconds the run spent in each phase up to now; empty where not all of it was seen."""
        clock = self._clocks.get(run_id)
        if clock is None or not clock.is_whole:
            return {}
        clock.enter(clock.phase, self._now_s())
        return {phase: round(seconds, 3) for phase, seconds in clock.seconds.items() if phase in WORKING}

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


class _PhaseClock:
    """Adds up how long a run was in each phase."""

    def __init__(self, *, is_whole: bool) -> None:
        self.is_whole = is_whole
        self.phase: Phase = "waiting"
        self.seconds: dict[str, float] = defaultdict(float)
        self._since_s: float | None = None

    def enter(self, phase: Phase, now_s: float) -> None:
        if self._since_s is not None:
            self.seconds[self.phase] += now_s - self._since_s
        self.phase, self._since_s = phase, now_s


def progress_of(run: RunRow) -> Progress:
    """What the log alone says of a run (one of an earlier server's life)."""
    phase: Phase = "done" if run.state in ENDED else "waiting"
    return Progress(
        run_id=run.run_id,
        state=run.state,
        phase=phase,
        step=int(run.metrics.get("steps", run.step)),
        share=1.0 if run.state in ("done", "refused") else None,
        loss=run.metrics.get("loss"),
        num_learned=int(run.metrics.get("num_learned", 0)),
        num_examples=int(run.metrics.get("num_examples", 0)),
        version=run.version,
        promoted=bool(run.metrics.get("promoted", False)),
        attempts=run.attempts,
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
