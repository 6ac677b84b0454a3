"""The database's schema and its revision: made for a new home, checked at every start, migrated when old.

A new database is made from `tables.py` directly and stamped with the newest revision; a test holds that the
migrations lead to the same schema. Alembic is imported only when there is something to migrate (it costs
12 MB and 0.1 s). Projections are disposable: a later migration may drop
them all and rebuild them from the log.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.schema import CreateIndex, CreateTable

from homefire.errors import StoreError
from homefire.store.driver import Connection
from homefire.store.tables import APPEND_ONLY_TRIGGERS, metadata

NEWEST_REVISION = "0001"
_VERSION_TABLE = (
    "CREATE TABLE alembic_version "
    "(version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def current_revision(connection: Connection) -> str | None:
    """The revision the database is at; None when it is empty."""
    known = connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'alembic_version'"
    ).fetchone()
    if known is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def is_empty(connection: Connection) -> bool:
    """Whether the database holds no table at all."""
    return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None


def create_schema(connection: Connection) -> None:
    """Make every table, index and trigger in the running transaction and stamp the newest revision."""
    dialect = SQLiteDialect()
    for table in metadata.sorted_tables:
        connection.execute(str(CreateTable(table).compile(dialect=dialect)))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            connection.execute(str(CreateIndex(index).compile(dialect=dialect)))
    for trigger in APPEND_ONLY_TRIGGERS:
        connection.execute(trigger)
    connection.execute(_VERSION_TABLE)
    connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (NEWEST_REVISION,))


def ensure_schema(connection: Connection, database: Path) -> None:
    """Bring the database to the newest revision. Raises StoreError when a newer Homefire wrote it."""
    if is_empty(connection):
        connection.execute("BEGIN IMMEDIATE")
        try:
            create_schema(connection)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return
    revision = current_revision(connection)
    if revision != NEWEST_REVISION:
        raise StoreError(
            f"The database {database} is at revision {revision}, which this program does not know: "
            "this home was written by a newer Homefire.",
            hint="Upgrade Homefire, or choose another home with HOMEFIRE_HOME.",
            revision=revision,
            newest=NEWEST_REVISION,
        )
