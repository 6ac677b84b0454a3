"""The pool of read-only connections, for either database."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator

from homefire.errors import StoreError
from homefire.store.database import Database
from homefire.store.driver import Connection
from homefire.store.failures import to_reading_error


class ReadConnections:
    """One connection for each reader at work at the same time, from any thread.

    `on_lost` is called when a connection turns out to be gone; until `resume`, every read then fails at once with
    StoreUnreachable instead of each waiting for a server that does not answer.
    """

    def __init__(self, database: Database, *, on_lost: Callable[[], None] = lambda: None) -> None:
        self.database = database
        self._on_lost = on_lost
        self._idle: deque[Connection] = deque()
        self._closed = False
        self._suspended: StoreError | None = None

    @contextlib.contextmanager
    def use(self) -> Iterator[Connection]:
        """Borrow a connection; each statement on it sees all that was committed before."""
        if self._is_closed():
            raise StoreError("The store is closed.")
        if self._suspended is not None:
            raise self._suspended.copy()
        connection = self._take()
        try:
            yield connection
        except self.database.Error as error:
            failure = self.database.failure_of(error)
            if failure == "lost":
                self._on_lost()
            raise to_reading_error(failure, error) from error
        finally:
            if self.database.is_usable(connection):
                self._idle.append(connection)
            else:
                connection.close()
            if self._is_closed():
                self.close()

    def suspend(self, why: StoreError) -> None:
        """Fail every read with this until `resume`."""
        self._suspended = why

    def resume(self) -> None:
        """Read again, on new connections."""
        while self._idle:
            self._idle.pop().close()
        self._suspended = None

    def close(self) -> None:
        """Close all idle connections; those in use are closed when they are released."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _is_closed(self) -> bool:
        return self._closed

    def _take(self) -> Connection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._open()
            if self.database.is_usable(connection):
                return connection
            connection.close()

    def _open(self) -> Connection:
        try:
            return self.database.open_reader()
        except self.database.Error as error:
            failure = self.database.failure_of(error)
            if failure == "lost":
                self._on_lost()
            raise to_reading_error(failure, error) from error
