"""Following a run until it ends: a bar on a terminal, a line per change in a pipe, JSON lines for programs.

A run has ended well when its version was promoted; everything else that ends it (failed, stopped, skipped,
refused by the gate) is `NotLearned` to those who waited for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from typing import Any

import msgspec

from homefire.cli.arguments import path_of
from homefire.cli.client import Client
from homefire.cli.format import clipped, duration
from homefire.cli.output import Output, printable
from homefire.errors import HomefireError, ServerUnreachable
from homefire.training.progress import Progress

_RECONNECT_S = 0.5
_QUEUE_POLL_S = 0.2
_NEXT_TRY_POLLS = 5
_MAX_RECONNECTS = 20

Show = Callable[[Progress], None]


class NotLearned(HomefireError):
    """A run ended without a promoted version."""

    code, http_status, exit_code = "not_learned", 409, 14


def position_of(progress: Progress) -> tuple[int, int]:
    """How far of how much, in the units of the present phase; (0, 0) where that is not known.

    Training ends as soon as everything is learned: its end is what runs took lately, or an upper bound.
    """
    if progress.phase == "gating":
        return progress.num_probed, progress.num_probes
    if progress.phase in ("publishing", "promoting", "done"):
        return progress.step, progress.step
    usual = progress.usual_steps if progress.max_steps else None
    return progress.step, max(progress.step, usual) if usual is not None else progress.max_steps or 0


def label_of(progress: Progress) -> str:
    """`training · loss 0.412 · 3/4 learned`."""
    is_running = progress.state == "running"
    parts: list[str] = [progress.phase if is_running and progress.phase else progress.state]
    if is_running and progress.phase == "training":
        if progress.loss is not None:
            parts.append(f"loss {progress.loss:.3f}")
        if progress.num_examples:
            parts.append(f"{progress.num_learned}/{progress.num_examples} learned")
    if progress.version is not None:
        parts.append(progress.version)
    return printable(" · ".join(parts))


def watch(client: Client, run_id: str) -> Iterator[Progress]:
    """Every change of a run until it ends; a server that restarts in between is found again."""
    failures = 0
    path = path_of("/v1/runs", run_id, "events")
    while True:
        try:
            with closing(client.events(path)) as events:
                for name, data in events:
                    if name in ("progress", "message"):
                        failures = 0
                        progress = msgspec.convert(data, Progress)
                        yield progress
                        if progress.has_ended:
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
                f"The correction is recorded, but it is not being trained: {reason}",
                hint="`homefire runs start` trains what waits; `homefire queue list` shows it.",
                example_id=given["example_id"],
            )
        time.sleep(_QUEUE_POLL_S)


def _made_at(name: str) -> str:
    """The part of an identifier that sorts by time: what is taught again has a newer run."""
    return name.rpartition("_")[2][:12]


def follow(client: Client, run_id: str, *, show: Show) -> dict[str, Any]:
    """Show a run until it ends; returns the run as the server then describes it."""
    for progress in watch(client, run_id):
        show(progress)
    found: dict[str, Any] = client.get(path_of("/v1/runs", run_id))
    return found


def wait_until_learned(
    client: Client, given: dict[str, Any], *, show: Show, say: Callable[[str], None], started_s: float
) -> str:
    """Follow the runs that try to learn a correction; the verdict as a sentence, or NotLearned.

    `say` gets what happens between two tries; `started_s` is of the monotonic clock.
    """
    run = follow(client, run_of(client, given), show=show)
    while True:
        correction = after_run(client, given["example_id"])
        again = correction["run_id"]
        if correction["state"] != "training" or again == run["run_id"]:
            break
        say(f"{run['version']} did not learn it; it is tried again")
        run = follow(client, again, show=show)
    return verdict(run, correction, took_s=time.monotonic() - started_s)


def after_run(client: Client, example_id: str) -> dict[str, Any]:
    """A correction when the run that taught it has ended; what is queued with that end is known then."""
    found: dict[str, Any] = client.get(path_of("/v1/corrections", example_id))
    for _ in range(_NEXT_TRY_POLLS):
        if found["state"] != "training" or found["run_state"] != "running":
            break
        time.sleep(_QUEUE_POLL_S)
        found = client.get(path_of("/v1/corrections", example_id))
    return found


def verdict(run: dict[str, Any], correction: dict[str, Any], *, took_s: float | None = None) -> str:
    """One sentence about a correction whose runs ended. NotLearned where none taught it."""
    if correction["state"] == "learned" and correction["live"]:
        return _learned(correction["version"], took_s)
    why = " ".join(str(correction[part]) for part in ("why", "helps") if correction.get(part))
    if not run["promoted"]:
        run_verdict(run, why=why)
    raise NotLearned(
        f"Version {run['version']} is live without this correction. {why}".rstrip(),
        hint=correction["next"] or None,
        run_id=run["run_id"],
        version=run["version"],
    )


def run_verdict(run: dict[str, Any], *, took_s: float | None = None, why: str = "") -> str:
    """One sentence about a run that ended well. NotLearned where it made nothing live; `why` adds to that."""
    version, report = run["version"], run["gate_report"]
    if run["state"] == "done" and run["promoted"]:
        scores_say = report["outcome"] if report is not None and "learned" in report["outcome"] else ""
        return scores_say or _learned(version, took_s)
    if run["state"] in ("done", "refused") and version and report is not None:
        raise NotLearned(
            f"{report['outcome']} {why or run['why']}".rstrip(),
            hint=f"`homefire versions show {version}` shows everything; "
            f"`homefire versions promote {version} --override --why …` promotes it anyway.",
            run_id=run["run_id"],
            version=version,
        )
    raise NotLearned(
        f"The run ended as {run['state']}: {run['why'] or 'no reason was given.'}",
        hint=f"See it with `homefire runs show {run['run_id']}`, "
        f"repeat it with `homefire runs retry {run['run_id']}`.",
        run_id=run["run_id"],
        state=run["state"],
    )


def _learned(version: str, took_s: float | None) -> str:
    timing = f" after {duration(took_s)}" if took_s is not None else ""
    return f"Learned{timing}: version {version} answers from now on."


class _Bar(AbstractContextManager["_Bar"]):
    """A progress bar on a terminal."""

    def __init__(self, out: Output, indent: str) -> None:
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn(indent + "{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.completed:.0f}/{task.total:.0f}", markup=False),
            TimeElapsedColumn(),
            console=out.console,
        )
        self._bar = self._bars.add_task("queued", total=1)

    def __enter__(self) -> _Bar:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, progress: Progress) -> None:
        done, total = position_of(progress)
        self._bars.update(self._bar, description=label_of(progress), completed=done, total=max(total, 1))


class _Lines(AbstractContextManager["_Lines"]):
    """A line per change of state and per tenth of the way, for pipes and logs."""

    def __init__(self, out: Output, indent: str) -> None:
        self._out, self._indent = out, indent
        self._last: tuple[str, str, int] | None = None

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, progress: Progress) -> None:
        done, total = position_of(progress)
        mark = (progress.state, progress.phase, done * 10 // total if total else 0)
        if mark == self._last:
            return
        self._last = mark
        where = f" {done}/{total}" if total and not progress.has_ended else ""
        why = f" ({clipped(progress.why, 100)})" if progress.why and progress.has_ended else ""
        self._out.line(f"{self._indent}{label_of(progress)}{where}{why}")


class _Records(AbstractContextManager["_Records"]):
    """Every change as a line of JSON."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, progress: Progress) -> None:
        self._out.record(msgspec.to_builtins(progress))


def view(out: Output, *, indent: str = "", as_records: bool = True) -> _Bar | _Lines | _Records:
    """How to show runs on this output; under `--json` nothing where no records are wanted."""
    if out.json and as_records:
        return _Records(out)
    return _Bar(out, indent) if out.is_terminal else _Lines(out, indent)
