"""Everything recorded, copied into another, empty database: how a home moves between SQLite and PostgreSQL.

The log is copied row by row as it is, with its hashes; the tables are folded from it again. Promise: the copy is whole
and its hash chain verified before it is committed, in one transaction; what it was copied from is only read.
Costs some seconds for a hundred thousand events.
"""

from __future__ import annotations

import contextlib

from homefire.errors import Conflict, NotFound, PromiseBroken
from homefire.home import Home
from homefire.store import projections
from homefire.store.database import Database
from homefire.store.driver import Connection
from homefire.store.failures import to_homefire_error
from homefire.store.lock import HomeLock
from homefire.store.log import EventLog, LogTail
from homefire.store.schema import LOG_CONTENT, check_revision, ensure_schema, transaction
from homefire.world import World


def copy_store(home: Home, source: Database, target: Database, world: World) -> int:
    """Copy; returns the number of events. Both databases are locked meanwhile, and so is the home.

    Raises HomeInUse, NotFound where there is nothing to copy, Conflict where the target holds events already,
    CorruptData for a damaged source, and what opening a database raises.
    """
    if source.where == target.where:
        raise Conflict(f"{target.where} is what this home uses already.", database=target.where)
    if not source.exists():
        raise NotFound(f"There is nothing to copy: {source.where} is empty.", database=source.where)
    with contextlib.ExitStack() as opened:
        lock = HomeLock(home)
        opened.callback(lock.release)
        reading = source.open_writer()
        opened.callback(reading.close)
        check_revision(reading, source)
        writing = target.open_writer()
        opened.callback(writing.close)
        try:
            return _copy(home, world, source=source, reading=reading, target=target, writing=writing)
        except source.Error as error:
            raise to_homefire_error(source.failure_of(error), error) from error
        except target.Error as error:
            raise to_homefire_error(target.failure_of(error), error) from error


def _copy(
    home: Home, world: World, *, source: Database, reading: Connection, target: Database, writing: Connection
) -> int:
    log = EventLog(world.random_bytes)
    ensure_schema(writing, home, world, log=log, database=target)
    if (there := log.tail(writing).seq) > 0:
        raise Conflict(
            f"{target.where} holds {there} events already.",
            hint="Copy into an empty database; move the other one away first.",
            database=target.where,
        )
    source.begin_snapshot(reading)
    try:
        last = log.verify(reading)
        with target.bulk(writing), transaction(writing, target):
            for table in LOG_CONTENT:
                names = ", ".join(table.columns)
                rows = source.stream(
                    reading, f"SELECT {names} FROM {table.name} ORDER BY {', '.join(table.key)}"
                )
                target.load(writing, table, rows)
            _compare(log.verify(writing), last, target)
            projections.rebuild(writing, log, database=target, home=home)
    finally:
        if reading.in_transaction:
            reading.execute("ROLLBACK")
    return last.seq


def _compare(copied: LogTail, last: LogTail, target: Database) -> None:
    if copied != last:
        raise PromiseBroken(
            f"The copy in {target.where} ended with event {copied.seq} of {last.seq}; nothing of it was kept.",
            hint="The database it was copied from is as it was. Try again, and report it.",
        )
