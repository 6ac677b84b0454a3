"""`homefire doctor`: are this machine and this home in order, and if not, what to do.

Every check says what it found, why that matters and what to do. It works without a server; what only the
owner of the home can look at (the store's integrity) is checked while no server runs. Nothing is changed,
unless `--rebuild` asks for it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homefire.cli.command import Call, command
from homefire.cli.format import counted

if TYPE_CHECKING:
    from homefire.cli.doctor_checks import Check, CheckFunction
    from homefire.home import Home


def register(app: typer.Typer) -> None:
    """Add `doctor` to the command tree."""
    command(app, "doctor")(doctor)


def doctor(
    call: Call,
    full: Annotated[
        bool, typer.Option("--full", help="Also read and hash every stored file (takes a while).")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Only rebuild damaged tables from the log, while no server runs."),
    ] = False,
) -> Any:
    """Check this machine and this home. Exit code 20 when a check fails, 0 when there are only warnings."""
    import os

    from homefire.cli.address import home_root
    from homefire.cli.doctor_checks import machine_checks
    from homefire.cli.doctor_home import home_checks
    from homefire.errors import PromiseBroken
    from homefire.home import Home

    home = Home(home_root(call.shared.home, os.environ))
    if rebuild:
        return _rebuild(call, home)
    found: dict[str, Check] = {}
    for name, check in {**machine_checks(), **home_checks(home, full=full)}.items():
        found[name] = _run(check)
        _show(call, name, found[name])
    counts = Counter(check.status for check in found.values())
    failed = [name for name, check in found.items() if check.status == "fail"]
    checks = [{"name": name, **asdict(check)} for name, check in found.items()]
    if failed:
        raise PromiseBroken(
            f"{counts['fail']} of {len(checks)} checks failed: {', '.join(failed)}.",
            hint=found[failed[0]].todo,
            **({"checks": checks} if call.json else {}),
        )
    call.out.line(f"{counts['pass']} passed, {counted(counts['warn'], 'warning')}. Nothing is wrong.")
    return {"ok": True, "checks": checks}


def _run(check: CheckFunction) -> Check:
    """What the check finds; an error that it meets, foreseen or of the operating system, is its finding."""
    from homefire.cli.doctor_checks import fail
    from homefire.errors import HomefireError

    try:
        return check()
    except HomefireError as error:
        return fail(error.message, why=error.code, todo=error.hint or "See `homefire --help`.")
    except OSError as error:
        return fail(
            f"{error.filename or 'a file'} cannot be read: {error.strerror}",
            why="What cannot be read cannot be used.",
            todo="Look at what is there, and make it readable for this user (chmod, chown).",
        )


def _rebuild(call: Call, home: Home) -> Any:
    from homefire.cli.doctor_home import rebuild_tables

    found = rebuild_tables(home)
    for problem in found.problems:
        call.out.line(problem)
    num_events = counted(found.num_events, "event")
    call.out.line(
        f"Nothing differs from the log ({num_events}); nothing was changed."
        if found.is_sound
        else f"Rebuilt from {num_events}: the tables agree with the log again."
    )
    return {"ok": True, "num_events": found.num_events, "differed": list(found.problems)}


def _show(call: Call, name: str, check: Check) -> None:
    styles = {"pass": "green", "warn": "yellow", "fail": "bold red"}
    call.out.line(f"{check.status:<4}  {name:<12}  {check.what}", style=styles[check.status])
    if check.status != "pass":
        call.out.line(f"      {'':<12}  why: {check.why}")
        call.out.line(f"      {'':<12}  do:  {check.todo}")
