"""`homefire models …`: the models a request can name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from homefire.cli.command import Call, command, group
from homefire.cli.complete import complete_model

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model's name.", autocompletion=complete_model)
]


def commands() -> typer.Typer:
    """The group `models`."""
    models = group("Models that can be named: bases, versions, aliases.")
    command(models, "list")(show_list)
    command(models, "show")(show)
    command(models, "add")(add)
    command(models, "remove")(remove)
    command(models, "verify")(verify)
    return models


def show_list(call: Call) -> None:
    """List every model that a request can name."""
    from homefire.cli.words import size

    found = call.client.get("/v1/homefire/models")
    if call.json:
        call.out.document(found)
    call.out.table(
        ("name", "kind", "points to", "architecture", "parameters", "size", "context", "teachable"),
        [
            (
                str(row["name"]),
                str(row["kind"]),
                str(row.get("target") or ""),
                str(row.get("architecture") or "-"),
                f"{row['num_parameters']:,}" if row.get("num_parameters") else "-",
                size(row["size_bytes"]) if row.get("size_bytes") else "-",
                f"{row['context_length']:,}" if row.get("context_length") else "-",
                "yes" if row.get("trainable") else "no",
            )
            for row in found["models"]
        ],
        empty="There are no models. Add one with `homefire models add PATH`.",
    )


def show(call: Call, model: ModelName) -> None:
    """Show one model, and what a request for it would be answered by."""
    from homefire.cli.words import moment, size

    row = _find(call, model)
    route = call.client.get("/v1/route", model=model)
    if call.json:
        call.out.document({**row, "route": route})
        return
    call.out.fields(
        [
            ("name", str(row["name"])),
            ("kind", str(row["kind"])),
            ("route", str(route.get("reason") or "-")),
            ("format", str(row.get("format") or "-")),
            ("architecture", str(row.get("architecture") or "-")),
            ("parameters", f"{row.get('num_parameters') or 0:,}"),
            ("size", size(row.get("size_bytes") or 0)),
            ("context", f"{row.get('context_length') or 0:,} tokens"),
            ("base", str(row.get("base") or "-")),
            (
                "teachable",
                "yes" if row.get("trainable") else f"no: {row.get('why_not_trainable') or 'unknown'}",
            ),
            ("digest", str(row.get("digest") or "-")),
            ("folder", str(row.get("folder") or "-")),
            ("since", moment(row.get("created_at_s"))),
        ]
    )


def add(
    call: Call,
    path: Annotated[Path, typer.Argument(help="A GGUF file, or a folder with safetensors.")],
    name: Annotated[str | None, typer.Option("--name", help="How to call it.")] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Use the files where they are instead of a copy.")
    ] = False,
) -> None:
    """Add a model from this machine's disk."""
    body: dict[str, Any] = {"path": str(path.expanduser().absolute()), "in_place": in_place}
    if name:
        body["name"] = name
    found = call.client.post("/v1/homefire/models", body)
    if call.json:
        call.out.document(found)
    teachable = "It can be taught." if found.get("trainable") else "It can be served, not taught."
    call.out.line(
        f"{found['name']} is here ({found.get('architecture')}). {teachable} "
        f'Try `homefire ask --model {found["name"]} "Hello"`.'
    )


def remove(
    call: Call,
    model: ModelName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a model (a file added with --in-place stays where it is)."""
    from homefire.cli.ask_first import confirm

    confirm(call, f"Remove {model}?", yes=yes)
    found = call.client.delete(f"/v1/homefire/models/{model}")
    if call.json:
        call.out.document(found)
    call.out.line(f"{model} is removed.")


def verify(
    call: Call,
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="One model; all without one.", autocompletion=complete_model),
    ] = None,
) -> None:
    """Read every byte of a model again and compare its hash. Exit code 20 when one differs."""
    names = (
        [model]
        if model
        else [
            str(row["name"])
            for row in call.client.get("/v1/homefire/models")["models"]
            if row["kind"] != "alias"
        ]
    )
    reports = [call.client.post(f"/v1/homefire/models/{name}/verify") for name in names]
    broken = [name for name, report in zip(names, reports, strict=True) if not report["ok"]]
    if call.json and not broken:
        call.out.document({"ok": True, "reports": reports})
    for name, report in zip(names, reports, strict=True):
        problems = "; ".join(str(problem) for problem in report.get("problems", ()))
        call.out.line(f"{name}: {'whole, every hash matches' if report['ok'] else 'BROKEN: ' + problems}")
    if broken:
        from homefire.errors import PromiseBroken

        raise PromiseBroken(
            f"{', '.join(broken)}: bytes on disk are not those that were added.",
            hint="Remove the model and add it again from a good copy.",
            reports=reports,
        )


def _find(call: Call, name: str) -> dict[str, Any]:
    from homefire.cli.words import nearest
    from homefire.errors import ModelNotFound

    rows: list[dict[str, Any]] = call.client.get("/v1/homefire/models")["models"]
    for row in rows:
        if row["name"] == name:
            return row
    near = nearest(name, [str(row["name"]) for row in rows])
    raise ModelNotFound(
        f"No model is called {name!r}.",
        hint=f"Did you mean {near}? `homefire models list` shows all."
        if near
        else "`homefire models list` shows all.",
        name=name,
        nearest=near,
    )
