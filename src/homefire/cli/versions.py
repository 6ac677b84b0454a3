"""`homefire versions …`: what training made, which of it answers, and the way back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from homefire.cli.arguments import (
    AnyVersionName,
    VersionName,
    Why,
    Yes,
    complete_version,
    path_of,
    version_name,
    version_or_base,
)
from homefire.cli.command import Call, command, group
from homefire.cli.format import Field, clipped, counted, labels, lines, moment, named, plain, rows, size


def _gate(passed: bool) -> str:
    return "pass" if passed else "fail"


COLUMNS = (
    Field("version", "version"),
    Field("live", "live", lambda live: "yes" if live else ""),
    Field("gate", "gate_passed", _gate),
    Field("parent", "parent"),
    Field("size", "size_bytes", size),
    Field("made", "created_at_s", moment),
    Field("description", "description", lambda text: clipped(text, 60)),
)
FIELDS = (
    Field("version", "version"),
    Field("live", "live"),
    Field("outcome", "", lambda row: row["gate_report"]["outcome"]),
    Field("figures", "", lambda row: lines(figures(row["gate_report"]))),
    Field("findings", "gate_reasons", lines),
    Field("next", "", lambda row: row["gate_report"]["next"]),
    Field("base", "base"),
    Field("parent", "parent"),
    Field("run", "run_id"),
    Field("made", "created_at_s", moment),
    Field("size", "size_bytes", size),
    Field("digest", "digest"),
    Field("manifest", "manifest_sha256"),
    Field("folder", "folder"),
    Field("skills", "gate_scores", lambda scores: lines(_skills(scores))),
    Field("description", "description"),
)


def figures(report: dict[str, Any]) -> list[str]:
    """The gate's figures, a line each."""
    return [f"{figure['value']} {figure['label']}" for figure in report["figures"]]


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


def show_list(call: Call) -> Any:
    """List all versions, newest first; the live one is marked."""
    found = call.client.get("/v1/versions")
    newest_first = sorted(
        found["versions"], key=lambda row: (row["created_at_s"], row["version"]), reverse=True
    )
    call.out.table(
        labels(COLUMNS),
        rows(COLUMNS, newest_first),
        empty="There are no versions yet. `homefire correct` makes the first one.",
    )
    if found.get("rollback_to"):
        call.out.line(
            f"{found['live']} is live; `homefire versions rollback` goes back to {found['rollback_to']}."
        )
    return found


def show(call: Call, version: VersionName) -> Any:
    """Show one version: where it comes from, what the gate said, its hashes."""
    found = call.client.get(path_of("/v1/versions", version_name(call, version)))
    call.out.fields(named(FIELDS, found))
    return found


def compare(call: Call, a: VersionName, b: VersionName) -> Any:
    """Compare two versions, or a version and its base: weights, metrics, scores, skills."""
    found = call.client.get("/v1/versions/compare", a=version_or_base(call, a), b=version_or_base(call, b))
    call.out.line(f"Weights: {_weights(found)}.")
    call.out.table(("what", found["a"], found["b"]), _differences(found), empty="Nothing else differs.")
    return found


def promote(
    call: Call,
    version: VersionName,
    why: Why = None,
    override: Annotated[
        bool, typer.Option("--override", help="Promote even though the gate refused it.")
    ] = False,
) -> Any:
    """Let a version answer from now on."""
    body: dict[str, Any] = {"override": override}
    if why:
        body["why"] = why
    found = call.client.post(path_of("/v1/versions", version_or_base(call, version), "promote"), body)
    call.out.line(f"{found['live']} answers from now on (before: {found.get('previous') or '-'}).")
    return found


def rollback(
    call: Call,
    to: Annotated[
        str | None,
        typer.Option("--to", help="A version or base to go back to.", autocompletion=complete_version),
    ] = None,
    why: Why = None,
) -> Any:
    """Go back to what answered before (or to --to)."""
    target = version_or_base(call, to) if to else None
    body = {name: value for name, value in (("to", target), ("why", why)) if value}
    found = call.client.post("/v1/versions/rollback", body)
    call.out.line(f"{found['live']} answers again (before: {found.get('previous') or '-'}).")
    return found


def verify(
    call: Call,
    version: AnyVersionName = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make damaged files and blobs whole from each other first.")
    ] = False,
) -> Any:
    """Read every byte again and compare its hash. Exit code 20 when one differs."""
    from homefire.cli.models import verify_each

    if version is None:
        names = [str(row["version"]) for row in call.client.get("/v1/versions")["versions"]]
    else:
        names = [version_name(call, version)]
    return verify_each(
        call,
        "/v1/versions",
        names,
        hint="Go back to a whole one with `homefire versions rollback`, then restore a backup."
        if repair
        else "Run `homefire versions verify --repair`: a blob can be made whole from the folder, and back.",
        **({"repair": "true"} if repair else {}),
    )


def delete(call: Call, version: VersionName, yes: Yes = False) -> Any:
    """Delete a version that is not live."""
    name = version_name(call, version)
    path = path_of("/v1/versions", name)
    call.confirm(f"Delete {name}? Its weights are gone afterwards.", yes=yes)
    found = call.client.delete(path)
    call.out.line(f"{name} is deleted.")
    return found


def _skills(scores: dict[str, Any]) -> list[str]:
    """Right answers per skill, where they are not what they were."""
    skills: dict[str, dict[str, int]] = scores.get("skills") or {}
    changed = [
        f"{name} {skill['before']} → {skill['now']} of {skill['num']}"
        for name, skill in sorted(skills.items())
        if skill["before"] != skill["now"]
    ]
    same = len(skills) - len(changed)
    return [*changed, *([f"{same} as before"] if same else [])]


def _differences(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(what, in a, in b) of everything that differs besides the weights."""
    different: list[tuple[str, str, str]] = []
    for section in ("metrics", "scores"):
        for name, (a, b) in sorted(found[section].items()):
            if a != b:
                different.append((f"{section[:-1]} {name.replace('_', ' ')}", plain(a), plain(b)))
    for name, (a, b) in sorted(found["skills"].items()):
        if _right(a) != _right(b):
            different.append((f"skill {name}", _right(a), _right(b)))
    only_a, only_b = found["examples_only_in_a"], found["examples_only_in_b"]
    if only_a or only_b:
        different.append(("examples of its own", str(len(only_a)), str(len(only_b))))
    return different


def _weights(found: dict[str, Any]) -> str:
    """`35 of 35 tensors differ (layer 0, …)`."""
    changed = [layer["layer"] for layer in found["layers"] if layer["num_changed"]]
    if not changed:
        return f"all {counted(found['num_tensors'], 'tensor')} are the same"
    verb = "differs" if found["num_changed"] == 1 else "differ"
    return f"{found['num_changed']} of {counted(found['num_tensors'], 'tensor')} {verb}: {', '.join(changed)}"


def _right(skill: dict[str, int] | None) -> str:
    """Right answers of a skill when the version was judged."""
    return "-" if skill is None else f"{skill['now']} of {skill['num']}"
