"""After a lost connection: what became of the last commit, and may this process go on?

Read, never guessed. The writer's lock on the server is given to a new connection only when the old one's transaction
has ended, so the row that the commit would have made is there for good or will never be.
"""

from __future__ import annotations

from dataclasses import dataclass

from homefire.errors import HomeInUse, StoreFenced
from homefire.store.database import Database
from homefire.store.driver import Connection
from homefire.store.fence import Fence
from homefire.store.log import EventLog, LogTail

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Standing:
    """`connection` is the new writing one, None where another process took over (`fenced`)."""

    connection: Connection | None
    is_recorded: bool
    """Whether the event that was asked about is in the log."""
    fenced: StoreFenced | None = None


def find_out(database: Database, *, fence: Fence, log: EventLog, last: LogTail) -> Standing:
    """Connect again and look for `last`, the newest event of the commit in question.

    Raises StoreUnreachable, another StoreError or the database's own error while that cannot be done yet.
    """
    try:
        connection = database.open_writer()
    except HomeInUse:
        return _superseded(database, fence=fence, log=log, last=last)
    try:
        is_recorded = _has(connection, log, last)
        fence.check(connection)
    except StoreFenced as fenced:
        connection.close()
        return Standing(None, is_recorded, fenced)
    except BaseException:
        connection.close()
        raise
    return Standing(connection, is_recorded)


def _has(connection: Connection, log: EventLog, last: LogTail) -> bool:
    return last.seq == 0 or log.hash_of(connection, last.seq) == last.hash


def _superseded(database: Database, *, fence: Fence, log: EventLog, last: LogTail) -> Standing:
    """Another process has the lock: once it has raised the epoch, this one is over."""
    connection = database.open_reader()
    try:
        is_recorded = _has(connection, log, last)
        try:
            fence.check(connection)
        except StoreFenced as fenced:
            return Standing(None, is_recorded, fenced)
        raise HomeInUse("Another Homefire holds the database.", hint="Stop that one.")
    finally:
        connection.close()
