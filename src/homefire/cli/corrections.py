"""`homefire corrections …`: what was taught, where it stands, and taking it back."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer

from homefire.cli.command import Call, command, group
from homefire.errors import InvalidRequest

SHORT_ID_CHARS = 12
ExampleId = Annotated[
    str, typer.Argument(metavar="CORRECTION", help="Its id, or the beginning of it (see `list`).")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def commands() -> typer.Typer:
    """The group `corrections`."""
    corrections = group("Corrections: where each one stands; edit, withdraw, try again.")
    command(corrections, "list")(show_list)
    command(corrections, "show")(show)
    command(corrections, "edit")(edit)
    command(corrections, "withdraw")(withdraw)
    command(corrections, "retry")(retry)
    return corrections


def show_list(
    call: Call,
    state: Annotated[
        Literal["waiting", "training", "learned", "refused", "stranded", "withdrawn", "superseded"] | None,
        typer.Option("--state", help="Only corrections in this state."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=200, help="At most so many, newest first.")
    ] = 50,
    before: Annotated[
        int | None, typer.Option("--before", help="The page before this mark (printed below a full page).")
    ] = None,
) -> None:
    """List corrections, newest first, with what became of each."""
    found = call.client.get("/v1/corrections", state=state, limit=limit, before=before)
    if call.json:
        call.out.document(found)
        return
    table(call, found["corrections"], empty="There are none. `homefire correct` gives the first one.")
    if found["next_before"] is not None:
        call.out.note(f"There are more: --before {found['next_before']}")


def show(call: Call, correction: ExampleId) -> None:
    """Show one correction: what it says, where it stands, why, and what happens next."""
    _show(call, call.client.get(_path(correction)))


def edit(
    call: Call,
    correction: ExampleId,
    answer: Annotated[str | None, typer.Option("--answer", help="What the answer should be instead.")] = None,
    question: Annotated[str | None, typer.Option("--question", help="What the question should be.")] = None,
) -> None:
    """Put another answer or question in its place."""
    if answer is None and question is None:
        raise InvalidRequest("Nothing to change was given.", hint="Give --answer or --question.")
    body = {name: value for name, value in (("answer", answer), ("question", question)) if value is not None}
    found = call.client.patch(_path(correction), body)
    if call.json:
        call.out.document(found)
        return
    call.out.line(f"It is now {found['example_id'][:SHORT_ID_CHARS]}: {found['answer']}")
    if found["next"]:
        call.out.line(str(found["next"]))


def withdraw(
    call: Call,
    correction: ExampleId,
    why: Annotated[str | None, typer.Option("--why", help="A reason to record.")] = None,
    yes: Yes = False,
) -> None:
    """Take a correction back; what answers now is un-taught where it learned it."""
    from homefire.cli.ask_first import confirm

    found = call.client.get(_path(correction))
    then = " What answers now is made anew without it." if found["live"] else ""
    confirm(call, f"Withdraw {found['question']!r} → {found['answer']!r}?{then}", yes=yes)
    found = call.client.delete(_path(correction), {"why": why} if why else None)
    if call.json:
        call.out.document(found)
        return
    call.out.line("It is withdrawn." + (f" {found['next']}" if found["next"] else ""))
    if found["run_id"]:
        call.out.line(f"Follow it with `homefire runs watch {found['run_id']}`.")


def retry(call: Call, correction: ExampleId) -> None:
    """Teach a refused, stranded or taken-back correction once more, by itself."""
    run = call.client.post(f"{_path(correction)}/retry", {})
    if call.json:
        call.out.document(run)
        return
    call.out.line(f"Run {run['run_id']} is queued. Follow it with `homefire runs watch {run['run_id']}`.")


def table(call: Call, corrections: list[dict[str, Any]], *, empty: str) -> None:
    """Print corrections as a table."""
    from homefire.cli.words import clipped

    call.out.table(
        ("id", "state", "question", "answer", "version", "next"),
        [
            (
                str(row["example_id"])[:SHORT_ID_CHARS],
                "live" if row["live"] and row["state"] == "learned" else str(row["state"]),
                clipped(str(row["question"]), 40),
                clipped(str(row["answer"]), 30),
                str(row["version"] or "-"),
                clipped(str(row["next"] or "-"), 60),
            )
            for row in corrections
        ],
        empty=empty,
    )


def unlearned_lines(call: Call, found: dict[str, Any]) -> None:
    """Say which corrections nothing teaches, why, and what happens next; nothing where there are none."""
    from homefire.cli.words import clipped, counted

    unlearned = found.get("unlearned") or []
    if not unlearned:
        return
    call.out.line(f"{counted(len(unlearned), 'correction')} not learned:")
    for row in unlearned:
        asked = clipped(str(row["question"]), 40)
        call.out.line(f"  {str(row['example_id'])[:SHORT_ID_CHARS]}  {row['state']}  {asked!r}")
        call.out.line(f"    {row['why']} {row['next']}".rstrip())


def _show(call: Call, found: dict[str, Any]) -> None:
    from homefire.cli.words import moment

    if call.json:
        call.out.document(found)
        return
    call.out.fields(
        [
            ("correction", str(found["example_id"])),
            ("question", str(found["question"])),
            ("answer", str(found["answer"])),
            ("state", str(found["state"])),
            ("live", "yes" if found["live"] else "no"),
            ("version", str(found["version"] or "-")),
            ("run", f"{found['run_id']} ({found['run_state']})" if found["run_id"] else "-"),
            ("given", moment(found["created_at_s"])),
            ("why", str(found["why"] or "-")),
            ("reasons", "\n".join(found["reasons"]) or "-"),
            ("next", str(found["next"] or "-")),
        ]
    )


def _path(correction: str) -> str:
    return f"/v1/corrections/{quote(correction, safe='')}"
