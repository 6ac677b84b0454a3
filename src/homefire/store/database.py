"""What the store needs of a database, whichever it is: SQLite in the home, or a PostgreSQL server by its URL.

Everything else in `store/` is written once, in SQL that both understand. A `Database` opens connections, begins and
ends the transactions of the one writer, says what an error means, and has the few statements that differ: column
types, the triggers that keep the log append-only, its own integrity check.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from homefire.config.schema import StoreSettings
from homefire.config.secrets import load_database_password
from homefire.errors import ConfigError
from homefire.home import Home
from homefire.store.driver import Connection
from homefire.store.failures import Failure
from homefire.store.sql import Row, Table
from homefire.world import World

LOADED_ROWS = 1000
"""Rows in memory at a time."""


class Database(ABC):
    """One database: made by `choose_database`, touched from `open_writer` on."""

    name: str
    """What it is called: `SQLite` or `PostgreSQL`."""
    where: str
    """Which one it is, for people; never with a password."""
    Error: type[Exception]
    """What its connections raise."""
    has_checkpoints = False
    """Whether the writer moves a write-ahead log into the database between batches (a server does so itself)."""
    folds_in_place = True
    """Whether a whole log is folded on it directly: a statement costs microseconds, not a round trip."""
    is_remote = False
    """Whether its files are someone else's to watch: its disk is not the home's."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether it holds anything yet. Raises StoreUnreachable."""

    @abstractmethod
    def open_writer(self) -> Connection:
        """The writing connection; makes the database if it can. Raises StoreError, HomeInUse or CorruptData."""

    @abstractmethod
    def open_reader(self) -> Connection:
        """A connection that cannot write; each statement sees all that was committed before."""

    @abstractmethod
    def is_usable(self, connection: Connection) -> bool:
        """Whether an idle connection is still one. Costs no round trip."""

    @abstractmethod
    def failure_of(self, error: Exception) -> Failure:
        """What an error of a connection means."""

    @abstractmethod
    def begin(self, connection: Connection, *, is_new: bool = False) -> None:
        """Begin a transaction that keeps every other writer out until it ends. `is_new`: there is no table yet."""

    @abstractmethod
    def settle(self, connection: Connection) -> None:
        """See that every statement so far was done. Raises the error of the first that was not."""

    @abstractmethod
    def commit(self, connection: Connection) -> None:
        """Commit, flushed."""

    def bulk(self, connection: Connection) -> AbstractContextManager[None]:
        """Around a transaction that writes much."""
        return nullcontext()

    @abstractmethod
    def begin_snapshot(self, connection: Connection) -> None:
        """Begin a reading transaction: all its statements see the same state."""

    @abstractmethod
    def stream(self, connection: Connection, query: str) -> Iterable[Row]:
        """The rows of a query, a part of them in memory at a time."""

    def definitions(self, table: Table) -> Sequence[str]:
        """The statements that make a table and its indexes."""
        return table.definitions()

    def fold_definitions(self, table: Table) -> Sequence[str]:
        """Those of the table and of the indexes that folds need."""
        return table.fold_definitions()

    @abstractmethod
    def log_definitions(self) -> Sequence[str]:
        """What keeps the log append-only."""

    @abstractmethod
    def table_names(self, connection: Connection) -> set[str]:
        """The tables that are there."""

    @abstractmethod
    def keep_copy(
        self, connection: Connection, home: Home, world: World, *, revision: int, is_log_changed: bool
    ) -> None:
        """A copy to go back to should the update of the schema that follows go wrong; outside of transactions."""

    def load(self, connection: Connection, table: Table, rows: Iterable[Row]) -> None:
        """Put many rows into an empty table: every column, in the table's order."""
        names, insert, left = tuple(table.columns), table.insert(), iter(rows)
        while part := [dict(zip(names, row, strict=True)) for row in itertools.islice(left, LOADED_ROWS)]:
            insert.run_many(connection, part)

    @abstractmethod
    def check_quickly(self, connection: Connection) -> None:
        """What a start can afford. Raises CorruptData."""

    @abstractmethod
    def integrity_problems(self, connection: Connection, *, limit: int) -> list[str]:
        """What the database itself finds wrong with its files, as sentences."""


def choose_database(home: Home, settings: StoreSettings) -> Database:
    """The one that the settings name: SQLite in the home, or the server at `store.url`.

    Nothing is opened yet. Raises ConfigError for a URL that cannot be one, or without the package `psycopg`.
    """
    if settings.url is None:
        from homefire.store.sqlite import SQLite

        return SQLite(home.database, busy_timeout_ms=settings.busy_timeout_ms)
    try:
        from homefire.store.postgresql import PostgreSQL
    except ImportError as error:
        raise ConfigError(
            "store.url names a PostgreSQL server, and the package psycopg is not installed.",
            hint="Run `make`, or pip install 'homefire[postgres]'.",
            key="store.url",
        ) from error
    return PostgreSQL(
        settings.url,
        password=load_database_password(home),
        busy_timeout_ms=settings.busy_timeout_ms,
        read_timeout_ms=settings.read_timeout_ms,
    )
