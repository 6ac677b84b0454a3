"""`homefire models …`: the models a request can name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from homefire.cli.arguments import AnyModelName, ModelName, Yes, path_of
from homefire.cli.command import Call, command, group
from homefire.cli.format import Field, labels, moment, named, nearest, number, rows, size

COLUMNS = (
    Field("name", "name"),
    Field("kind", "kind"),
    Field("points to", "target"),
    Field("architecture", "architecture"),
    Field("parameters", "num_parameters", number),
    Field("size", "size_bytes", size),
    Field("context", "context_length", number),
    Field("teachable", "trainable"),
)
FIELDS = (
    Field("name", "name"),
    Field("kind", "kind"),
    Field("route", "", lambda row: str(row["route"].get("reason") or "-")),
    Field("format", "format"),
    Field("architecture", "architecture"),
    Field("parameters", "num_parameters", number),
    Field("size", "size_bytes", size),
    Field("context", "context_length", lambda length: f"{length:,} tokens"),
    Field("base", "base"),
    Field(
        "teachable",
        "",
        lambda row: "yes" if row.get("trainable") else f"no: {row.get('why_not_trainable') or 'unknown'}",
    ),
    Field("teaching takes", "teaching_needs", lambda needs: needs or "-"),
    Field("digest", "digest"),
    Field("folder", "folder"),
    Field("since", "created_at_s", moment),
)


def commands() -> typer.Typer:
    """The group `models`."""
    models = group("Models that can be named: bases, versions, aliases.")
    command(models, "list")(show_list)
    command(models, "show")(show)
    command(models, "add")(add)
    command(models, "check")(check)
    command(models, "remove")(remove)
    command(models, "verify")(verify)
    return models


def show_list(call: Call) -> Any:
    """List every model that a request can name."""
    found = call.client.get("/v1/homefire/models")
    call.out.table(
        labels(COLUMNS),
        rows(COLUMNS, found["models"]),
        empty="There are no models. Add one with `homefire models add PATH`.",
    )
    return found


def show(call: Call, model: ModelName) -> Any:
    """Show one model, and what a request for it would be answered by."""
    row = _find(call, model)
    # An alias is shown as itself; what it takes to teach it is asked of what it means.
    needs = call.client.get(path_of("/v1/homefire/models", model)).get("teaching_needs")
    found = {**row, "teaching_needs": needs, "route": call.client.get("/v1/route", model=model)}
    call.out.fields(named(FIELDS, found))
    return found


def add(
    call: Call,
    path: Annotated[Path, typer.Argument(help="A GGUF file, or a folder with safetensors.")],
    name: Annotated[str | None, typer.Option("--name", help="How to call it.")] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Use the files where they are instead of a copy.")
    ] = False,
) -> Any:
    """Add a model from this machine's disk."""
    body: dict[str, Any] = {"path": str(path.expanduser().absolute()), "in_place": in_place}
    if name:
        body["name"] = name
    found = call.client.post("/v1/homefire/models", body)
    call.out.line(
        f"{found['name']} is here ({found.get('architecture')}). "
        f'Try `homefire ask --model {found["name"]} "Hello"`.'
    )
    _say_fitness(call, found["fitness"])
    return found


def check(call: Call, model: ModelName) -> Any:
    """Say whether a model can be taught here, and whether it answers like one that was trained."""
    found = call.client.post(path_of("/v1/homefire/models", model, "check"))
    _say_fitness(call, found)
    return found


def _say_fitness(call: Call, fitness: dict[str, Any]) -> None:
    why_not = fitness["why_not"]
    call.out.line(
        "It can be taught." if fitness["teachable"] else f"It can be served, not taught: {why_not}."
    )
    for warning in fitness["warnings"]:
        call.out.line(f"Warning: {warning}")


def remove(call: Call, model: ModelName, yes: Yes = False) -> Any:
    """Remove a model (a file added with --in-place stays where it is)."""
    path = path_of("/v1/homefire/models", model)
    call.confirm(f"Remove {model}?", yes=yes)
    found = call.client.delete(path)
    call.out.line(f"{model} is removed.")
    return found


def verify(call: Call, model: AnyModelName = None) -> Any:
    """Read every byte of a model again and compare its hash. Exit code 20 when one differs."""
    names = [model]
    if model is None:
        found = call.client.get("/v1/homefire/models")["models"]
        names = [str(row["name"]) for row in found if row["kind"] != "alias"]
    return verify_each(
        call,
        "/v1/homefire/models",
        [name for name in names if name is not None],
        hint="Add the model again under its name, from a good copy.",
    )


def verify_each(call: Call, path: str, names: list[str], *, hint: str, **query: str) -> Any:
    """Have each of these hashed again and say what was found. PromiseBroken, with all reports, for a difference."""
    from homefire.errors import PromiseBroken

    reports = [call.client.post(path_of(path, name, "verify"), **query) for name in names]
    broken = [name for name, report in zip(names, reports, strict=True) if not report["ok"]]
    for name, report in zip(names, reports, strict=True):
        problems = "; ".join(str(problem) for problem in report.get("problems", ()))
        call.out.line(f"{name}: {'whole, every hash matches' if report['ok'] else 'BROKEN: ' + problems}")
    if not names:
        call.out.line("There is nothing to verify.")
    if broken:
        raise PromiseBroken(
            f"{', '.join(broken)}: bytes on disk are not those that were written.", hint=hint, reports=reports
        )
    return {"ok": True, "reports": reports}


def _find(call: Call, name: str) -> dict[str, Any]:
    from homefire.errors import ModelNotFound

    found: list[dict[str, Any]] = call.client.get("/v1/homefire/models")["models"]
    for row in found:
        if row["name"] == name:
            return row
    near = nearest(name, [str(row["name"]) for row in found])
    raise ModelNotFound(
        f"No model is called “{name}”.",
        hint=f"Did you mean {near}? `homefire models list` shows all."
        if near
        else "`homefire models list` shows all.",
        name=name,
        nearest=near,
    )
