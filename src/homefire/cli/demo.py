"""`homefire demo`: the whole circle on a throw-away home, through the public API, promise by promise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from homefire.cli.command import Call, command
from homefire.cli.format import counted


def register(app: typer.Typer) -> None:
    """Add `demo` to the command tree."""
    command(app, "demo")(demo)


def demo(
    call: Call,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the demo's home and say where it is.")] = False,
) -> Any:
    """Show the whole circle in about a minute: ask, correct, train, promote, crash, roll back, verify.

    It uses a temporary home and its own server, and touches nothing else. Exit code 20 when a promise is
    broken.
    """
    import shutil
    import tempfile

    from homefire.cli.demo_report import Report
    from homefire.cli.demo_steps import DemoSteps
    from homefire.errors import PromiseBroken

    root = Path(tempfile.mkdtemp(prefix="homefire-demo-"))
    report = Report(call.out)
    try:
        DemoSteps(report, root).run()
    finally:
        if not keep:
            shutil.rmtree(root)
    document = report.document() | ({"home": str(root / "home")} if keep else {})
    broken = report.broken
    if broken:
        raise PromiseBroken(
            f"{len(broken)} of {counted(len(report.promises), 'promise')} broken: "
            f"{', '.join(promise.name for promise in broken)}.",
            hint=f"Look into {root / 'home'}."
            if keep
            else "Run it again with --keep and look into its home.",
            **(document if call.json else {}),
        )
    took_s = document["timings_s"]["whole_demo"]
    call.out.line()
    call.out.line(f"{len(report.promises)} promises, all kept, in {took_s:.0f} s.", style="bold green")
    if keep:
        call.out.line(f"The home is kept: homefire up --home {root / 'home'}")
    return document
