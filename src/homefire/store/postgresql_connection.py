"""A connection to PostgreSQL that takes the store's statements: `:name` for parameters, transactions spelled out.

Statements are translated once and kept; the server prepares those that come again. A statement costs a round trip:
about 0.1 ms on the same machine, else what the network takes. In the writer's transactions those that nobody looks at
the outcome of are sent along with the next one (`defer`): an append takes three or four round trips, not ten.
"""

from __future__ import annotations

import contextlib
import re
import select
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import pq
from psycopg.types.numeric import Int8Dumper

from homefire.store.driver import Cursor, SupportsBool
from homefire.store.sql import Row

PREPARE_AFTER = 2
"""Uses of a statement before the server is told to keep it."""
_STREAMED_ROWS = 2000
_TOKEN = re.compile(r"'(?:[^']|'')*'|::|:([A-Za-z_]\w*)")
_NO_PARAMETERS: Mapping[str, Any] = {}


def translate(sql: str) -> tuple[str, tuple[str, ...]]:
    """`:name` as `$1`, and the names in their order. Texts in quotes and casts (`::`) stay as they are."""
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return found[0]
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _TOKEN.sub(number, sql), tuple(names)


class _Deferred:
    """The outcome of a statement that may not have been sent yet: looking at it sends what waits."""

    def __init__(self, connection: PostgresConnection, cursor: psycopg.RawCursor[Row]) -> None:
        self._connection = connection
        self._cursor = cursor

    @property
    def rowcount(self) -> SupportsBool:
        return _DeferredCount(self)

    def count(self) -> int:
        return self._settled().rowcount

    def fetchone(self) -> Any:
        return self._settled().fetchone()

    def fetchall(self) -> list[Any]:
        return self._settled().fetchall()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._settled())

    def _settled(self) -> psycopg.RawCursor[Row]:
        self._connection.send_deferred()
        return self._cursor


class _DeferredCount:
    """How many rows were changed, once somebody asks."""

    def __init__(self, outcome: _Deferred) -> None:
        self._outcome = outcome

    def __bool__(self) -> bool:
        return self._outcome.count() > 0

    def __eq__(self, other: object) -> bool:
        return self._outcome.count() == other

    __hash__ = None  # type: ignore[assignment]


class PostgresConnection:
    """Wraps a psycopg connection; what it raises is psycopg's. For one thread at a time."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection
        connection.cursor_factory = psycopg.RawCursor
        connection.prepare_threshold = PREPARE_AFTER
        # One type for all whole numbers: a statement would be prepared anew for each width.
        connection.adapters.register_dumper(int, Int8Dumper)
        self._translated: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._defers = False
        self._pipeline: contextlib.AbstractContextManager[psycopg.Pipeline] | None = None

    @property
    def in_transaction(self) -> bool:
        return self._defers or self._connection.info.transaction_status in (
            pq.TransactionStatus.INTRANS,
            pq.TransactionStatus.INERROR,
        )

    @property
    def backend_pid(self) -> int:
        """The server's process for this connection."""
        return self._connection.info.backend_pid

    @property
    def server_version(self) -> int:
        """150018 for 15.18."""
        return self._connection.info.server_version

    def execute(self, sql: str, parameters: Mapping[str, Any] = _NO_PARAMETERS, /) -> Cursor:
        if self._defers:
            return self._execute_later(sql, parameters)
        if not parameters:
            # Several statements in one text, and those that cannot be prepared, are sent as they are.
            return self._connection.execute(sql, prepare=None if sql.startswith("SELECT") else False)
        query, names = self._translate(sql)
        return self._connection.execute(query, [parameters[name] for name in names])

    def executemany(self, sql: str, rows: Sequence[Mapping[str, Any]], /) -> None:
        """In a pipeline: one round trip for all rows."""
        query, names = self._translate(sql)
        if self._defers:
            for row in rows:
                self._execute_later(sql, row)
            return
        with self._connection.cursor() as cursor:
            cursor.executemany(query, [[row[name] for name in names] for row in rows])

    def defer(self) -> None:
        """From here to the end of the transaction, send a statement only when an outcome is looked at.

        An error then comes with a later statement, at the latest with `send_deferred` or the end.
        """
        self._defers = True

    def send_deferred(self) -> None:
        """Send what waits and learn how it went. Raises the first error."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.__exit__(None, None, None)

    def end(self, sql: str) -> str:
        """Run statements that end a transaction; returns what the server says of the last (`COMMIT`)."""
        self._defers = False
        self.send_deferred()
        cursor = self._connection.execute(sql, prepare=False)
        while cursor.nextset():
            pass
        return cursor.statusmessage or ""

    def copy_in(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """COPY many rows into a table."""
        self.send_deferred()
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)

    def stream(self, sql: str) -> Iterator[Row]:
        """The rows of a query through a cursor of the server: a part of them in memory at a time."""
        self.send_deferred()
        self._connection.execute(f"DECLARE streamed NO SCROLL CURSOR FOR {sql}", prepare=False)
        while rows := self._connection.execute(
            f"FETCH {_STREAMED_ROWS} FROM streamed", prepare=False
        ).fetchall():
            yield from rows
        self._connection.execute("CLOSE streamed", prepare=False)

    def is_usable(self) -> bool:
        """False after the server closed it, without asking the server."""
        if self._connection.closed or self._connection.broken or self.in_transaction:
            return False
        readable = select.poll()
        readable.register(self._connection.fileno(), select.POLLIN)
        if not readable.poll(0):
            return True
        try:
            # Something came unasked: a notice, or the end.
            self._connection.pgconn.consume_input()
        except psycopg.Error:
            return False
        return self._connection.pgconn.status == pq.ConnStatus.OK and not readable.poll(0)

    def close(self) -> None:
        self._connection.close()

    def _execute_later(self, sql: str, parameters: Mapping[str, Any]) -> Cursor:
        if sql.startswith("ROLLBACK"):
            return self._roll_back(sql)
        if self._pipeline is None:
            self._pipeline = self._connection.pipeline()
            self._pipeline.__enter__()
        query, names = self._translate(sql)
        cursor: psycopg.RawCursor[Row] = self._connection.cursor()  # type: ignore[assignment]
        cursor.execute(query, [parameters[name] for name in names])
        return _Deferred(self, cursor)

    def _roll_back(self, sql: str) -> Cursor:
        """What waits is given up; how it went no longer matters."""
        with contextlib.suppress(psycopg.Error):
            self.send_deferred()
        if sql == "ROLLBACK":
            self._defers = False
        return self._connection.execute(sql, prepare=False)

    def _translate(self, sql: str) -> tuple[str, tuple[str, ...]]:
        found = self._translated.get(sql)
        if found is None:
            found = self._translated[sql] = translate(sql)
        return found
