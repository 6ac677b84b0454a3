"""The one space of names that models, versions and aliases share: a name never means two things."""

from __future__ import annotations

from homefire.errors import Conflict
from homefire.store.driver import Connection
from homefire.store.sql import Statement

_kinds = Statement(
    "SELECT 'model' FROM models WHERE name = :name"
    " UNION ALL SELECT 'version' FROM versions WHERE version = :name AND removed_at_s IS NULL"
    " UNION ALL SELECT 'alias' FROM aliases WHERE alias = :name"
)
_aliases_of = Statement("SELECT alias FROM aliases WHERE target = :name")


def exists(connection: Connection, name: str) -> bool:
    """Whether the name stands for anything."""
    return _kinds.one(connection, {"name": name}) is not None


def check_free(connection: Connection, name: str, *, wanted: str) -> None:
    """Conflict where the name is taken by another kind of thing, or by a version (never given twice)."""
    for (kind,) in _kinds.all(connection, {"name": name}):
        if kind != wanted or kind == "version":
            raise Conflict(f"The name {name} belongs to a {kind} already.", name=name, kind=kind)


def check_unreferenced(connection: Connection, name: str) -> None:
    """Conflict while an alias points at it."""
    pointing = [alias for (alias,) in _aliases_of.all(connection, {"name": name})]
    if pointing:
        raise Conflict(
            f"{name} cannot be removed: {', '.join(pointing)} points at it.",
            hint="Move the alias first.",
            name=name,
            aliases=pointing,
        )
