"""The fencing epoch: a number in the database that every opener raises and every commit compares.

A process that lost its home (suspended for long, lock file deleted) finds a greater number inside its next
transaction and may commit nothing any more.
"""

from __future__ import annotations

from homefire.errors import StoreFenced
from homefire.store.driver import Connection
from homefire.store.sql import Statement, Table

FENCE = Table("fence", {"epoch": "INTEGER NOT NULL"}, key=())
_read = Statement("SELECT epoch FROM fence")
_insert = FENCE.insert()
_raise = Statement("UPDATE fence SET epoch = epoch + 1")


class Fence:
    """This process's claim on the database, from `claim` on."""

    def __init__(self) -> None:
        self.epoch = 0

    def claim(self, connection: Connection) -> int:
        """Raise the epoch in the running transaction; returns it."""
        if not _raise.run(connection):
            _insert.run(connection, {"epoch": 1})
        row = _read.one(connection)
        assert row is not None
        self.epoch = int(row[0])
        return self.epoch

    def check(self, connection: Connection) -> None:
        """Raise StoreFenced, inside the transaction about to commit, when another process took over."""
        row = _read.one(connection)
        if row is None or row[0] != self.epoch:
            raise StoreFenced(
                "Another Homefire took over this home; this one may not record anything any more.",
                hint="Stop this process.",
                epoch=self.epoch,
                current=None if row is None else row[0],
            )
