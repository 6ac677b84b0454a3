"""How two versions differ, as rows for a table: only what is not the same."""

from __future__ import annotations

from typing import Any

from homefire.cli.words import counted

Row = tuple[str, str, str]


def rows_of(found: dict[str, Any]) -> list[Row]:
    """(what, in a, in b) of everything that differs, from the server's comparison."""
    rows: list[Row] = []
    for section in ("metrics", "scores"):
        for name, (a, b) in sorted(found[section].items()):
            if a != b:
                rows.append((f"{section[:-1]} {name.replace('_', ' ')}", _figure(a), _figure(b)))
    for name, (a, b) in sorted(found["skills"].items()):
        if _right(a) != _right(b):
            rows.append((f"skill {name}", _right(a), _right(b)))
    only_a, only_b = found["examples_only_in_a"], found["examples_only_in_b"]
    if only_a or only_b:
        rows.append(("examples of its own", str(len(only_a)), str(len(only_b))))
    return rows


def weights_of(found: dict[str, Any]) -> str:
    """`35 of 35 tensors differ (layer 0, …)`."""
    changed = [layer["layer"] for layer in found["layers"] if layer["num_changed"]]
    if not changed:
        return f"all {counted(found['num_tensors'], 'tensor')} are the same"
    return f"{found['num_changed']} of {counted(found['num_tensors'], 'tensor')} differ: {', '.join(changed)}"


def _right(skill: dict[str, int] | None) -> str:
    """Right answers of a skill when the version was judged."""
    return "-" if skill is None else f"{skill['now']} of {skill['num']}"


def _figure(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
