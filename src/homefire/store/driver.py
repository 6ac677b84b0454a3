"""The SQLite library in use, and what a connection of either database can do.

SQLite is the library bundled with `pysqlite3` (fixed, recent), else Python's own: both are the same DB-API module,
and everything in `store/` imports it from here, so that an exception caught is of the library that raised it.
`Connection` is the part of the DB-API that the store uses. SQLite's own connection has it; PostgreSQL's is made to
(`postgresql_connection.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import sqlite3 as driver
else:
    try:
        import pysqlite3 as driver
    except ImportError:
        import sqlite3 as driver


class SupportsBool(Protocol):
    """What can be asked whether it is so."""

    def __bool__(self) -> bool: ...


class Cursor(Protocol):
    """The outcome of one statement: its rows, or (true where there are any) how many it changed."""

    @property
    def rowcount(self) -> SupportsBool: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A connection in autocommit mode: transactions are spelled out. Parameters are named (`:name`)."""

    @property
    def in_transaction(self) -> bool: ...
    def execute(self, sql: str, parameters: Mapping[str, Any] = ..., /) -> Cursor: ...
    def executemany(self, sql: str, rows: Sequence[Mapping[str, Any]], /) -> object: ...
    def close(self) -> None: ...


__all__ = ["Connection", "Cursor", "SupportsBool", "driver"]
