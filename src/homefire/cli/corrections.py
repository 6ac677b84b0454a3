"""`homefire corrections …`: what was taught, its state, and taking it back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from homefire.cli.arguments import Why, Yes, path_of
from homefire.cli.command import Call, command, group
from homefire.cli.format import Field, clipped, counted, labels, lines, moment, named, rows
from homefire.errors import InvalidRequest

SHORT_ID_CHARS = 12
ExampleId = Annotated[
    str, typer.Argument(metavar="CORRECTION", help="Its id, or the beginning of it (see `list`).")
]


def _short(example_id: str) -> str:
    return example_id[:SHORT_ID_CHARS]


def _state(row: dict[str, Any]) -> str:
    return "live" if row["live"] and row["state"] == "learned" else str(row["state"])


def _run(row: dict[str, Any]) -> str:
    return f"{row['run_id']} ({row['run_state']})" if row["run_id"] else "-"


COLUMNS = (
    Field("id", "example_id", _short),
    Field("state", "", _state),
    Field("question", "question", lambda text: clipped(text, 40)),
    Field("answer", "answer", lambda text: clipped(text, 30)),
    Field("version", "version"),
    Field("next", "next", lambda text: clipped(text, 60)),
)
FIELDS = (
    Field("correction", "example_id"),
    Field("question", "question"),
    Field("answer", "answer"),
    Field("state", "state"),
    Field("live", "live"),
    Field("version", "version"),
    Field("run", "", _run),
    Field("given", "created_at_s", moment),
    Field("why", "why"),
    Field("what helps", "helps"),
    Field("reasons", "reasons", lines),
    Field("next", "next"),
)


def commands() -> typer.Typer:
    """The group `corrections`."""
    corrections = group("Corrections: the state of each; edit, withdraw, try again.")
    command(corrections, "list")(show_list)
    command(corrections, "show")(show)
    command(corrections, "edit")(edit)
    command(corrections, "withdraw")(withdraw)
    command(corrections, "retry")(retry)
    command(corrections, "settle")(settle)
    return corrections


def show_list(
    call: Call,
    state: Annotated[
        Literal[
            "waiting", "training", "learned", "refused", "disputed", "stranded", "withdrawn", "superseded"
        ]
        | None,
        typer.Option("--state", help="Only corrections in this state."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=200, help="At most so many, newest first.")
    ] = 50,
    before: Annotated[
        int | None, typer.Option("--before", help="The page before this mark (printed below a full page).")
    ] = None,
) -> Any:
    """List corrections, newest first, with what became of each."""
    found = call.client.get("/v1/corrections", state=state, limit=limit, before=before)
    call.out.table(
        labels(COLUMNS),
        rows(COLUMNS, found["corrections"]),
        empty="There are none. `homefire correct` gives the first one.",
    )
    if found["next_before"] is not None:
        call.out.note(f"There are more: --before {found['next_before']}")
    return found


def show(call: Call, correction: ExampleId) -> Any:
    """Show one correction: what it says, its state, why, and what happens next."""
    found = call.client.get(_path(correction))
    call.out.fields(named(FIELDS, found))
    return found


def edit(
    call: Call,
    correction: ExampleId,
    answer: Annotated[str | None, typer.Option("--answer", help="What the answer should be instead.")] = None,
    question: Annotated[str | None, typer.Option("--question", help="What the question should be.")] = None,
) -> Any:
    """Put another answer or question in its place."""
    if answer is None and question is None:
        raise InvalidRequest("Nothing to change was given.", hint="Give --answer or --question.")
    body = {name: value for name, value in (("answer", answer), ("question", question)) if value is not None}
    found = call.client.patch(_path(correction), body)
    call.out.line(f"It is now {_short(found['example_id'])}: {found['answer']}")
    if found["next"]:
        call.out.line(str(found["next"]))
    return found


def withdraw(call: Call, correction: ExampleId, why: Why = None, yes: Yes = False) -> Any:
    """Take a correction back; what answers now is un-taught where it learned it."""
    found = call.client.get(_path(correction))
    then = " What answers now is made again without it." if found["live"] else ""
    call.confirm(f"Withdraw “{found['question']}” → “{found['answer']}”?{then}", yes=yes)
    found = call.client.delete(_path(correction), {"why": why} if why else None)
    call.out.line("It is withdrawn." + (f" {found['next']}" if found["next"] else ""))
    if found["run_id"]:
        call.out.line(f"Follow it with `homefire runs watch {found['run_id']}`.")
    return found


def retry(call: Call, correction: ExampleId) -> Any:
    """Teach a refused, stranded or taken-back correction once more, by itself."""
    run = call.client.post(f"{_path(correction)}/retry", {})
    call.out.line(f"Run {run['run_id']} is queued. Follow it with `homefire runs watch {run['run_id']}`.")
    return run


def settle(call: Call, correction: ExampleId, yes: Yes = False) -> Any:
    """Keep this answer where people disagree: the others to its question are withdrawn (for the owner)."""
    call.confirm("Keep this answer? The others to its question are withdrawn and un-taught.", yes=yes)
    found = call.client.post(f"{_path(correction)}/settle", {})
    call.out.line(f"Kept: “{found['question']}” → “{found['answer']}”.")
    return found


def unlearned_lines(call: Call, found: dict[str, Any]) -> None:
    """Say which corrections nothing teaches, why, and what happens next; nothing where there are none."""
    unlearned = found.get("unlearned") or []
    if unlearned:
        call.out.line(f"{counted(len(unlearned), 'correction')} not learned:")
    for row in unlearned:
        call.out.line(f"  {_short(row['example_id'])}  {row['state']}  “{clipped(row['question'], 40)}”")
        call.out.line(f"    {' '.join(row[part] for part in ('why', 'helps', 'next') if row.get(part))}")
    for answers in found.get("disagreements") or []:
        call.out.line(f"People disagree on “{clipped(answers[0]['question'], 60)}”:")
        for row in answers:
            call.out.line(f"  {_short(row['example_id'])}  “{clipped(row['answer'], 60)}”")
        call.out.line("  `homefire corrections settle ID` keeps one of them.")


def _path(correction: str) -> str:
    return path_of("/v1/corrections", correction)
