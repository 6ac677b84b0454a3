"""Reading what can be named: models, aliases, versions and their gates."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer, Table, Text, bindparam, cast, func, select

from homefire.store.connections import ReadConnections
from homefire.store.reading import Query, Shape
from homefire.store.rows import AliasRow, ModelRow, VersionRow
from homefire.store.sql import Statement
from homefire.store.tables import alias_moves, aliases, gates, models, versions


class ModelReader:
    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(ModelRow, models, json={"files": dict[str, str]})
        self._get = Query(connections, shape, shape.select().where(models.c.name == bindparam("name")))
        self._list = Query(connections, shape, shape.select().order_by(models.c.name))

    def get(self, name: str) -> ModelRow | None:
        return self._get.one(name=name)

    def list(self) -> list[ModelRow]:
        """All registered base models by name."""
        return self._list.all()


class AliasReader:
    def __init__(self, connections: ReadConnections) -> None:
        shape = Shape(AliasRow, aliases, json={"is_rollback": bool}, computed=_is_rollback(aliases))
        past = Shape(AliasRow, alias_moves, json={"is_rollback": bool}, computed=_is_rollback(alias_moves))
        self._get = Query(connections, shape, shape.select().where(aliases.c.alias == bindparam("alias")))
        self._list = Query(connections, shape, shape.select().order_by(aliases.c.alias))
        self._history = Query(
            connections,
            past,
            past.select().where(alias_moves.c.alias == bindparam("alias")).order_by(alias_moves.c.seq.desc()),
        )

    def get(self, name: str) -> AliasRow | None:
        return self._get.one(alias=name)

    def history(self, name: str) -> list[AliasRow]:
        """All moves of an alias, newest first."""
        return self._history.all(alias=name)

    def list(self) -> list[AliasRow]:
        """All aliases by name."""
        return self._list.all()


def _is_rollback(table: Table) -> dict[str, ColumnElement[Any]]:
    # 1 and 0 are stored; as JSON they read `true` and `false`.
    return {"is_rollback": func.iif(table.c.is_rollback == 1, "true", "false")}


class VersionReader:
    def __init__(self, connections: ReadConnections) -> None:
        judged = gates.alias("judged")
        latest = (
            select(func.max(judged.c.seq)).where(judged.c.version == versions.c.version).scalar_subquery()
        )
        shape = Shape(
            VersionRow,
            versions,
            json={"gate_passed": bool | None, "gate_reasons": tuple[str, ...], "gate_scores": dict[str, Any]},
            computed={
                # 1 and 0 are stored; as JSON they read `true` and `false`.
                "gate_passed": func.iif(
                    gates.c.passed == 1, "true", func.iif(gates.c.passed == 0, "false", None)
                ),
                "gate_reasons": func.coalesce(gates.c.reasons_json, "[]"),
                "gate_scores": func.coalesce(gates.c.scores_json, "{}"),
            },
        )
        query = shape.select().select_from(versions.outerjoin(gates, gates.c.seq == latest))
        self._get = Query(connections, shape, query.where(versions.c.version == bindparam("version")))
        newest_first = query.order_by(versions.c.seq.desc(), versions.c.version.desc())
        self._list = Query(connections, shape, newest_first.where(versions.c.removed_at_s.is_(None)))
        number = cast(func.substr(versions.c.version, 2), Integer)
        self._connections = connections
        self._last_number = Statement(
            select(func.coalesce(func.max(number), 0)).where(
                versions.c.version.op("GLOB")(bindparam("pattern", "v[0-9]*", type_=Text))
            )
        )

    def get(self, version: str) -> VersionRow | None:
        """A version, also one that was removed (`removed_at_s`)."""
        return self._get.one(version=version)

    def next_name(self) -> str:
        """`v001`, `v002`, …: one more than the greatest number ever given."""
        with self._connections.use() as connection:
            row = self._last_number.one(connection)
        assert row is not None
        return f"v{int(row[0]) + 1:03d}"

    def list(self) -> list[VersionRow]:
        """All versions that were not removed, newest first."""
        return self._list.all()
