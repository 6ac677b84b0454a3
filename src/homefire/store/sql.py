"""SQLAlchemy Core statements compiled once to SQL text, then run on the driver without further cost.

Core writes the SQL (one set of queries for every database); running it through its execution layer would
cost 60–100 µs a statement instead of 5, which the request path cannot pay. Only column types that need no
conversion are used in `tables.py`, so nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import Table, and_
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.compiler import Compiled
from sqlalchemy.sql.elements import ClauseElement

from homefire.store.driver import Connection

Row = tuple[Any, ...]


def upsert(table: Table, *, key: str, change: Sequence[str], where: Sequence[str] = ()) -> Insert:
    """Insert a row, or set the columns `change` of the one with the same `key` where it agrees in `where`."""
    statement = insert(table)
    return statement.on_conflict_do_update(
        index_elements=[table.c[key]],
        set_={name: statement.excluded[name] for name in change},
        where=and_(*(table.c[name] == statement.excluded[name] for name in where)) if where else None,
    )


class Statement:
    """One statement, compiled when it is first run. Its constants are bound already."""

    def __init__(self, construct: Executable) -> None:
        self._construct = construct

    @cached_property
    def sql(self) -> str:
        """The statement's text, with named parameters."""
        return str(self._compiled)

    @cached_property
    def _constants(self) -> Mapping[str, Any]:
        return {name: value for name, value in (self._compiled.params or {}).items() if value is not None}

    @cached_property
    def _compiled(self) -> Compiled:
        assert isinstance(self._construct, ClauseElement)
        return self._construct.compile(dialect=SQLiteDialect(paramstyle="named"))

    def run(self, connection: Connection, parameters: Mapping[str, Any] | None = None) -> int:
        """Execute; returns the number of rows that were changed."""
        return connection.execute(self.sql, self._bind(parameters)).rowcount

    def run_many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute once for each row."""
        connection.executemany(self.sql, rows)

    def all(self, connection: Connection, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """All rows of a query."""
        return connection.execute(self.sql, self._bind(parameters)).fetchall()

    def one(self, connection: Connection, parameters: Mapping[str, Any] | None = None) -> Row | None:
        """The first row of a query, or None."""
        row: Row | None = connection.execute(self.sql, self._bind(parameters)).fetchone()
        return row

    def _bind(self, parameters: Mapping[str, Any] | None) -> Mapping[str, Any]:
        if not self._constants:
            return parameters or {}
        return {**self._constants, **parameters} if parameters else self._constants
