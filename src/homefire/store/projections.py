"""How each event changes the tables: the fold that live appends, rebuilds and checks share.

The tables are disposable: `fingerprint` names their shape, and a database whose tables have another one gets
them rebuilt from the log.
"""

from __future__ import annotations

import hashlib

from homefire.store.driver import Connection
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


def create_tables(connection: Connection) -> None:
    """Make every table and index."""
    for table in TABLES:
        for definition in table.definitions():
            connection.execute(definition)


def rebuild(connection: Connection, log: EventLog) -> None:
    """Fold the whole log into emptied tables, inside the running transaction. Linear in the log."""
    for table in TABLES:
        table.clear().run(connection)
    fold_all(connection, log, source=connection)


def fold_all(connection: Connection, log: EventLog, *, source: Connection) -> None:
    """Fold the log that `source` holds into the empty tables of `connection`."""
    for recorded in log.replay(source):
        apply(connection, recorded)


def fingerprint() -> str:
    """SHA-256 (hex) of the definitions of all tables and of the version of their folds."""
    definitions = [definition for table in TABLES for definition in table.definitions()]
    return hashlib.sha256("\n".join([str(FOLD_VERSION), *definitions]).encode()).hexdigest()
