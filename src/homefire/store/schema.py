"""The database's schema: made for a new home, checked at every start, brought up to date when it is old.

Two things are kept apart. The log (`events`, `fence`, `schema_state`) has a revision; a change of it is a step
in `LOG_STEPS`, in one transaction, after a copy of the database was put into `backups/`. The tables that are
folded from the log have a fingerprint; where that is another one they are dropped and folded again, so that a
change of a table needs no migration at all.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping

from homefire.errors import StoreError
from homefire.home import Home
from homefire.store import projections
from homefire.store.database import Database
from homefire.store.driver import Connection
from homefire.store.fence import FENCE
from homefire.store.log import BODIES, EVENTS, EventLog
from homefire.store.sql import Statement, Table
from homefire.world import World

logger = logging.getLogger(__name__)

STATE = Table("schema_state", {"log_revision": "INTEGER NOT NULL", "projections": "TEXT NOT NULL"}, key=())
LOG_REVISION = 2
OLDEST_READABLE = 2
LOG_STEPS: Mapping[int, Callable[[Connection], None]] = {}
"""From a revision of the log to what brings it to the next one."""
LOG_CONTENT = (EVENTS, BODIES)
"""The tables of the log itself: what a copy takes along."""
_LOG_TABLES = (*LOG_CONTENT, FENCE, STATE)
_read_state = Statement("SELECT log_revision, projections FROM schema_state")
_set_state = Statement("UPDATE schema_state SET log_revision = :log_revision, projections = :projections")


def create_schema(connection: Connection, database: Database) -> None:
    """Make every table, index and trigger in the running transaction."""
    for table in _LOG_TABLES:
        for definition in database.definitions(table):
            connection.execute(definition)
    for definition in database.log_definitions():
        connection.execute(definition)
    projections.create_tables(connection, database)
    projections.create_read_indexes(connection)
    STATE.insert().run(connection, {"log_revision": LOG_REVISION, "projections": projections.fingerprint()})


def ensure_schema(
    connection: Connection, home: Home, world: World, *, log: EventLog, database: Database
) -> None:
    """Bring the database to the present schema, in one transaction: all or nothing, also when it is killed.

    Raises StoreError when a newer Homefire wrote it, or when it is not a database of Homefire.
    """
    names = database.table_names(connection)
    if not names:
        with transaction(connection, database, is_new=True):
            create_schema(connection, database)
        return
    revision, fingerprint = _state(connection, database, names)
    if (revision, fingerprint) == (LOG_REVISION, projections.fingerprint()):
        return
    logger.warning("the tables of %s are rebuilt from the log", database.where)
    database.keep_copy(connection, home, world, revision=revision, is_log_changed=revision < LOG_REVISION)
    with database.bulk(connection), transaction(connection, database):
        for number in range(revision, LOG_REVISION):
            LOG_STEPS[number](connection)
        projections.rebuild(connection, log, database=database, home=home, progress=log_progress)
        _set_state.run(connection, {"log_revision": LOG_REVISION, "projections": projections.fingerprint()})


def check_revision(connection: Connection, database: Database) -> None:
    """Raise StoreError unless the log is of the present revision."""
    revision, _ = _state(connection, database, database.table_names(connection))
    if revision < LOG_REVISION:
        raise StoreError(
            f"The log in {database.where} has revision {revision}, and this program writes {LOG_REVISION}.",
            hint="Start Homefire on it once: that brings it up to date.",
            revision=revision,
        )


def _state(connection: Connection, database: Database, names: set[str]) -> tuple[int, str]:
    """`(revision of the log, fingerprint of the tables)`."""
    state = _read_state.one(connection) if STATE.name in names else None
    if state is None:
        raise StoreError(
            f"{database.where} is a database, but not one of Homefire (or one of an unreleased Homefire).",
            hint="Move it away, or choose another home with HOMEFIRE_HOME.",
            path=database.where,
        )
    revision, fingerprint = state
    if revision > LOG_REVISION:
        raise StoreError(
            f"The log in {database.where} has revision {revision}, and this program knows {LOG_REVISION}: "
            "this home was written by a newer Homefire.",
            hint="Upgrade Homefire, or choose another home with HOMEFIRE_HOME.",
            revision=revision,
            newest=LOG_REVISION,
        )
    if revision < OLDEST_READABLE:
        raise StoreError(
            f"The log in {database.where} has revision {revision}, of before Homefire could erase; this program reads "
            f"{OLDEST_READABLE} and later.",
            hint="Choose another home with HOMEFIRE_HOME, or move this one away and start over.",
            revision=revision,
            oldest=OLDEST_READABLE,
        )
    return revision, fingerprint


def log_progress(num_folded: int, num_events: int) -> None:
    """A line in the log."""
    logger.warning("rebuilding: %s of %s events", f"{num_folded:,}", f"{num_events:,}")


@contextlib.contextmanager
def transaction(connection: Connection, database: Database, *, is_new: bool = False) -> Iterator[None]:
    """All or nothing, with other writers kept out. `is_new`: there is no table yet."""
    database.begin(connection, is_new=is_new)
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    database.commit(connection)
