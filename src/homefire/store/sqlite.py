"""SQLite, the database of a home by default: one file, a write-ahead log, a flush at every commit.

`synchronous=FULL`; automatic checkpoints are off: the writer thread checkpoints between batches, so that no request
waits for one and its failure is seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from homefire.errors import CorruptData, StoreError
from homefire.home import Home
from homefire.store.database import Database
from homefire.store.driver import Connection, driver
from homefire.store.durable import translated_os_errors
from homefire.store.failures import Failure, to_homefire_error
from homefire.store.sql import Row, Statement
from homefire.world import World

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
LARGEST_CHECKED_AT_OPEN_BYTES = 32 << 20
"""A bigger database is checked by `check` only: a start must stay fast (32 MiB take about 0.1 s)."""
LARGE_CACHE_KIB = 64 << 10
_FULL_SYNCHRONOUS = 2
_tables = Statement("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")

# Primary result codes: https://www.sqlite.org/rescode.html
_NOT_FROM_SQLITE, _ERROR = 0, 1
_FAILURES: dict[int, Failure] = {
    _NOT_FROM_SQLITE: "refused",
    _ERROR: "refused",
    3: "read_only",  # PERM
    5: "busy",  # BUSY
    6: "busy",  # LOCKED
    7: "no_memory",  # NOMEM
    8: "read_only",  # READONLY
    11: "corrupt",  # CORRUPT
    13: "full",  # FULL
    14: "read_only",  # CANTOPEN
    18: "too_big",  # TOOBIG
    19: "conflict",  # CONSTRAINT
    20: "refused",  # MISMATCH
    21: "refused",  # MISUSE
    25: "refused",  # RANGE
    26: "corrupt",  # NOTADB
}


class SQLite(Database):
    """The file `path`. A second opener is kept out by the home's lock (`lock.py`)."""

    name = "SQLite"
    Error = driver.Error
    has_checkpoints = True

    def __init__(self, path: Path, *, busy_timeout_ms: int) -> None:
        self.where = str(path)
        self._path = path
        self._busy_timeout_ms = busy_timeout_ms

    def exists(self) -> bool:
        return self._path.exists()

    def open_writer(self) -> Connection:
        """Makes the file if missing. Raises StoreReadOnly, StoreError, or CorruptData for what is not a database."""
        try:
            connection = driver.connect(self._path, isolation_level=None, check_same_thread=False)
            try:
                connection.execute(f"PRAGMA busy_timeout={self._busy_timeout_ms}")
                for name, value in WRITER_PRAGMAS:
                    connection.execute(f"PRAGMA {name}={value}")
                check_durability(connection)
            except BaseException:
                connection.close()
                raise
        except driver.DatabaseError as error:
            failure = self.failure_of(error)
            if failure == "corrupt":
                raise CorruptData(
                    f"{self._path} is damaged: {error}.",
                    hint="Restore it from a backup; the folder beside it is left as it is.",
                    path=str(self._path),
                ) from error
            raise to_homefire_error(failure, error) from error
        return connection

    def open_reader(self) -> Connection:
        connection = driver.connect(
            f"{self._path.as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        connection.execute(f"PRAGMA busy_timeout={self._busy_timeout_ms}")
        connection.execute("PRAGMA query_only=ON")
        return connection

    def is_usable(self, connection: Connection) -> bool:
        return True

    def failure_of(self, error: Exception) -> Failure:
        return _FAILURES.get(int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF, "fatal")

    def begin(self, connection: Connection, *, is_new: bool = False) -> None:
        connection.execute("BEGIN IMMEDIATE")

    def settle(self, connection: Connection) -> None:
        """Every statement was done when it returned."""

    def commit(self, connection: Connection) -> None:
        connection.execute("COMMIT")

    @contextlib.contextmanager
    def bulk(self, connection: Connection) -> Iterator[None]:
        """A large cache: pages that fit need not be written twice."""
        (before,) = connection.execute("PRAGMA cache_size").fetchone()
        connection.execute(f"PRAGMA cache_size=-{LARGE_CACHE_KIB}")
        try:
            yield
        finally:
            connection.execute(f"PRAGMA cache_size={before}")
            connection.execute("PRAGMA shrink_memory")

    def begin_snapshot(self, connection: Connection) -> None:
        connection.execute("BEGIN")

    def stream(self, connection: Connection, query: str) -> Iterable[Row]:
        return connection.execute(query)

    def log_definitions(self) -> Sequence[str]:
        return (
            "CREATE TRIGGER events_are_never_edited BEFORE UPDATE ON events "
            "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END",
            "CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events "
            "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END",
            "CREATE TRIGGER bodies_are_only_erased BEFORE UPDATE ON bodies "
            "WHEN length(NEW.content) > 0 OR NEW.seal IS NULL OR NEW.body <> OLD.body "
            "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END",
            "CREATE TRIGGER bodies_are_never_deleted BEFORE DELETE ON bodies "
            "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END",
        )

    def table_names(self, connection: Connection) -> set[str]:
        return {name for (name,) in _tables.all(connection)}

    def keep_copy(
        self, connection: Connection, home: Home, world: World, *, revision: int, is_log_changed: bool
    ) -> None:
        """The whole database as a flushed file in `backups/`."""
        path = home.backups / f"homefire-{revision}-{world.new_id('before')}.db"
        with translated_os_errors(path):
            connection.execute("VACUUM INTO :path", {"path": str(path)})
            world.files.fsync_file(path)
            world.files.fsync_directory(path.parent)

    def check_quickly(self, connection: Connection) -> None:
        if self._path.stat().st_size > LARGEST_CHECKED_AT_OPEN_BYTES:
            return
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise CorruptData(
                f"The database {self._path} is damaged: {verdict}.",
                hint="Restore it from a backup.",
                path=str(self._path),
            )

    def integrity_problems(self, connection: Connection, *, limit: int) -> list[str]:
        try:
            found = connection.execute(f"PRAGMA integrity_check({limit})").fetchall()
        except driver.DatabaseError as error:
            return [f"SQLite cannot read the database: {error}."]
        return [f"SQLite finds the database damaged: {text}." for (text,) in found if text != "ok"]


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
