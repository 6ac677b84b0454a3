"""What becomes of a read that fails, and of the connection it failed on."""

from __future__ import annotations

from typing import Any

import pytest

from homefire.errors import CorruptData, HomefireError, StoreError, StoreUnreachable
from homefire.store.connections import ReadConnections


class Broken(Exception):
    """What the database raises."""


class Connection:
    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Database:
    """Fails as it is told."""

    Error = Broken

    def __init__(self) -> None:
        self.failure: Any = "lost"
        self.opened: list[Connection] = []
        self.usable = True
        self.opens = True

    def failure_of(self, error: Exception) -> Any:
        assert isinstance(error, Broken)
        return self.failure

    def is_usable(self, connection: Connection) -> bool:
        return self.usable and not connection.is_closed

    def open_reader(self) -> Connection:
        if not self.opens:
            raise Broken("no")
        self.opened.append(Connection())
        return self.opened[-1]


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def lost() -> list[str]:
    return []


@pytest.fixture
def readers(database: Database, lost: list[str]) -> ReadConnections:
    return ReadConnections(database, on_lost=lambda: lost.append("lost"))  # type: ignore[arg-type]


@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize(
    ("failure", "error", "told"),
    [("lost", StoreUnreachable, ["lost"]), ("corrupt", CorruptData, []), ("other", StoreError, [])],
)
def test_a_read_that_fails_is_typed_and_only_a_lost_connection_is_told(
    readers: ReadConnections,
    database: Database,
    lost: list[str],
    failure: str,
    error: type[Exception],
    told: list[str],
    opens: bool,
) -> None:
    database.failure, database.opens = failure, opens
    with pytest.raises(HomefireError) as caught, readers.use():
        raise Broken("x")
    assert (type(caught.value), lost) == (error, told)
    assert isinstance(caught.value.__cause__, Broken)


def test_a_connection_is_used_again_while_it_can_be(readers: ReadConnections, database: Database) -> None:
    for _ in range(3):
        with readers.use():
            pass
    assert len(database.opened) == 1
    with readers.use(), readers.use():
        pass
    assert len(database.opened) == 2
    database.usable = False
    with readers.use():
        pass
    assert len(database.opened) == 3
    assert all(connection.is_closed for connection in database.opened)


def test_while_suspended_every_read_fails_with_the_reason_and_then_begins_anew(
    readers: ReadConnections, database: Database
) -> None:
    with readers.use():
        pass
    readers.suspend(StoreUnreachable("The server is gone."))
    with pytest.raises(StoreUnreachable, match="is gone"), readers.use():
        raise AssertionError("it was let in")
    readers.resume()
    assert database.opened[0].is_closed
    with readers.use() as connection:
        assert connection is database.opened[1]


def test_what_is_in_use_is_closed_when_it_is_given_back(readers: ReadConnections, database: Database) -> None:
    with readers.use():
        readers.close()
        assert not database.opened[0].is_closed
    assert database.opened[0].is_closed
    with pytest.raises(StoreError, match="closed"), readers.use():
        raise AssertionError("it was let in")
