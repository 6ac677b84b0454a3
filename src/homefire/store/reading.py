"""How a query's rows become typed rows: shared by all readers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec

from homefire.errors import CorruptData
from homefire.store.connections import ReadConnections
from homefire.store.noun import BodyKind
from homefire.store.packing import unpack
from homefire.store.sql import Row, Statement

RowT = TypeVar("RowT", bound=msgspec.Struct)


class Shape(Generic[RowT]):
    """Which columns make a `RowT`: those of `table` by its field names, except as the mappings say.

    `json` maps a field to its type: it is read from the column `<field>_json`. `computed` maps a field to an
    expression. `bodies` maps a field to what the body holds and an expression for its key; None where that is null.
    `decoders` maps a field to what makes its value of the column's, where that is not null. `blanks` are those of
    `bodies` that are blank, and not None, where there is no body.
    """

    def __init__(
        self,
        row_type: type[RowT],
        table: str,
        *,
        json: Mapping[str, Any] | None = None,
        computed: Mapping[str, str] | None = None,
        bodies: Mapping[str, tuple[BodyKind, str]] | None = None,
        decoders: Mapping[str, Callable[[Any], Any]] | None = None,
        blanks: Sequence[str] = (),
    ) -> None:
        self._row_type = row_type
        self._table = table
        self._fields = row_type.__struct_fields__
        decode: dict[str, Callable[[Any], Any]] = dict(decoders or {})
        columns = {name: f"{table}.{name}" for name in self._fields}
        for name, column_type in (json or {}).items():
            columns[name] = f"{table}.{name}_json"
            decode[name] = msgspec.json.Decoder(column_type).decode
        columns.update(computed or {})
        for name, (kind, key) in (bodies or {}).items():
            columns[name] = f"(SELECT content FROM bodies WHERE body = {key})"
            decode[name] = partial(_read_body, kind)
        self._blanks = [(self._fields.index(name), (bodies or {})[name][0].blank) for name in blanks]
        self._decoders = [(self._fields.index(name), make) for name, make in decode.items()]
        self._columns = ", ".join(columns[name] for name in self._fields)

    def select(self, rest: str = "") -> str:
        """A query for all columns of the row; `rest` narrows and orders it."""
        return f"SELECT {self._columns} FROM {self._table} {rest}"

    def make(self, row: Row) -> RowT:
        """The typed row."""
        values = list(row)
        for index, decode in self._decoders:
            if values[index] is not None:
                values[index] = decode(values[index])
        for index, blank in self._blanks:
            if values[index] is None:
                values[index] = blank
        return self._row_type(**dict(zip(self._fields, values, strict=True)))


def _read_body(kind: BodyKind, stored: bytes) -> Any:
    try:
        return kind.decode(unpack(stored) if stored else b"")
    except (ValueError, msgspec.DecodeError) as error:
        raise CorruptData(
            f"A content in the database cannot be read: {error}.",
            hint="`homefire doctor` says which; restore the database from a backup.",
        ) from error


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
