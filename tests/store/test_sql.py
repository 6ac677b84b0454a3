"""What is written from a table's columns is what both databases understand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from homefire.config.schema import StoreSettings
from homefire.errors import HomefireError, NotFound
from homefire.home import Home
from homefire.store.database import Database, choose_database
from homefire.store.driver import Connection
from homefire.store.sql import Statement, Table
from homefire.store.store import Store
from tests.store.backends import Backend
from tests.store.samples import version

PETS = Table(
    "pets",
    {"name": "TEXT NOT NULL", "kind": "TEXT NOT NULL", "age": "INTEGER"},
    key=("name",),
    indexes={"pets_by_kind": "(kind, age)"},
    read_indexes={"old_pets": "(age) WHERE age > 9"},
)


@pytest.fixture
def database(backend: Backend, home: Home) -> Database:
    home.create()
    return choose_database(home, StoreSettings.model_validate(backend.settings))


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    connection = database.open_writer()
    yield connection
    connection.close()


def test_rows_are_inserted_and_replaced_where_they_agree(database: Database, connection: Connection) -> None:
    for definition in database.definitions(PETS):
        connection.execute(definition)
    put = PETS.put(change=("age",), where="pets.kind = excluded.kind")
    everything = Statement("SELECT name, kind, age FROM pets ORDER BY name")
    PETS.insert().run_many(connection, [{"name": "Rex", "kind": "dog", "age": 3}])
    assert put.run(connection, {"name": "Rex", "kind": "dog", "age": 4}) == 1
    assert put.run(connection, {"name": "Rex", "kind": "cat", "age": 5}) == 0
    assert put.run(connection, {"name": "Tom", "kind": "cat", "age": None}) == 1
    assert everything.all(connection) == [("Rex", "dog", 4), ("Tom", "cat", None)]
    with pytest.raises(database.Error) as caught:
        PETS.insert().run(connection, {"name": "Tom", "kind": "cat", "age": 1})
    assert database.failure_of(caught.value) == "conflict"


def test_the_first_row_without_parameters_and_with(connection: Connection) -> None:
    assert Statement("SELECT 1").one(connection) == (1,)
    assert Statement("SELECT :a, :b, ':a'").one(connection, {"a": 1, "b": "x"}) == (1, "x", ":a")


@pytest.mark.parametrize("number", [0, -1, 2**15, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)])
def test_whole_numbers_of_64_bits_come_back(connection: Connection, number: int) -> None:
    assert Statement("SELECT :a").one(connection, {"a": number}) == (number,)


@pytest.mark.parametrize("number", [0.1, 1e-308, 1.7976931348623157e308, 1795293160.2033947])
def test_times_come_back_to_the_last_bit(database: Database, connection: Connection, number: float) -> None:
    table = Table("times", {"at_s": "REAL NOT NULL", "hash": "BLOB"}, key=("at_s",))
    for definition in database.definitions(table):
        connection.execute(definition)
    table.insert().run(connection, {"at_s": number, "hash": bytes(range(256))})
    assert Statement("SELECT at_s, hash FROM times").all(connection) == [(number, bytes(range(256)))]


def test_texts_are_ordered_by_their_bytes(database: Database, connection: Connection) -> None:
    table = Table("words", {"word": "TEXT NOT NULL"}, key=("word",))
    for definition in database.definitions(table):
        connection.execute(definition)
    words = ["b", "A", "a", "ä", "Z", "_", "10", "9", "é", "😀"]
    table.insert().run_many(connection, [{"word": word} for word in words])
    ordered = Statement("SELECT word FROM words ORDER BY word")
    assert [word for (word,) in ordered.all(connection)] == sorted(words)


def test_a_version_of_a_run_that_does_not_exist_is_refused(store: Store) -> None:
    error: type[HomefireError] = NotFound
    with pytest.raises(error, match="There is no run"):
        store.append_sync(version("v001", run_id="run-nothing"))
