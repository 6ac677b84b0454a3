"""`homefire versions …`: what training made, which of it answers, and the way back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from homefire.cli.command import Call, command, group
from homefire.cli.complete import complete_version

VersionName = Annotated[
    str, typer.Argument(metavar="VERSION", help="Such as v001.", autocompletion=complete_version)
]
Why = Annotated[str | None, typer.Option("--why", help="A reason to record.")]


def commands() -> typer.Typer:
    """The group `versions`."""
    versions = group("Versions that training made: compare, promote, roll back, verify.")
    command(versions, "list")(show_list)
    command(versions, "show")(show)
    command(versions, "compare")(compare)
    command(versions, "promote")(promote)
    command(versions, "rollback")(rollback)
    command(versions, "verify")(verify)
    command(versions, "delete")(delete)
    return versions


def show_list(call: Call) -> None:
    """List all versions, newest first; the live one is marked."""
    from homefire.cli.words import clipped, moment, size

    found = call.client.get("/v1/versions")
    if call.json:
        call.out.document(found)
    call.out.table(
        ("version", "live", "gate", "parent", "size", "made", "description"),
        [
            (
                str(row["version"]),
                "yes" if row.get("live") else "",
                _gate(row),
                str(row.get("parent") or "-"),
                size(row.get("size_bytes") or 0),
                moment(row.get("created_at_s")),
                clipped(str(row.get("description") or ""), 60),
            )
            for row in reversed(found["versions"])
        ],
        empty="There are no versions yet. `homefire correct` makes the first one.",
    )
    if found.get("rollback_to"):
        call.out.line(
            f"{found['live']} is live; `homefire versions rollback` goes back to {found['rollback_to']}."
        )


def show(call: Call, version: VersionName) -> None:
    """Show one version: where it comes from, what the gate said, its hashes."""
    from homefire.cli.words import moment, size

    found = call.client.get(f"/v1/versions/{version}")
    if call.json:
        call.out.document(found)
        return
    call.out.fields(
        [
            ("version", str(found["version"])),
            ("live", "yes" if found.get("live") else "no"),
            ("gate", _gate(found)),
            ("reasons", "\n".join(found.get("gate_reasons") or ()) or "-"),
            ("base", str(found.get("base"))),
            ("parent", str(found.get("parent"))),
            ("run", str(found.get("run_id") or "-")),
            ("made", moment(found.get("created_at_s"))),
            ("size", size(found.get("size_bytes") or 0)),
            ("digest", str(found.get("digest"))),
            ("manifest", str(found.get("manifest_sha256"))),
            ("folder", str(found.get("folder") or "-")),
            ("scores", _scores(found["gate_scores"])),
            ("skills", _skills(found["gate_scores"])),
            ("description", str(found.get("description") or "-")),
        ]
    )


def compare(call: Call, a: VersionName, b: VersionName) -> None:
    """Compare two versions, or a version and its base: weights, metrics, scores, skills."""
    from homefire.cli.comparison import rows_of, weights_of

    found = call.client.get("/v1/versions/compare", a=a, b=b)
    if call.json:
        call.out.document(found)
        return
    call.out.line(f"Weights: {weights_of(found)}.")
    call.out.table(("what", a, b), rows_of(found), empty="Nothing else differs.")


def promote(
    call: Call,
    version: VersionName,
    why: Why = None,
    override: Annotated[
        bool, typer.Option("--override", help="Promote even though the gate refused it.")
    ] = False,
) -> None:
    """Let a version answer from now on."""
    body: dict[str, Any] = {"override": override}
    if why:
        body["why"] = why
    found = call.client.post(f"/v1/versions/{version}/promote", body)
    if call.json:
        call.out.document(found)
    call.out.line(
        f"{found.get('live', version)} answers from now on (before: {found.get('previous') or '-'})."
    )


def rollback(
    call: Call,
    to: Annotated[
        str | None,
        typer.Option("--to", help="A version or base to go back to.", autocompletion=complete_version),
    ] = None,
    why: Why = None,
) -> None:
    """Go back to what answered before (or to --to)."""
    body = {name: value for name, value in (("to", to), ("why", why)) if value}
    found = call.client.post("/v1/versions/rollback", body)
    if call.json:
        call.out.document(found)
    call.out.line(f"{found.get('live')} answers again (before: {found.get('previous') or '-'}).")


def verify(
    call: Call,
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="[VERSION]", help="Such as v001; all without one.", autocompletion=complete_version
        ),
    ] = None,
) -> None:
    """Read every byte again and compare its hash. Exit code 20 when one differs."""
    names = (
        [version] if version else [str(row["version"]) for row in call.client.get("/v1/versions")["versions"]]
    )
    reports = [call.client.post(f"/v1/versions/{name}/verify") for name in names]
    broken = [name for name, report in zip(names, reports, strict=True) if not report["ok"]]
    if call.json and not broken:
        call.out.document({"ok": True, "reports": reports})
    for name, report in zip(names, reports, strict=True):
        call.out.line(f"{name}: {_verdict(report)}")
    if not names:
        call.out.line("There are no versions to verify.")
    if broken:
        from homefire.errors import PromiseBroken

        raise PromiseBroken(
            f"{', '.join(broken)}: bytes on disk are not those that were published.",
            hint="Go back to a whole one with `homefire versions rollback`, then restore a backup.",
            reports=reports,
        )


def delete(
    call: Call,
    version: VersionName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a version that is not live."""
    from homefire.cli.ask_first import confirm

    confirm(call, f"Delete {version}? Its weights are gone afterwards.", yes=yes)
    found = call.client.delete(f"/v1/versions/{version}")
    if call.json:
        call.out.document(found)
    call.out.line(f"{version} is deleted.")


def _gate(row: dict[str, Any]) -> str:
    passed = row.get("gate_passed")
    return "-" if passed is None else "pass" if passed else "fail"


def _scores(scores: dict[str, Any]) -> str:
    """The gate's figures that are one number each (`--json` has all)."""
    lines = [
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in sorted(scores.items())
        if isinstance(value, int | float)
    ]
    return "\n".join(lines) or "-"


def _skills(scores: dict[str, Any]) -> str:
    """Right answers per skill, where they are not what they were."""
    skills: dict[str, dict[str, int]] = scores.get("skills") or {}
    changed = [
        f"{name} {skill['before']} → {skill['now']} of {skill['num']}"
        for name, skill in sorted(skills.items())
        if skill["before"] != skill["now"]
    ]
    same = len(skills) - len(changed)
    return "\n".join([*changed, *([f"{same} as before"] if same else [])]) or "-"


def _verdict(report: dict[str, Any]) -> str:
    if report["ok"]:
        return f"whole ({report.get('num_files', '?')} files, every hash matches)"
    return "BROKEN: " + "; ".join(str(problem) for problem in report.get("problems", ()))
