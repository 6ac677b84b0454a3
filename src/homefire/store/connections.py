"""Connections to the database: the one that writes, and a pool of read-only ones.

Write-ahead log, a flush at every commit (`synchronous=FULL`). Automatic checkpoints are off:
the writer thread checkpoints between batches, so that no request waits for one and its failure is seen.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from homefire.errors import CorruptData, StoreError
from homefire.store.driver import Connection, driver
from homefire.store.failures import is_corruption, to_homefire_error, to_reading_error

WRITER_PRAGMAS: tuple[tuple[str, str], ...] = (
    ("journal_mode", "WAL"),
    ("synchronous", "FULL"),
    ("fullfsync", "ON"),
    ("checkpoint_fullfsync", "ON"),
    ("wal_autocheckpoint", "0"),
    # What is erased is overwritten with zeros in the page that held it.
    ("secure_delete", "ON"),
    ("journal_size_limit", str(64 << 20)),
)
_FULL_SYNCHRONOUS = 2
LARGE_CACHE_KIB = 64 << 10


def open_writer(database: Path, *, busy_timeout_ms: int) -> Connection:
    """The writing connection, in autocommit mode: transactions are spelled out. Makes the file if missing.

    Raises StoreReadOnly, StoreError, or CorruptData when the file is not a database.
    """
    try:
        connection = driver.connect(database, isolation_level=None, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA busy_timeout={busy_timeout_ms}")
            for name, value in WRITER_PRAGMAS:
                connection.execute(f"PRAGMA {name}={value}")
            check_durability(connection)
        except BaseException:
            connection.close()
            raise
    except driver.DatabaseError as error:
        if is_corruption(error):
            raise CorruptData(
                f"{database} is damaged: {error}.",
                hint="Restore it from a backup; the folder beside it is left as it is.",
                path=str(database),
            ) from error
        raise to_homefire_error(error) from error
    return connection


@contextlib.contextmanager
def large_cache(connection: Connection) -> Iterator[None]:
    """Memory for a transaction that writes much: pages that fit need not be written twice."""
    (before,) = connection.execute("PRAGMA cache_size").fetchone()
    connection.execute(f"PRAGMA cache_size=-{LARGE_CACHE_KIB}")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA cache_size={before}")
        connection.execute("PRAGMA shrink_memory")


def check_durability(connection: Connection) -> None:
    """Raise StoreError unless a commit on this connection is flushed before it returns."""
    (journal_mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    if journal_mode != "wal" or synchronous != _FULL_SYNCHRONOUS:
        raise StoreError(
            f"SQLite did not accept the settings that durability rests on (journal_mode={journal_mode}, "
            f"synchronous={synchronous}).",
            hint="Keep the home directory on a local file system.",
        )


class ReadConnections:
    """A pool of read-only connections: one for each reader at work at the same time, from any thread."""

    def __init__(self, database: Path, *, busy_timeout_ms: int) -> None:
        self._uri = f"{database.as_uri()}?mode=ro"
        self._busy_timeout_ms = busy_timeout_ms
        self._idle: deque[Connection] = deque()
        self._closed = False

    @contextlib.contextmanager
    def use(self) -> Iterator[Connection]:
        """Borrow a connection; each statement on it sees all that was committed before."""
        if self._is_closed():
            raise StoreError("The store is closed.")
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._open()
        try:
            yield connection
        except driver.Error as error:
            raise to_reading_error(error) from error
        finally:
            self._idle.append(connection)
            if self._is_closed():
                self.close()

    def close(self) -> None:
        """Close all idle connections; those in use are closed when they are released."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _is_closed(self) -> bool:
        return self._closed

    def _open(self) -> Connection:
        try:
            connection = driver.connect(
                self._uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            connection.execute(f"PRAGMA busy_timeout={self._busy_timeout_ms}")
            connection.execute("PRAGMA query_only=ON")
        except driver.Error as error:
            raise to_reading_error(error) from error
        return connection
