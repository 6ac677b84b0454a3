"""Folds of what can be named: base models, versions and their gates, aliases.

Models, versions and aliases share one space of names: a name never means two things.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, insert, select, union_all, update
from sqlalchemy import literal as constant

from homefire.errors import Conflict, ModelNotFound
from homefire.store.driver import Connection
from homefire.store.events import (
    AliasMoved,
    GateJudged,
    ModelRegistered,
    ModelRemoved,
    VersionPublished,
    VersionRemoved,
)
from homefire.store.sql import Statement, upsert
from homefire.store.tables import alias_moves, aliases, gates, models, versions


class ModelFolds:
    """See `projections.Projector`."""

    def __init__(self) -> None:
        self._put_model = Statement(
            upsert(
                models,
                key="name",
                change=(
                    "format", "path", "files_json", "architecture", "num_parameters", "size_bytes",
                    "context_length",
                ),
                where=("digest",),
            )
        )  # fmt: skip
        self._delete_model = Statement(delete(models).where(models.c.name == bindparam("id")))
        self._kind_of_name = Statement(
            union_all(
                select(constant("model")).where(models.c.name == bindparam("id")),
                select(constant("version")).where(
                    versions.c.version == bindparam("id"), versions.c.removed_at_s.is_(None)
                ),
                select(constant("alias")).where(aliases.c.alias == bindparam("id")),
            )
        )
        self._aliases_of = Statement(select(aliases.c.alias).where(aliases.c.target == bindparam("id")))
        self._alias_target = Statement(select(aliases.c.target).where(aliases.c.alias == bindparam("id")))
        self._put_alias = Statement(
            upsert(
                aliases,
                key="alias",
                change=("target", "previous", "who", "why", "seq", "moved_at_s", "is_rollback"),
            )
        )
        self._insert_move = Statement(insert(alias_moves))
        self._insert_version = Statement(insert(versions))
        self._remove_version = Statement(
            update(versions)
            .where(versions.c.version == bindparam("id"), versions.c.removed_at_s.is_(None))
            .values(removed_at_s=bindparam("at_s"))
        )
        self._insert_gate = Statement(insert(gates))

    def by_event(self) -> Mapping[type, Callable[[Connection, Any, int, float], None]]:
        return {
            ModelRegistered: self.model_registered,
            ModelRemoved: self.model_removed,
            AliasMoved: self.alias_moved,
            VersionPublished: self.version_published,
            VersionRemoved: self.version_removed,
            GateJudged: self.gate_judged,
        }

    def model_registered(self, connection: Connection, event: ModelRegistered, seq: int, at_s: float) -> None:
        """A name may be registered again (a moved folder), but never for other weights."""
        self._check_name(connection, event.name, wanted="model")
        put = self._put_model.run(
            connection,
            {
                "name": event.name,
                "format": event.format,
                "path": event.path,
                "digest": event.digest,
                "files_json": msgspec.json.encode(event.files, order="sorted").decode(),
                "architecture": event.architecture,
                "num_parameters": event.num_parameters,
                "size_bytes": event.size_bytes,
                "context_length": event.context_length,
                "created_at_s": at_s,
            },
        )
        if not put:
            raise Conflict(
                f"The name {event.name} belongs to a model with other weights.",
                hint="Choose another name, or remove that model first.",
                name=event.name,
            )

    def model_removed(self, connection: Connection, event: ModelRemoved, seq: int, at_s: float) -> None:
        self._check_unreferenced(connection, event.name)
        if not self._delete_model.run(connection, {"id": event.name}):
            raise ModelNotFound(f"There is no model {event.name}.", name=event.name)

    def alias_moved(self, connection: Connection, event: AliasMoved, seq: int, at_s: float) -> None:
        """Compare-and-set: the alias must still point at `previous`."""
        self._check_name(connection, event.alias, wanted="alias")
        current = self._target_of(connection, event.alias)
        if current != event.previous:
            raise Conflict(
                f"Alias {event.alias} points at {current or 'nothing'}, not at "
                f"{event.previous or 'nothing'}: it was moved meanwhile.",
                alias=event.alias,
                current=current,
                expected=event.previous,
            )
        if self._kind_of_name.one(connection, {"id": event.target}) is None:
            raise ModelNotFound(f"There is no model, version or alias {event.target}.", name=event.target)
        self._check_acyclic(connection, event)
        row = {
            "alias": event.alias,
            "target": event.target,
            "previous": event.previous,
            "who": event.who,
            "why": event.why,
            "seq": seq,
            "moved_at_s": at_s,
            "is_rollback": int(event.is_rollback),
        }
        self._put_alias.run(connection, row)
        self._insert_move.run(connection, row)

    def version_published(
        self, connection: Connection, event: VersionPublished, seq: int, at_s: float
    ) -> None:
        self._check_name(connection, event.version, wanted="version")
        self._insert_version.run(
            connection,
            {
                "version": event.version,
                "run_id": event.run_id,
                "base": event.base,
                "parent": event.parent,
                "manifest_sha256": event.manifest_sha256,
                "digest": event.digest,
                "size_bytes": event.size_bytes,
                "description": event.description,
                "created_at_s": at_s,
                "removed_at_s": None,
                "seq": seq,
            },
        )

    def version_removed(self, connection: Connection, event: VersionRemoved, seq: int, at_s: float) -> None:
        self._check_unreferenced(connection, event.version)
        if not self._remove_version.run(connection, {"id": event.version, "at_s": at_s}):
            raise ModelNotFound(f"There is no version {event.version}.", name=event.version)

    def gate_judged(self, connection: Connection, event: GateJudged, seq: int, at_s: float) -> None:
        self._insert_gate.run(
            connection,
            {
                "seq": seq,
                "version": event.version,
                "run_id": event.run_id,
                "passed": int(event.passed),
                "reasons_json": msgspec.json.encode(event.reasons).decode(),
                "scores_json": msgspec.json.encode(event.scores).decode(),
                "judged_at_s": at_s,
            },
        )

    def _check_name(self, connection: Connection, name: str, *, wanted: str) -> None:
        for (kind,) in self._kind_of_name.all(connection, {"id": name}):
            if kind != wanted or kind == "version":
                raise Conflict(f"The name {name} belongs to a {kind} already.", name=name, kind=kind)

    def _check_unreferenced(self, connection: Connection, name: str) -> None:
        pointing = [alias for (alias,) in self._aliases_of.all(connection, {"id": name})]
        if pointing:
            raise Conflict(
                f"{name} cannot be removed: {', '.join(pointing)} points at it.",
                hint="Move the alias first.",
                name=name,
                aliases=pointing,
            )

    def _target_of(self, connection: Connection, alias: str) -> str | None:
        row = self._alias_target.one(connection, {"id": alias})
        return None if row is None else str(row[0])

    def _check_acyclic(self, connection: Connection, event: AliasMoved) -> None:
        name: str | None = event.target
        while name is not None:
            if name == event.alias:
                raise Conflict(
                    f"Alias {event.alias} cannot point at {event.target}, which leads back to it.",
                    alias=event.alias,
                    target=event.target,
                )
            name = self._target_of(connection, name)
