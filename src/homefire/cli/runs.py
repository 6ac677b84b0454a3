"""`homefire runs …` and `homefire queue …`: trainings, and what waits for one."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import typer

from homefire.cli import arguments
from homefire.cli.arguments import Limit, RunName, Why, complete_run, path_of
from homefire.cli.command import Call, command, group
from homefire.cli.format import Field, clipped, counted, duration, labels, moment, named, pairs, rows
from homefire.cli.versions import figures


def _took(run: dict[str, Any]) -> str:
    started_s, ended_s = run.get("started_at_s"), run.get("ended_at_s")
    return duration(ended_s - started_s) if started_s is not None and ended_s is not None else "-"


def _step(progress: dict[str, Any]) -> str:
    if "step" not in progress:
        return "-"
    most = progress.get("max_steps")
    return str(progress["step"]) + (f" of at most {most}" if most else "")


def _corrections(taught: list[dict[str, Any]]) -> str:
    return "\n".join(_correction(row) for row in taught) or "-"


def _correction(row: dict[str, Any]) -> str:
    why = f" ({row['why']})" if row["state"] == "refused" and row["why"] else ""
    return f"{row['state']}  “{row['question']}” → “{row['answer']}”{why}"


def _gate(report: dict[str, Any] | None) -> str:
    return "\n".join([report["outcome"], *figures(report)]) if report is not None else "-"


COLUMNS = (
    Field("run", "run_id"),
    Field("state", "state"),
    Field("base", "base"),
    Field("version", "version"),
    Field("queued", "queued_at_s", moment),
    Field("took", "", _took),
    Field("why", "why", lambda why: clipped(why, 60)),
)
FIELDS = (
    Field("run", "run_id"),
    Field("state", "state"),
    Field("why", "why"),
    Field("base", "base"),
    Field("parent", "parent"),
    Field("dataset", "dataset_id"),
    Field("leases", "epoch"),
    Field("queued", "queued_at_s", moment),
    Field("started", "started_at_s", moment),
    Field("ended", "ended_at_s", moment),
    Field("took", "", _took),
    Field("version", "version"),
    Field("step", "progress", _step),
    Field("gate", "gate_report", _gate),
    Field("corrections", "corrections", _corrections),
    Field("recipe", "recipe", pairs),
    Field("metrics", "metrics", pairs),
)


def commands() -> typer.Typer:
    """The group `runs`."""
    runs = group("Trainings: see them, follow them, steer them.")
    command(runs, "list")(show_list)
    command(runs, "show")(show)
    command(runs, "watch")(watch)
    command(runs, "start")(start)
    for move, about in (
        ("pause", "Finish the current step and save; a checkpoint keeps everything."),
        ("resume", "Go on with a paused run where it stopped."),
        ("stop", "End a run; it publishes nothing."),
        ("skip", "Take a waiting run out of the queue, or end the running one and start the next."),
        ("retry", "Queue a failed, stopped or skipped run again; a refused one as a new run."),
    ):
        command(runs, move, help=about)(_mover(move))
    return runs


def queue_commands() -> typer.Typer:
    """The group `queue`."""
    queue = group("What waits to be trained.")
    command(queue, "list")(queue_list)
    return queue


def show_list(
    call: Call,
    state: Annotated[
        Literal["queued", "running", "paused", "done", "refused", "failed", "skipped", "stopped"] | None,
        typer.Option("--state", help="Only runs in this state."),
    ] = None,
    limit: Limit = 50,
) -> Any:
    """List runs, newest first."""
    found = call.client.get("/v1/runs", state=state, limit=limit)
    table_of_runs(call, found["runs"], empty="There are no runs yet. `homefire correct` makes the first one.")
    return found


def queue_list(call: Call) -> Any:
    """List what waits: queued runs in the order they will be trained, and corrections not yet in one."""
    from homefire.cli.corrections import unlearned_lines

    found = call.client.get("/v1/queue")
    table_of_runs(call, found["runs"], empty="Nothing waits to be trained.")
    if found["num_pending_examples"]:
        call.out.line(f"{counted(found['num_pending_examples'], 'correction')} will be in the next run.")
    if found.get("waiting_reason"):
        call.out.line(f"Waiting: {found['waiting_reason']}")
    unlearned_lines(call, found)
    return found


def show(call: Call, run: RunName) -> Any:
    """Show one run: what it trains, how far it is, what came of it."""
    found = call.client.get(path_of("/v1/runs", arguments.run_id(call, run)))
    call.out.fields(named(FIELDS, found))
    return found


def watch(
    call: Call,
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            help="The run's id, or how it begins; without one the run that trains now or next.",
            autocompletion=complete_run,
        ),
    ] = None,
) -> None:
    """Follow a run until it ends. Ctrl-C stops looking, not the run."""
    from homefire.cli.progress import follow, run_verdict, view

    run_id = arguments.run_id(call, run) if run is not None else _open_run(call)
    with view(call.out) as seen:
        found = follow(call.client, run_id, show=seen.show)
    call.out.line(run_verdict(found))


def start(
    call: Call,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the run until it ends.")] = False,
) -> Any:
    """Train now with the corrections that wait, instead of at the next quiet moment."""
    from homefire.cli.progress import follow, run_verdict, view

    started_s = time.monotonic()
    run = call.client.post("/v1/runs", {})
    if not wait:
        call.out.line(f"Run {run['run_id']} is queued. Follow it with `homefire runs watch {run['run_id']}`.")
        return run
    call.out.note(f"run {run['run_id']}")
    with view(call.out) as seen:
        found = follow(call.client, run["run_id"], show=seen.show)
    call.out.line(run_verdict(found, took_s=time.monotonic() - started_s))
    return None


def _open_run(call: Call) -> str:
    from homefire.errors import NotFound

    runs = call.client.get("/v1/queue")["runs"]
    if not runs:
        raise NotFound("Nothing is being trained.", hint="`homefire runs list` shows past runs.")
    return str(runs[0]["run_id"])


def _mover(move: str) -> Any:
    def apply(call: Call, run: RunName, why: Why = None) -> Any:
        path = path_of("/v1/runs", arguments.run_id(call, run), move)
        found = call.client.post(path, {"why": why} if why else {})
        call.out.line(f"Run {found['run_id']}: {found['state']}.")
        return found

    apply.__name__ = move
    return apply


def table_of_runs(call: Call, runs: list[dict[str, Any]], *, empty: str) -> None:
    """Print runs as a table."""
    call.out.table(labels(COLUMNS), rows(COLUMNS, runs), empty=empty)
