"""`homefire runs …` and `homefire queue …`: trainings, and what waits for one."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import typer

from homefire.cli.command import Call, command, group
from homefire.cli.complete import complete_run

RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", autocompletion=complete_run)]
Why = Annotated[str | None, typer.Option("--why", help="A reason to record.")]


def commands() -> typer.Typer:
    """The group `runs`."""
    runs = group("Trainings: see them, follow them, steer them.")
    command(runs, "list")(show_list)
    command(runs, "show")(show)
    command(runs, "watch")(watch)
    command(runs, "start")(start)
    for move, about in (
        ("pause", "Stop after the step in hand; a checkpoint keeps everything."),
        ("resume", "Go on with a paused run where it stopped."),
        ("stop", "End a run; it publishes nothing."),
        ("skip", "Take a waiting run out of the queue, or end the running one and go on to the next."),
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
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, newest first.")] = 50,
) -> None:
    """List runs, newest first."""
    found = call.client.get("/v1/runs", state=state, limit=limit)
    if call.json:
        call.out.document(found)
    table_of_runs(call, found["runs"], empty="There are no runs yet. `homefire correct` makes the first one.")


def queue_list(call: Call) -> None:
    """List what waits: queued runs in the order they will be trained, and corrections not yet in one."""
    from homefire.cli.corrections import unlearned_lines

    found = call.client.get("/v1/queue")
    if call.json:
        call.out.document(found)
        return
    table_of_runs(call, found["runs"], empty="Nothing waits to be trained.")
    if found["num_pending_examples"]:
        from homefire.cli.words import counted

        call.out.line(f"{counted(found['num_pending_examples'], 'correction')} will be in the next run.")
    if found.get("waiting_reason"):
        call.out.line(f"Waiting: {found['waiting_reason']}")
    unlearned_lines(call, found)


def show(call: Call, run: RunName) -> None:
    """Show one run: what it trains, how far it is, what came of it."""
    from homefire.cli.words import moment

    found = call.client.get(f"/v1/runs/{run}")
    if call.json:
        call.out.document(found)
        return
    call.out.fields(
        [
            ("run", str(found["run_id"])),
            ("state", str(found["state"])),
            ("why", str(found.get("why") or "-")),
            ("base", str(found.get("base"))),
            ("parent", str(found.get("parent"))),
            ("dataset", str(found.get("dataset_id"))),
            ("leases", str(found.get("epoch"))),
            ("queued", moment(found.get("queued_at_s"))),
            ("started", moment(found.get("started_at_s"))),
            ("ended", moment(found.get("ended_at_s"))),
            ("took", _took(found)),
            ("version", str(found.get("version") or "-")),
            ("step", _step(found.get("progress") or {})),
            ("corrections", _corrections(found.get("corrections") or [])),
            ("recipe", _pairs(found.get("recipe"))),
            ("metrics", _pairs(found.get("metrics"))),
        ]
    )


def watch(call: Call, run: RunName) -> None:
    """Follow a run until it ends. Ctrl-C stops looking, not the run."""
    from homefire.cli.progress import follow, verdict

    sentence = verdict(follow(call.client, run, out=call.out))
    call.out.line(sentence)


def start(
    call: Call,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the run until it ends.")] = False,
) -> None:
    """Train now with the corrections that wait, instead of at the next quiet moment."""
    from homefire.cli.progress import follow, verdict

    started_s = time.monotonic()
    run = call.client.post("/v1/runs", {})
    if not wait:
        if call.json:
            call.out.document(run)
        call.out.line(f"Run {run['run_id']} is queued. Follow it with `homefire runs watch {run['run_id']}`.")
        return
    call.out.note(f"run {run['run_id']}")
    call.out.line(
        verdict(follow(call.client, run["run_id"], out=call.out), took_s=time.monotonic() - started_s)
    )


def _mover(move: str) -> Any:
    def apply(call: Call, run: RunName, why: Why = None) -> None:
        found = call.client.post(f"/v1/runs/{run}/{move}", {"why": why} if why else {})
        if call.json:
            call.out.document(found)
        call.out.line(f"Run {found.get('run_id', run)}: {found.get('state', move)}.")

    apply.__name__ = move
    return apply


def table_of_runs(call: Call, runs: list[dict[str, Any]], *, empty: str) -> None:
    """Print runs as a table."""
    from homefire.cli.words import clipped, moment

    call.out.table(
        ("run", "state", "base", "version", "queued", "took", "why"),
        [
            (
                str(run["run_id"]),
                str(run["state"]),
                str(run.get("base") or "-"),
                str(run.get("version") or "-"),
                moment(run.get("queued_at_s")),
                _took(run),
                clipped(str(run.get("why") or "-"), 60),
            )
            for run in runs
        ],
        empty=empty,
    )


def _took(run: dict[str, Any]) -> str:
    from homefire.cli.words import duration

    started_s, ended_s = run.get("started_at_s"), run.get("ended_at_s")
    return duration(ended_s - started_s) if started_s is not None and ended_s is not None else "-"


def _step(progress: dict[str, Any]) -> str:
    if "step" not in progress:
        return "-"
    most = progress.get("max_steps")
    return str(progress["step"]) + (f" of at most {most}" if most else "")


def _corrections(rows: list[dict[str, Any]]) -> str:
    return "\n".join(f"{row['state']}  {row['question']!r} → {row['answer']!r}" for row in rows) or "-"


def _pairs(values: Any) -> str:
    if not isinstance(values, dict) or not values:
        return "-"
    return "\n".join(f"{name} = {value}" for name, value in sorted(values.items()))
