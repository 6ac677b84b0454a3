"""How each event changes the tables: the fold that live appends, rebuilds and checks share.

The tables are disposable: `fingerprint` names their shape, and a database whose tables have another one gets
them rebuilt from the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from homefire.store.driver import Connection
from homefire.store.events import NOUNS, Event
from homefire.store.log import EventLog
from homefire.store.noun import Entry, EventBase, Fold
from homefire.store.sql import Statement, Table

TABLES: tuple[Table, ...] = tuple(table for noun in NOUNS for table in noun.tables)
FOLDS: dict[type[EventBase], Fold] = {event: fold for noun in NOUNS for event, fold in noun.folds.items()}
LOG_TABLES = frozenset({"events", "bodies", "fence", "schema_state"})
"""What no rebuild touches."""
FOLD_VERSION = 2
"""Raised when a fold makes other rows of the same events."""

Progress = Callable[[int, int], None]
"""`(events folded, events in the log)`"""
PROGRESS_EVENTS = 50_000
_folded = Statement(
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
    f"AND name NOT IN ({', '.join(repr(name) for name in sorted(LOG_TABLES))})"
)


def silent(num_folded: int, num_events: int) -> None:
    """Say nothing."""


def apply(connection: Connection, event: Event, entry: Entry) -> None:
    """Fold one event, without its bodies, into the tables. Raises NotFound, Conflict or Forbidden when it cannot be."""
    FOLDS[type(event)](connection, event, entry)


def create_tables(connection: Connection) -> None:
    """Make every table, with the indexes that folds need."""
    for table in TABLES:
        for definition in table.fold_definitions():
            connection.execute(definition)


def create_read_indexes(connection: Connection) -> None:
    """Make the other indexes."""
    for table in TABLES:
        for definition in table.read_definitions():
            connection.execute(definition)


def rebuild(connection: Connection, log: EventLog, *, progress: Progress = silent) -> None:
    """Make all tables anew from the log, which is verified on the way, inside the running transaction.

    Linear in the log, about 50 µs of CPU a turn. Readers see the old tables until the commit, and after a kill.
    Raises CorruptData when the log is damaged.
    """
    for (name,) in _folded.all(connection):
        connection.execute(f'DROP TABLE "{name}"')
    fold_all(connection, log, source=connection, progress=progress)


def fold_all(
    connection: Connection, log: EventLog, *, source: Connection, progress: Progress = silent
) -> None:
    """Make the tables in `connection` and fold the log that `source` holds into them, verifying it."""
    create_tables(connection)
    num_events = log.tail(source).seq
    for event, entry in log.replay(source):
        apply(connection, event, entry)
        if entry.seq % PROGRESS_EVENTS == 0:
            progress(entry.seq, num_events)
    create_read_indexes(connection)


def fingerprint() -> str:
    """SHA-256 (hex) of the definitions of all tables and of the version of their folds."""
    definitions = [definition for table in TABLES for definition in table.definitions()]
    return hashlib.sha256("\n".join([str(FOLD_VERSION), *definitions]).encode()).hexdigest()
