"""The database's schema: made for a new home, checked at every start, brought up to date when it is old.

Two things are kept apart. The log (`events`, `fence`, `schema_state`) has a revision; a change of it is a step
in `LOG_STEPS`, in one transaction, after a copy of the database was put into `backups/`. The tables that are
folded from the log have a fingerprint; where that is another one they are dropped and folded again, so that a
change of a table needs no migration at all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from homefire.errors import StoreError
from homefire.home import Home
from homefire.store import projections
from homefire.store.connections import large_cache
from homefire.store.driver import Connection
from homefire.store.durable import translated_os_errors
from homefire.store.fence import FENCE
from homefire.store.log import APPEND_ONLY_TRIGGERS, BODIES, EVENTS, EventLog
from homefire.store.sql import Statement, Table
from homefire.world import World

logger = logging.getLogger(__name__)

STATE = Table("schema_state", {"log_revision": "INTEGER NOT NULL", "projections": "TEXT NOT NULL"}, key=())
LOG_REVISION = 2
OLDEST_READABLE = 2
LOG_STEPS: Mapping[int, Callable[[Connection], None]] = {}
"""From a revision of the log to what brings it to the next one."""
_LOG_TABLES = (EVENTS, BODIES, FENCE, STATE)
_read_state = Statement("SELECT log_revision, projections FROM schema_state")
_set_state = Statement("UPDATE schema_state SET log_revision = :log_revision, projections = :projections")
_tables = Statement("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")


def create_schema(connection: Connection) -> None:
    """Make every table, index and trigger in the running transaction."""
    for table in _LOG_TABLES:
        for definition in table.definitions():
            connection.execute(definition)
    for trigger in APPEND_ONLY_TRIGGERS:
        connection.execute(trigger)
    projections.create_tables(connection)
    projections.create_read_indexes(connection)
    STATE.insert().run(connection, {"log_revision": LOG_REVISION, "projections": projections.fingerprint()})


def ensure_schema(connection: Connection, home: Home, world: World, *, log: EventLog) -> None:
    """Bring the database to the present schema, in one transaction: all or nothing, also when it is killed.

    Raises StoreError when a newer Homefire wrote it, or when it is not a database of Homefire.
    """
    names = {name for (name,) in _tables.all(connection)}
    if not names:
        _in_transaction(connection, create_schema)
        return
    state = _read_state.one(connection) if STATE.name in names else None
    if state is None:
        raise StoreError(
            f"{home.database} is a database, but not one of Homefire (or one of an unreleased Homefire).",
            hint="Move it away, or choose another home with HOMEFIRE_HOME.",
            path=str(home.database),
        )
    revision, fingerprint = state
    if revision > LOG_REVISION:
        raise StoreError(
            f"The log in {home.database} has revision {revision}, and this program knows {LOG_REVISION}: "
            "this home was written by a newer Homefire.",
            hint="Upgrade Homefire, or choose another home with HOMEFIRE_HOME.",
            revision=revision,
            newest=LOG_REVISION,
        )
    if revision < OLDEST_READABLE:
        raise StoreError(
            f"The log in {home.database} has revision {revision}, of before Homefire could erase; this program reads "
            f"{OLDEST_READABLE} and later.",
            hint="Choose another home with HOMEFIRE_HOME, or move this one away and begin anew.",
            revision=revision,
            oldest=OLDEST_READABLE,
        )
    if (revision, fingerprint) == (LOG_REVISION, projections.fingerprint()):
        return
    keep_copy(connection, home.backups / f"homefire-{revision}-{world.new_id('before')}.db", world)
    logger.warning("the tables of %s are rebuilt from the log", home.database)

    def update(connection: Connection) -> None:
        for number in range(revision, LOG_REVISION):
            LOG_STEPS[number](connection)
        projections.rebuild(connection, log, progress=log_progress)
        _set_state.run(connection, {"log_revision": LOG_REVISION, "projections": projections.fingerprint()})

    with large_cache(connection):
        _in_transaction(connection, update)


def log_progress(num_folded: int, num_events: int) -> None:
    """A line in the log."""
    logger.warning("rebuilding: %s of %s events", f"{num_folded:,}", f"{num_events:,}")


def keep_copy(connection: Connection, path: Path, world: World) -> None:
    """A flushed copy of the whole database at `path`, to go back to should an update go wrong."""
    with translated_os_errors(path):
        connection.execute("VACUUM INTO ?", (str(path),))
        world.files.fsync_file(path)
        world.files.fsync_directory(path.parent)


def _in_transaction(connection: Connection, work: Callable[[Connection], None]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        work(connection)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
