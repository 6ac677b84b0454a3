"""How a query's rows become typed rows: shared by all readers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec

from homefire.store.connections import ReadConnections
from homefire.store.sql import Row, Statement

RowT = TypeVar("RowT", bound=msgspec.Struct)


class Shape(Generic[RowT]):
    """Which columns make a `RowT`: those of `table` by its field names, JSON ones decoded, some computed.

    `json` maps a field to its type: it is read from the column `<field>_json`. `computed` maps a field to an
    expression.
    """

    def __init__(
        self,
        row_type: type[RowT],
        table: str,
        *,
        json: Mapping[str, Any] | None = None,
        computed: Mapping[str, str] | None = None,
    ) -> None:
        json, computed = json or {}, computed or {}
        self._row_type = row_type
        self._table = table
        self._fields = row_type.__struct_fields__
        self._decoders = [
            (index, msgspec.json.Decoder(json[name]))
            for index, name in enumerate(self._fields)
            if name in json
        ]
        self._columns = ", ".join(
            computed.get(name, f"{table}.{name}_json" if name in json else f"{table}.{name}")
            for name in self._fields
        )

    def select(self, rest: str = "") -> str:
        """A query for all columns of the row; `rest` narrows and orders it."""
        return f"SELECT {self._columns} FROM {self._table} {rest}"

    def make(self, row: Row) -> RowT:
        """The typed row."""
        values = list(row)
        for index, decoder in self._decoders:
            if values[index] is not None:
                values[index] = decoder.decode(values[index])
        return self._row_type(**dict(zip(self._fields, values, strict=True)))


class Query(Generic[RowT]):
    """A query with its shape, run on a borrowed connection.

    No name that is stored holds the character NUL (`log.encode_event`), so what is asked for by one is not there.
    """

    def __init__(self, connections: ReadConnections, shape: Shape[RowT], rest: str) -> None:
        self._connections = connections
        self._shape = shape
        self._statement = Statement(shape.select(rest))

    def all(self, **parameters: Any) -> list[RowT]:
        if _has_nul(parameters):
            return []
        with self._connections.use() as connection:
            rows = self._statement.all(connection, parameters)
        return [self._shape.make(row) for row in rows]

    def one(self, **parameters: Any) -> RowT | None:
        if _has_nul(parameters):
            return None
        with self._connections.use() as connection:
            row = self._statement.one(connection, parameters)
        return None if row is None else self._shape.make(row)


def _has_nul(parameters: Mapping[str, Any]) -> bool:
    return any(isinstance(value, str) and "\0" in value for value in parameters.values())
