"""How each event changes the tables: the fold that live appends, rebuilds and checks share.

The tables are disposable: `fingerprint` names their shape, and a database whose tables have another one gets
them rebuilt from the log.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from homefire.home import Home
from homefire.store.database import Database
from homefire.store.driver import Connection, driver
from homefire.store.durable import translated_os_errors
from homefire.store.events import NOUNS
from homefire.store.log import EventLog, Recorded
from homefire.store.noun import EventBase, Fold
from homefire.store.sql import Table

TABLES: tuple[Table, ...] = tuple(table for noun in NOUNS for table in noun.tables)
FOLDS: dict[type[EventBase], Fold] = {event: fold for noun in NOUNS for event, fold in noun.folds.items()}
FOLD_VERSION = 1
"""Raised when a fold makes other rows of the same events."""


def apply(connection: Connection, recorded: Recorded) -> None:
    """Fold one event into the tables. Raises NotFound, Conflict or Forbidden when it cannot be."""
    event = recorded.event
    FOLDS[type(event)](connection, event, recorded.seq, recorded.at_s)


def create_tables(connection: Connection, database: Database) -> None:
    """Make every table and index."""
    for table in TABLES:
        for definition in database.definitions(table):
            connection.execute(definition)


def rebuild(connection: Connection, log: EventLog, *, database: Database, home: Home) -> None:
    """Fold the whole log into emptied tables, inside the running transaction. Linear in the log."""
    for table in TABLES:
        table.clear().run(connection)
    fill(connection, log, database=database, home=home)


def fill(connection: Connection, log: EventLog, *, database: Database, home: Home) -> None:
    """Fold the log into the empty tables beside it.

    Where a statement is a round trip, the log is folded in a file of the home's cache, and the tables are sent whole.
    """
    if database.folds_in_place:
        fold_all(connection, log, source=connection)
        return
    with folded_aside(home, log, source=connection) as fresh:
        for table in TABLES:
            rows = fresh.execute(f"SELECT {', '.join(table.columns)} FROM {table.name}")
            database.load(connection, table, rows)


@contextlib.contextmanager
def folded_aside(home: Home, log: EventLog, *, source: Connection) -> Iterator[Connection]:
    """The tables as the log that `source` holds makes them, in a SQLite file that is gone afterwards."""
    with translated_os_errors(home.cache), tempfile.TemporaryDirectory(dir=home.cache) as folder:
        fresh = driver.connect(Path(folder) / "fresh.db", isolation_level=None)
        try:
            fresh.execute("PRAGMA journal_mode=OFF")
            fresh.execute("PRAGMA synchronous=OFF")
            fresh.execute("BEGIN")
            for table in TABLES:
                for definition in table.definitions():
                    fresh.execute(definition)
            fold_all(fresh, log, source=source)
            yield fresh
        finally:
            fresh.close()


def fold_all(connection: Connection, log: EventLog, *, source: Connection) -> None:
    """Fold the log that `source` holds into the empty tables of `connection`."""
    for recorded in log.replay(source):
        apply(connection, recorded)


def fingerprint() -> str:
    """SHA-256 (hex) of the definitions of all tables and of the version of their folds."""
    definitions = [definition for table in TABLES for definition in table.definitions()]
    return hashlib.sha256("\n".join([str(FOLD_VERSION), *definitions]).encode()).hexdigest()
