"""How a query's rows become typed rows: shared by all readers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Select, Table, select

from homefire.store.connections import ReadConnections
from homefire.store.sql import Row, Statement

RowT = TypeVar("RowT", bound=msgspec.Struct)


class Shape(Generic[RowT]):
    """Which columns make a `RowT`: those of `table` by its field names, JSON ones decoded, some computed.

    `json` maps a field to its type: it is read from the column `<field>_json`.
    """

    def __init__(
        self,
        row_type: type[RowT],
        table: Table,
        *,
        json: Mapping[str, Any] | None = None,
        computed: Mapping[str, ColumnElement[Any]] | None = None,
    ) -> None:
        json, computed = json or {}, computed or {}
        self._row_type = row_type
        self._fields = row_type.__struct_fields__
        self._decoders = [
            (index, msgspec.json.Decoder(json[field]))
            for index, field in enumerate(self._fields)
            if field in json
        ]
        self.columns: list[ColumnElement[Any]] = [
            computed[field] if field in computed else table.c[f"{field}_json" if field in json else field]
            for field in self._fields
        ]

    def select(self) -> Select[Any]:
        """A query for all columns of the row, to be narrowed."""
        return select(*self.columns)

    def make(self, row: Row) -> RowT:
        """The typed row."""
        values = list(row)
        for index, decoder in self._decoders:
            if values[index] is not None:
                values[index] = decoder.decode(values[index])
        return self._row_type(**dict(zip(self._fields, values, strict=True)))


class Query(Generic[RowT]):
    """A compiled query with its shape, run on a borrowed connection."""

    def __init__(self, connections: ReadConnections, shape: Shape[RowT], construct: Any) -> None:
        self._connections = connections
        self._shape = shape
        self._statement = Statement(construct)

    def all(self, **parameters: Any) -> list[RowT]:
        with self._connections.use() as connection:
            rows = self._statement.all(connection, parameters)
        return [self._shape.make(row) for row in rows]

    def one(self, **parameters: Any) -> RowT | None:
        with self._connections.use() as connection:
            row = self._statement.one(connection, parameters)
        return None if row is None else self._shape.make(row)
