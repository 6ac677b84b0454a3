"""`homefire doctor`: is this machine and this home fit, and if not, what to do.

Every check says what it found, why that matters and what to do. It works without a server; what only the
owner of the home can look at (the store's integrity) is checked while no server runs. Nothing is changed,
unless `--rebuild` asks for it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from homefire.cli.command import Call, command

if TYPE_CHECKING:
    from homefire.cli.doctor_checks import Check
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
        typer.Option("--rebuild", help="Only make damaged tables anew from the log, while no server runs."),
    ] = False,
) -> None:
    """Check this machine and this home. Exit code 20 when a check fails, 0 when there are only warnings."""
    import os

    from homefire.cli.address import home_root
    from homefire.cli.doctor_checks import machine_checks
    from homefire.cli.doctor_home import home_checks
    from homefire.home import Home

    home = Home(home_root(call.shared.home, os.environ))
    if rebuild:
        _rebuild(call, home)
        return
    checks = []
    for check in (*machine_checks(), *home_checks(home, full=full)):
        found = check()
        checks.append(found)
        _show(call, found)
    counts = Counter(check.status for check in checks)
    failed = [check for check in checks if check.status == "fail"]
    if not failed:
        if call.json:
            call.out.document({"ok": True, "checks": [asdict(check) for check in checks]})
        call.out.line(f"{counts['pass']} passed, {counts['warn']} warnings. Nothing is wrong.")
        return
    from homefire.errors import PromiseBroken

    raise PromiseBroken(
        f"{counts['fail']} of {len(checks)} checks failed: {', '.join(check.name for check in failed)}.",
        hint=failed[0].todo,
        **({"checks": [asdict(check) for check in checks]} if call.json else {}),
    )


def _rebuild(call: Call, home: Home) -> None:
    from homefire.cli.doctor_rebuild import rebuild_tables

    found = rebuild_tables(home)
    if call.json:
        call.out.document({"ok": True, "num_events": found.num_events, "differed": list(found.problems)})
    for problem in found.problems:
        call.out.line(problem)
    call.out.line(
        f"Nothing differs from the log ({found.num_events} events); nothing was changed."
        if found.is_sound
        else f"Made anew from {found.num_events} events: the tables are what the log tells again."
    )


def _show(call: Call, check: Check) -> None:
    styles = {"pass": "green", "warn": "yellow", "fail": "bold red"}
    call.out.line(f"{check.status:<4}  {check.name:<12}  {check.what}", style=styles[check.status])
    if check.status != "pass":
        call.out.line(f"      {'':<12}  why: {check.why}")
        call.out.line(f"      {'':<12}  do:  {check.todo}")
