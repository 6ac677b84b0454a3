"""Tables and statements as plain SQL that SQLite and PostgreSQL both understand.

A `Table` is its columns; creating, inserting and replacing are written from them, everything else is spelled out
where it is used, with named parameters (`:name`). Column types are TEXT, INTEGER (64 bits), REAL and BLOB;
columns named `*_json` hold JSON, times are seconds since the Unix epoch. A statement costs what the driver
costs, about 5 µs.

There are no foreign keys: tables are folded from the log, a fold checks what it refers to, and `check.py`
compares every row with the log. They would cost a look-up an insert, and make emptying a table quadratic.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from homefire.store.driver import Connection, Cursor, SupportsBool

Row = tuple[Any, ...]
Parameters = Mapping[str, Any]
_NONE: Parameters = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement with named parameters."""

    sql: str

    def run(self, connection: Connection, parameters: Parameters | None = None) -> SupportsBool:
        """Execute; true where a row was changed. On a server, an outcome that is not looked at costs no round trip."""
        return connection.execute(self.sql, parameters or {}).rowcount

    def run_later(self, connection: Connection, parameters: Parameters) -> None:
        """Execute, now or in a while: a `BulkConnection` may run it with others of its kind."""
        if isinstance(connection, BulkConnection):
            waiting = connection.inserts if self.sql.startswith("INSERT") else connection.changes
            waiting[self.sql].append(parameters)
        else:
            connection.execute(self.sql, parameters)

    def run_many(self, connection: Connection, rows: Sequence[Parameters]) -> None:
        """Execute once for each row."""
        connection.executemany(self.sql, rows)

    def all(self, connection: Connection, parameters: Parameters | None = None) -> list[Row]:
        """All rows of a query."""
        return connection.execute(self.sql, parameters or {}).fetchall()

    def one(self, connection: Connection, parameters: Parameters | None = None) -> Row | None:
        """The first row of a query, or None."""
        row: Row | None = connection.execute(self.sql, parameters or {}).fetchone()
        return row


class BulkConnection:
    """A connection for folding many events: what may be run later is run together, which halves its cost.

    The order of events is not kept among the statements that are run later: insertions come first, then the rest, each
    kind by itself in its order. All of them come before anything else that is executed. Whoever folds flushes now and
    then, and at the end.
    """

    in_transaction = True

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.inserts: defaultdict[str, list[Parameters]] = defaultdict(list)
        self.changes: defaultdict[str, list[Parameters]] = defaultdict(list)

    def flush(self) -> None:
        """Run what waits."""
        for waiting in (self.inserts, self.changes):
            for sql, rows in waiting.items():
                self._connection.executemany(sql, rows)
            waiting.clear()

    def execute(self, sql: str, parameters: Parameters = _NONE, /) -> Cursor:
        """Execute now, after what waits."""
        self.flush()
        return self._connection.execute(sql, parameters)

    def executemany(self, sql: str, rows: Sequence[Parameters], /) -> object:
        """Execute now, after what waits."""
        self.flush()
        return self._connection.executemany(sql, rows)

    def close(self) -> None:
        """The connection behind it is somebody else's to close."""
        self.flush()


@dataclass(frozen=True, slots=True)
class Table:
    """A table: `columns` maps each name to its type and constraints, `key` is its primary key.

    Indexes map a name to what follows `ON table`: `(principal, seq)`, with a `WHERE` for a partial one.
    """

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    indexes: Mapping[str, str] = field(default_factory=dict)
    read_indexes: Mapping[str, str] = field(default_factory=dict)
    """Those that no fold needs: a rebuild makes them last, which is faster."""

    def definitions(self) -> tuple[str, ...]:
        """The statements that make it and its indexes."""
        return *self.fold_definitions(), *self.read_definitions()

    def read_definitions(self) -> tuple[str, ...]:
        """The statements that make the indexes which only readers need."""
        return tuple(f"CREATE INDEX {name} ON {self.name} {rest}" for name, rest in self.read_indexes.items())

    def fold_definitions(self) -> tuple[str, ...]:
        """The statements that make it and the indexes which folds need."""
        columns = [f"{name} {definition}" for name, definition in self.columns.items()]
        if not any("PRIMARY KEY" in definition for definition in self.columns.values()) and self.key:
            columns.append(f"PRIMARY KEY ({', '.join(self.key)})")
        indexes = (f"CREATE INDEX {name} ON {self.name} {rest}" for name, rest in self.indexes.items())
        return f"CREATE TABLE {self.name} ({', '.join(columns)})", *indexes

    def insert(self) -> Statement:
        """Add a row; every column is a parameter."""
        names = ", ".join(self.columns)
        values = ", ".join(f":{name}" for name in self.columns)
        return Statement(f"INSERT INTO {self.name} ({names}) VALUES ({values})")

    def put(self, *, change: Sequence[str], where: str = "") -> Statement:
        """Add a row, or set the columns `change` of the one with the same key, where `where` holds of both."""
        changes = ", ".join(f"{name} = excluded.{name}" for name in change)
        condition = f" WHERE {where}" if where else ""
        return Statement(
            f"{self.insert().sql} ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {changes}{condition}"
        )
