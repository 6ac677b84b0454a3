"""Following a run until it ends: a bar on a terminal, a line per change in a pipe, JSON lines for programs.

A run has ended well when its version was promoted; everything else that ends it (failed, stopped, skipped,
refused by the gate) is `NotLearned` to those who waited for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any

from homefire.cli.client import Client
from homefire.cli.output import Output
from homefire.cli.words import clipped, counted, duration
from homefire.errors import HomefireError, ServerUnreachable

ENDED = frozenset({"done", "refused", "failed", "skipped", "stopped"})
_RECONNECT_S = 0.5
_QUEUE_POLL_S = 0.2
_NEXT_TRY_POLLS = 5
MAX_REASONS = 3
_MAX_RECONNECTS = 20


class NotLearned(HomefireError):
    """A run ended without a promoted version."""

    code, http_status, exit_code = "not_learned", 409, 14


@dataclass(frozen=True, slots=True)
class Step:
    """One sign of life of a run, as the server sends it."""

    state: str
    phase: str
    step: int
    max_steps: int
    """An upper bound: training ends as soon as everything is learned."""
    loss: float | None
    num_learned: int
    num_examples: int
    num_probed: int
    num_probes: int
    version: str | None
    promoted: bool
    attempts: int
    why: str

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ENDED

    @property
    def position(self) -> tuple[int, int]:
        """How far of how much, in the units of the present phase; (0, 0) where that is not known."""
        if self.phase == "gating":
            return self.num_probed, self.num_probes
        if self.phase in ("publishing", "promoting", "done"):
            return self.step, self.step
        return self.step, self.max_steps

    def label(self) -> str:
        """`training · loss 0.412 · 3/4 learned`."""
        parts = [self.phase if self.state == "running" and self.phase else self.state]
        if self.state == "running" and self.phase == "training":
            if self.loss is not None:
                parts.append(f"loss {self.loss:.3f}")
            if self.num_examples:
                parts.append(f"{self.num_learned}/{self.num_examples} learned")
        if self.version is not None:
            parts.append(self.version)
        return " · ".join(parts)


def read_step(data: dict[str, Any]) -> Step:
    """A progress event of the API."""
    loss = data.get("loss")
    return Step(
        state=str(data["state"]),
        phase=str(data.get("phase") or ""),
        step=int(data.get("step") or 0),
        max_steps=int(data.get("max_steps") or 0),
        loss=float(loss) if loss is not None else None,
        num_learned=int(data.get("num_learned") or 0),
        num_examples=int(data.get("num_examples") or 0),
        num_probed=int(data.get("num_probed") or 0),
        num_probes=int(data.get("num_probes") or 0),
        version=data.get("version"),
        promoted=bool(data.get("promoted")),
        attempts=int(data.get("attempts") or 0),
        why=str(data.get("why") or ""),
    )


def watch(client: Client, run_id: str) -> Iterator[tuple[Step, dict[str, Any]]]:
    """Every change of a run until it ends; a server that restarts in between is found again."""
    failures = 0
    while True:
        try:
            with closing(client.events(f"/v1/runs/{run_id}/events")) as events:
                for name, data in events:
                    if name in ("progress", "message"):
                        failures = 0
                        step = read_step(data)
                        yield step, data
                        if step.has_ended:
                            return
        except ServerUnreachable:
            failures += 1
            if failures > _MAX_RECONNECTS:
                raise
        time.sleep(_RECONNECT_S)


def run_of(client: Client, given: dict[str, Any]) -> str:
    """The run that learns a correction (`given` is the server's answer to it), once there is one.

    Waits: the server queues a run at the next quiet moment. NotLearned when the server says that none will
    come.
    """
    while True:
        for run in client.get("/v1/runs", example_id=given["example_id"], limit=1)["runs"]:
            if not given["is_new"] or _made_at(run["run_id"]) >= _made_at(given["feedback_id"]):
                return str(run["run_id"])
        reason = client.get("/v1/queue")["waiting_reason"]
        if reason:
            raise NotLearned(
                f"The correction is written down, but it is not being trained: {reason}",
                hint="`homefire runs start` trains what waits; `homefire queue list` shows it.",
                example_id=given["example_id"],
            )
        time.sleep(_QUEUE_POLL_S)


def _made_at(name: str) -> str:
    """The part of an identifier that sorts by time: what is taught again has a newer run."""
    return name.rpartition("_")[2][:12]


def follow(client: Client, run_id: str, *, out: Output) -> dict[str, Any]:
    """Show a run until it ends; returns the run as the server then describes it.

    Ctrl-C stops looking, not the run.
    """
    if out.json:
        for _, data in watch(client, run_id):
            out.record(data)
    else:
        with view(out) as seen:
            for step, _ in watch(client, run_id):
                seen.show(step)
    found: dict[str, Any] = client.get(f"/v1/runs/{run_id}")
    return found


def next_try(client: Client, run: dict[str, Any], example_id: str) -> str | None:
    """The run in which a refused correction is taught again, more gently; None when there is none."""
    if run["state"] != "refused" or run["promoted"] or not run["gate_reasons"]:
        return None
    for _ in range(_NEXT_TRY_POLLS):
        for newest in client.get("/v1/runs", example_id=example_id, limit=1)["runs"]:
            if newest["run_id"] != run["run_id"]:
                return str(newest["run_id"])
        time.sleep(_QUEUE_POLL_S)
    return None


def verdict(run: dict[str, Any], *, took_s: float | None = None) -> str:
    """One sentence about a run that ended well. NotLearned where it did not."""
    version, state = run["version"], run["state"]
    if state == "done" and run["promoted"]:
        timing = f" after {duration(took_s)}" if took_s is not None else ""
        return f"Learned{timing}: version {version} answers from now on."
    if state in ("done", "refused") and version:
        raise NotLearned(
            f"Version {version} was trained but not promoted: {_reasons(run)}",
            hint=f"`homefire versions show {version}` tells all; "
            f"`homefire versions promote {version} --override --why …` promotes it all the same.",
            run_id=run["run_id"],
            version=version,
        )
    raise NotLearned(
        f"The run ended as {state}: {_reasons(run)}",
        hint=f"See it with `homefire runs show {run['run_id']}`, "
        f"repeat it with `homefire runs retry {run['run_id']}`.",
        run_id=run["run_id"],
        state=state,
    )


def _reasons(run: dict[str, Any]) -> str:
    """The gate's first reasons, or the run's own."""
    reasons = [str(reason) for reason in run["gate_reasons"]] or [run["why"] or "no reason was given."]
    shown = " ".join(reasons[:MAX_REASONS])
    more = len(reasons) - MAX_REASONS
    return f"{shown} (and {counted(more, 'more reason')})" if more > 0 else shown


class _Bar(AbstractContextManager["_Bar"]):
    """A progress bar on a terminal."""

    def __init__(self, out: Output, indent: str) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn(indent + "{task.description}", markup=False),
            BarColumn(bar_width=32),
            TextColumn("{task.completed:.0f}/{task.total:.0f}", markup=False),
            TimeElapsedColumn(),
            console=out.console,
        )
        self._task = self._progress.add_task("queued", total=1)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, step: Step) -> None:
        done, total = step.position
        self._progress.update(self._task, description=step.label(), completed=done, total=max(total, 1))


class _Lines(AbstractContextManager["_Lines"]):
    """A line per change of state and per tenth of the way, for pipes and logs."""

    def __init__(self, out: Output, indent: str) -> None:
        self._out, self._indent = out, indent
        self._last: tuple[str, str, int] | None = None

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, step: Step) -> None:
        done, total = step.position
        mark = (step.state, step.phase, done * 10 // total if total else 0)
        if mark == self._last:
            return
        self._last = mark
        where = f" {done}/{total}" if total and not step.has_ended else ""
        why = f" ({clipped(step.why, 100)})" if step.why and step.has_ended else ""
        self._out.line(f"{self._indent}{step.label()}{where}{why}")


def view(out: Output, *, indent: str = "") -> _Bar | _Lines:
    """How to show the steps of one run on this output."""
    return _Bar(out, indent) if out.is_terminal else _Lines(out, indent)
