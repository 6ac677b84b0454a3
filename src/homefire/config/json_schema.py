"""The published descriptions of the settings, made from the schema: for editors and for people.

`python -m homefire.config.json_schema FOLDER` writes both files; a test holds that they are current.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from homefire.config.schema import Settings, iter_keys
from homefire.config.values import describe_expected, show_value

_INTERPOLATED = {"type": "string", "pattern": r"\$\{", "description": "taken from the environment"}
_KEYWORDS_ABOUT = ("title", "description", "default")


def settings_json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `homefire.toml`. A value of another type may also be a `${VAR}` text."""
    schema = Settings.model_json_schema()
    for section in schema["$defs"].values():
        section["properties"] = {name: _or_variable(part) for name, part in section["properties"].items()}
    for part in schema["properties"].values():
        part.pop("default", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def settings_reference() -> str:
    """The reference page of all settings, in Markdown."""
    lines = [
        "# Settings",
        "",
        "Made from `homefire/config/schema.py`; do not edit. A value comes from the command line, else the",
        "environment, else `homefire.toml` in the home directory, else its default;",
        "`homefire config show --origin` says which. `${VAR}` and `${VAR:-default}` work in any value",
        "of the file.",
    ]
    section = ""
    for key in iter_keys():
        if key.section != section:
            section = key.section
            about = (Settings.model_fields[section].annotation or object).__doc__ or ""
            lines += [
                "",
                f"## [{section}]",
                "",
                about.strip(),
                "",
                "| key | accepts | default | what it does |",
            ]
            lines += ["|---|---|---|---|"]
        lines.append(
            f"| `{key.name}` | {describe_expected(key)} | `{show_value(key.default)}` "
            f"| {key.description}<br>`{key.variable}` |"
        )
    return "\n".join([*lines, ""])


def _or_variable(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "string" and "enum" not in part:
        return part
    about = {name: part[name] for name in _KEYWORDS_ABOUT if name in part}
    bare = {name: value for name, value in part.items() if name not in _KEYWORDS_ABOUT}
    variants = bare["anyOf"] if set(bare) == {"anyOf"} else [bare]
    return {**about, "anyOf": [*variants, _INTERPOLATED]}


def published_files() -> dict[str, str]:
    """Name and content of the files below `docs/reference`."""
    schema = msgspec.json.format(msgspec.json.encode(settings_json_schema()), indent=2)
    return {"settings.schema.json": schema.decode() + "\n", "settings.md": settings_reference()}


def main(folder: Path) -> None:
    """Write the published files."""
    for name, content in published_files().items():
        (folder / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
