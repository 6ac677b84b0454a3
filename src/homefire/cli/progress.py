"""Following a run until it ends: a bar on a terminal, a line per change in a pipe, JSON lines for programs.

A run has ended well when its version was promoted; everything else that ends it (failed, stopped, skipped,
refused by the gate) is `NotLearned` to those who waited for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any, Protocol

from homefire.cli.client import Client
from homefire.cli.output import Output
from homefire.cli.words import clipped, duration
from homefire.errors import HomefireError, ServerUnreachable

ENDED = frozenset({"done", "failed", "skipped", "stopped"})
_RECONNECT_S = 0.5
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
    num_steps: int
    loss: float | None
    version: str | None
    why: str | None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ENDED

    def label(self) -> str:
        """`training · loss 0.412`."""
        words = self.phase if self.state == "running" and self.phase else self.state
        return f"{words} · loss {self.loss:.3f}" if self.loss is not None and not self.has_ended else words


def read_step(data: dict[str, Any]) -> Step:
    """A progress event of the API."""
    loss = data.get("loss")
    return Step(
        state=str(data.get("state", "")),
        phase=str(data.get("phase") or ""),
        step=int(data.get("step") or 0),
        num_steps=int(data.get("num_steps") or 0),
        loss=float(loss) if loss is not None else None,
        version=data.get("version"),
        why=data.get("why"),
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


def follow(client: Client, run_id: str, *, out: Output) -> dict[str, Any]:
    """Show a run until it ends; returns the run as the server then describes it.

    Ctrl-C stops looking, not the run.
    """
    if out.json:
        for _, data in watch(client, run_id):
            out.record(data)
    else:
        with _view(out) as view:
            for step, _ in watch(client, run_id):
                view.show(step)
    found: dict[str, Any] = client.get(f"/v1/runs/{run_id}")
    return found


def verdict(run: dict[str, Any], *, took_s: float | None = None) -> str:
    """One sentence about a run that ended well. NotLearned where it did not."""
    version = run.get("version")
    if run.get("state") == "done" and version and run.get("promoted", True):
        timing = f" after {duration(took_s)}" if took_s is not None else ""
        return f"Learned{timing}: version {version} answers from now on."
    reasons = (
        "; ".join(str(reason) for reason in run.get("gate_reasons") or ())
        or run.get("why")
        or "no reason given"
    )
    if run.get("state") == "done" and version:
        raise NotLearned(
            f"Version {version} was trained but not promoted: {reasons}.",
            hint=f"See it with `homefire versions show {version}`; "
            f"`homefire versions promote {version} --override` promotes it all the same.",
            run_id=run.get("run_id"),
            version=version,
        )
    raise NotLearned(
        f"The run ended as {run.get('state')}: {reasons}.",
        hint=f"See it with `homefire runs show {run.get('run_id')}`, "
        f"repeat it with `homefire runs retry {run.get('run_id')}`.",
        run_id=run.get("run_id"),
        state=run.get("state"),
    )


class _View(Protocol):
    def show(self, step: Step) -> None: ...


class _Bar(AbstractContextManager["_Bar"]):
    """A progress bar on a terminal."""

    def __init__(self, out: Output) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
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
        self._progress.update(
            self._task, description=step.label(), completed=step.step, total=max(step.num_steps, 1)
        )


class _Lines(AbstractContextManager["_Lines"]):
    """A line per change of state and per tenth of the way, for pipes and logs."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._last: tuple[str, str, int] | None = None

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, step: Step) -> None:
        tenth = step.step * 10 // step.num_steps if step.num_steps else 0
        mark = (step.state, step.phase, tenth)
        if mark == self._last:
            return
        self._last = mark
        steps = f" {step.step}/{step.num_steps}" if step.num_steps else ""
        why = f" ({clipped(step.why, 100)})" if step.why and step.has_ended else ""
        self._out.line(f"{step.label()}{steps}{why}")


def _view(out: Output) -> _Bar | _Lines:
    return _Bar(out) if out.is_terminal else _Lines(out)
