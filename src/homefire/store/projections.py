"""How each event changes the tables: the fold that live appends, rebuilds and checks share.

The tables are disposable: `fingerprint` names their shape, and a database whose tables have another one gets
them rebuilt from the log.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from homefire.home import Home
from homefire.store.database import Database
from homefire.store.driver import Connection, driver
from homefire.store.durable import translated_os_errors
from homefire.store.events import NOUNS, Event
from homefire.store.log import EventLog
from homefire.store.noun import Entry, EventBase, Fold
from homefire.store.sql import BulkConnection, Table

TABLES: tuple[Table, ...] = tuple(table for noun in NOUNS for table in noun.tables)
FOLDS: dict[type[EventBase], Fold] = {event: fold for noun in NOUNS for event, fold in noun.folds.items()}
LOG_TABLES = frozenset({"events", "bodies", "fence", "schema_state"})
"""What no rebuild touches."""
FOLD_VERSION = 2
"""Raised when a fold makes other rows of the same events."""

Progress = Callable[[int, int], None]
"""`(events folded, events in the log)`"""
PROGRESS_EVENTS = 50_000
FLUSHED_EVENTS = 500
"""Changes of the tables that wait in memory come from so many events at most."""


def silent(num_folded: int, num_events: int) -> None:
    """Say nothing."""


def apply(connection: Connection, event: Event, entry: Entry) -> None:
    """Fold one event, without its bodies, into the tables. Raises NotFound, Conflict or Forbidden when it cannot be."""
    FOLDS[type(event)](connection, event, entry)


def create_tables(connection: Connection, database: Database | None = None) -> None:
    """Make every table, with the indexes that folds need; in a SQLite file where no database is named."""
    for table in TABLES:
        for definition in database.fold_definitions(table) if database else table.fold_definitions():
            connection.execute(definition)


def create_read_indexes(connection: Connection) -> None:
    """Make the other indexes."""
    for table in TABLES:
        for definition in table.read_definitions():
            connection.execute(definition)


def rebuild(
    connection: Connection, log: EventLog, *, database: Database, home: Home, progress: Progress = silent
) -> None:
    """Rebuild all tables from the log, which is verified on the way, inside the running transaction.

    Linear in the log, about 50 µs of CPU a turn. Readers see the old tables until the commit, and after a kill.
    Where a statement is a round trip, the log is folded in a file of the home's cache, and the tables are sent whole.
    Raises CorruptData when the log is damaged.
    """
    for name in sorted(database.table_names(connection) - LOG_TABLES):
        connection.execute(f'DROP TABLE "{name}"')
    if database.folds_in_place:
        fold_all(connection, log, source=connection, progress=progress)
        return
    with folded_aside(home, log, source=connection, progress=progress) as fresh:
        create_tables(connection, database)
        for table in TABLES:
            rows = fresh.execute(f"SELECT {', '.join(table.columns)} FROM {table.name}")
            database.load(connection, table, rows)
        create_read_indexes(connection)


@contextlib.contextmanager
def folded_aside(
    home: Home, log: EventLog, *, source: Connection, progress: Progress = silent
) -> Iterator[Connection]:
    """The tables as the log that `source` holds makes them, in a SQLite file that is gone afterwards."""
    with translated_os_errors(home.cache), tempfile.TemporaryDirectory(dir=home.cache) as folder:
        fresh = driver.connect(Path(folder) / "fresh.db", isolation_level=None)
        try:
            fresh.execute("PRAGMA journal_mode=OFF")
            fresh.execute("PRAGMA synchronous=OFF")
            fresh.execute("BEGIN")
            fold_all(fresh, log, source=source, progress=progress)
            yield fresh
        finally:
            fresh.close()


def fold_all(
    connection: Connection, log: EventLog, *, source: Connection, progress: Progress = silent
) -> None:
    """Make the tables in `connection` and fold the log that `source` holds into them, verifying it."""
    create_tables(connection)
    num_events = log.tail(source).seq
    bulk = BulkConnection(connection)
    for event, entry in log.replay(source):
        apply(bulk, event, entry)
        if entry.seq % FLUSHED_EVENTS == 0:
            bulk.flush()
        if entry.seq % PROGRESS_EVENTS == 0:
            progress(entry.seq, num_events)
    bulk.flush()
    create_read_indexes(connection)


def fingerprint() -> str:
    """SHA-256 (hex) of the definitions of all tables and of the version of their folds."""
    definitions = [definition for table in TABLES for definition in table.definitions()]
    return hashlib.sha256("\n".join([str(FOLD_VERSION), *definitions]).encode()).hexdigest()
