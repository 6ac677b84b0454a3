"""`homefire config …`: the settings of this home. Works without a server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homefire.cli.command import Call, command, group

if TYPE_CHECKING:
    from homefire.config.loader import Loaded
    from homefire.home import Home


def commands() -> typer.Typer:
    """The group `config`."""
    config = group("The settings of this home.")
    command(config, "show")(show)
    command(config, "schema")(schema)
    command(config, "check")(check)
    return config


def show(
    call: Call,
    origin: Annotated[bool, typer.Option("--origin", help="Also where each value comes from.")] = False,
) -> Any:
    """Show every setting with its value (secrets never)."""
    home, loaded = _load(call)
    values = loaded.settings.model_dump(mode="json")
    flat = {
        f"{section}.{key}": value
        for section, keys in values.items()
        if isinstance(keys, dict)
        for key, value in keys.items()
    }
    call.out.note(f"home {home.root}, file {home.settings_file}, API key in {home.credentials / 'api_key'}")
    columns = ("setting", "value", "from") if origin else ("setting", "value")
    rows = [
        (key, _shown(value), loaded.origins[key]) if origin else (key, _shown(value))
        for key, value in flat.items()
    ]
    call.out.table(columns, rows, empty="There are no settings.")
    return {
        "home": str(home.root),
        "file": str(home.settings_file),
        "settings": values,
        **({"origins": {key: loaded.origins[key] for key in flat}} if origin else {}),
    }


def schema(call: Call) -> None:
    """Print the JSON Schema of homefire.toml (for editors)."""
    from homefire.config.json_schema import settings_json_schema

    call.out.document(settings_json_schema())


def check(call: Call) -> Any:
    """Check homefire.toml and the environment. Exit code 3 when something is wrong."""
    from homefire.config.loader import DEFAULT_ORIGIN

    home, loaded = _load(call)
    changed = {key: where for key, where in loaded.origins.items() if where != DEFAULT_ORIGIN}
    there = "" if home.settings_file.exists() else " (it does not exist: all defaults)"
    call.out.line(f"The settings are right. File: {home.settings_file}{there}.")
    for key, where in sorted(changed.items()):
        call.out.line(f"  {key} is set by {where}")
    return {"ok": True, "file": str(home.settings_file), "changed": changed}


def _load(call: Call) -> tuple[Home, Loaded]:
    import os

    from homefire.cli.address import home_root
    from homefire.config.loader import load_settings
    from homefire.home import Home

    home = Home(home_root(call.shared.home, os.environ))
    return home, load_settings(home)


def _shown(value: Any) -> str:
    return (
        "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    )
